"""The derived set `scenes`: the bundled avatars, cut out and pasted onto other plain grounds, with captions."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ganfold.data.sources import tree
from ganfold.data.sources.readers import Records
from ganfold.data.sources.source import Listing, Source, bundled_file, key_of
from ganfold.errors import GanfoldError

VERSION = 1  # raise it when the code below draws other scenes: the cache then makes the set again
SEED = 20161  # decides sizes, places and grounds
SIDE = 64  # height and width of a scene in pixels, as of an avatar
SIZES = (0.4, 0.95)  # the longer side of a figure, as a share of the scene's side
STRETCH = 1.4  # a figure is made wider or narrower by up to this factor
LEAK = 30  # a part whose colour is nearer than this to the ground it was drawn on cannot be cut out
CLEAR = 60  # least distance between a figure's colours and the ground that it is pasted on
NEAR = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]  # steps to a pixel's neighbours and to itself
NOISE = 16  # greatest distance from the ground's colour that WebP's compression causes
PARTS = ("hair", "skin", "clothes")  # parts with named colours: the attributes `hair_color` and so on

GROUNDS = [
    "b6e3f4", "ffd5dc", "d1d4f9", "ffdfbf", "c0aede", "bfe3c5", "e8e8e8", "e9c46a", "9db17c", "6fa8dc", "5f8f8a",
    "44546e", "8c4a5a",
]  # fmt: skip
HAIR = {
    "black": "0e0e0e 2c1b18 220f00 362c47",
    "brown": "562306 6a4e35 796a45 ac6511 724133 a55728 71472d 3a1a00 6c4545",
    "blond": "b9a05f e5d7a3 d6b370 b58143 e9b729 e2ba87",
    "orange": "cb6820 d56c0c f29c65 f27d65",
    "red": "ab2a18 e15c66",
    "pink": "dba3be e16381",
    "purple": "592454",
    "blue": "85c2c6 605de4",
    "green": "3eac2c 238d80",
    "grey": "afafaf",
    "white": "dee1f5",
}
SKIN = {
    "pale": "f2d3b1 ecad80 eeb4a4 e7a391 e5a07e f1c3a5 ffe4c0 f5d7b1 efcc9f e2ba87",
    "tan": "d78774 c68e7a b98e6a c99c62",
    "brown": "9e5622 b16a5b 92594b a36b4f a47539 8c5a2b",
    "dark": "763900 623d36 5c3829 643d19",
}
CLOTHES = {
    "red": "e24553 b11f1f",
    "orange": "f97316",
    "yellow": "f3b63a eab308",
    "green": "6dbb58 147f3c",
    "turquoise": "54d7c7",
    "blue": "456dff 0b3286",
    "purple": "7555ca 731ac3",
    "pink": "f55d81 ec4899",
    "grey": "545454",
    "white": "e8e9e6",
    "black": "151613",
}
CUT = {  # the hair's form in words, by its name in the metadata
    "curlyHighTop": "curly", "curly": "curly", "sideShave": "half shaved", "shortComboverChops": "short",
    "shortCombover": "short", "shortHair": "short",
    "straightBun": "bun", "buzzcut": "short", "fade": "short", "pigtails": "pigtails", "bobCut": "bob",
    "bobBangs": "bob", "balding": "balding", "curlyBun": "curly bun", "mohawk": "mohawk", "extraLong": "long",
    "bunUndercut": "bun", "spiky": "spiky", "sideComed": "short", "undercut": "short", "bun": "bun",
    "curlyShortHair": "short curly", "froBun": "bun", "bunHair": "bun", "curlyBob": "curly bob", "wavyBob": "bob",
    "shavedHead": "shaved", "braids": "braids", "bangs": "long", "straightHair": "long",
    "halfShavedHead": "half shaved", "bowlCutHair": "bowl cut",
}  # fmt: skip
NOUNS = ("bun", "pigtails", "bob", "mohawk", "braids", "cut")  # a text does not add "hair" to these
MOUTH = {
    "smile": "smiling", "bigSmile": "smiling", "laugh": "smiling", "gapSmile": "smiling", "openedSmile": "smiling",
    "teethSmile": "smiling", "braces": "smiling", "awkwardSmile": "smiling", "smirk": "smiling", "kawaii": "smiling",
    "frown": "sad", "sad": "sad", "openSad": "sad", "angry": "angry", "surprise": "surprised", "agape": "surprised",
    "pacifier": "pacifier",
}  # fmt: skip
WORN = {
    "glasses": "glasses", "sunglasses": "sunglasses", "clownNose": "clown nose", "sailormoonCrown": "crown",
    "mustache": "moustache", "sleepMask": "sleep mask", "faceMask": "face mask", "catEars": "cat ears",
}  # fmt: skip


def scenes() -> Source:
    """A scene of 64 px for each of the 6,000 avatars that can be cut out. The scenes are always the same."""
    path = bundled_file("avatars.zip")
    drawing = (VERSION, SEED, SIDE, SIZES, STRETCH, LEAK, CLEAR, NEAR, NOISE, GROUNDS)
    words = (PARTS, HAIR, SKIN, CLOTHES, CUT, NOUNS, MOUTH, WORN)
    key = key_of("scenes", path.name, path.stat().st_size, drawing, words)
    return Source(key, lambda scratch: derive(path, scratch))


def derive(path: Path, scratch: Path) -> Listing:
    """The scenes of a zip of avatars, with their metadata."""
    avatars = tree.zipped(path).list(scratch)
    if avatars.rows is None:
        raise GanfoldError(f"{path} has no metadata: install ganfold again")
    random = np.random.default_rng(SEED)
    names, row_places, offset = [], [], 0
    texts = avatars.rows[0].read_bytes()
    with open(scratch / "scenes.bin", "wb") as images, open(scratch / "scenes.json", "wb") as rows:
        for number, name in enumerate(avatars.names):
            start, length = avatars.rows[1][number]
            metadata = json.loads(texts[start : start + length])
            if is_lost(metadata):
                continue
            with Image.open(avatars.reader.read(number)) as avatar:  # type: ignore[arg-type]
                figure = cut_out(np.asarray(avatar.convert("RGB")), _rgb(metadata["primaryBackgroundColor"]))
            scene, places = paste(figure, metadata, random)
            images.write(scene.tobytes())
            row = json.dumps(attributes(metadata) | places).encode()
            rows.write(row)
            names.append(str(name))
            row_places.append((offset, len(row)))
            offset += len(row)
    shape = (SIDE, SIDE, 3)
    reader = Records(((scratch / "scenes.bin", 0, len(names)),), SIDE * SIDE * 3, shape, (0, 1, 2))
    size = len(names) * SIDE**2 * 3
    listing = Listing(reader, names, rows=(scratch / "scenes.json", np.array(row_places)), size=size)
    listing.notes.append(
        f"Derived from avatars: {len(names):,} of {len(avatars.names):,}; of the others the hair, skin or clothes "
        "are too near in colour to their ground to be cut out."
    )
    return listing


def colours(metadata: dict[str, Any]) -> dict[str, str]:
    """The colours of an avatar's visible parts, as six hexadecimal digits."""
    clothes = metadata.get("clothingColor", metadata.get("clothesColor"))
    by_part = {"hair": metadata.get("hairColor"), "skin": metadata["skinColor"], "clothes": clothes}
    if metadata["hair"] == "bald":
        del by_part["hair"]
    return {part: colour.lstrip("#").lower() for part, colour in by_part.items() if colour}


def is_lost(metadata: dict[str, Any]) -> bool:
    """Whether a part cannot be told from the ground: nearly the same colour, and no outline.

    Only the avatars of the style `adventurer` have outlines; only their metadata have a `base`.
    """
    ground = metadata["primaryBackgroundColor"]
    return "base" not in metadata and any(_distance(colour, ground) < LEAK for colour in colours(metadata).values())


def attributes(metadata: dict[str, Any]) -> dict[str, Any]:
    """An avatar's caption as `text`, and the names of its colours."""
    tables = dict(zip(PARTS, (HAIR, SKIN, CLOTHES), strict=True))
    named = {part: _named(tables[part], colour) for part, colour in colours(metadata).items()}
    kinds = [metadata[key] for key in ("accessories", "eyes") if metadata.get(key) in WORN]
    features = ["glasses" if "glasses" in metadata else "", "earrings" if "earrings" in metadata else ""]
    features += [WORN[kind] for kind in kinds]
    beard = metadata.get("beard", metadata.get("facialHair", ""))
    if beard or metadata.get("features") == "mustache":
        features.append("moustache" if beard in ("", "moustacheTwirl", "walrus") else "beard")
    if metadata.get("accessories") != "faceMask":
        features.append(MOUTH.get(metadata["mouth"], ""))
    phrases = [_hair(metadata, named.get("hair", "")), f"{named['skin']} skin", *filter(None, features)]
    if "clothes" in named:
        phrases.append(f"{named['clothes']} shirt")
    return {"text": ", ".join(phrases)} | {f"{part}_color": name for part, name in named.items()}


def _hair(metadata: dict[str, Any], colour: str) -> str:
    form = str(metadata["hair"])
    if form == "bald":
        return "bald"
    if form in ("cap", "beanie"):  # their colour is stored as that of the hair
        return f"{colour} {form}"
    cut = CUT.get(form, form.rstrip("0123456789"))
    if "rearHair" in metadata:
        return f"long {colour} hair" + (", bun" if cut == "bun" else "")
    return f"{colour} {cut}" if cut.endswith(NOUNS) else f"{cut} {colour} hair"


def cut_out(image: np.ndarray, ground: np.ndarray) -> Image.Image:
    """Cut a figure out of a plain ground.

    The ground is all that is connected to the border in nearly the ground's colour. A pixel at the figure's edge mixes
    both. It takes the colour of the neighbour least like the ground; its alpha is its own contrast divided by that
    neighbour's.

    Args:
        image: uint8 (H, W, 3).
        ground: the colour of the ground, (3,), 0 to 255.

    Returns:
        The figure as RGBA, cropped to its visible part.
    """
    from scipy import ndimage  # slow to import: only where it is used

    pixels = image.astype(np.float32)
    contrast = np.sqrt(((pixels - ground) ** 2).sum(2))
    plain, count = ndimage.label(contrast < NOISE)
    reached = np.zeros(count + 1, bool)
    reached[np.concatenate([plain[0], plain[-1], plain[:, 0], plain[:, -1]])] = True
    reached[0] = False  # label 0: pixels unlike the ground
    pieces, _ = ndimage.label(~reached[plain], np.ones((3, 3)))
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    inside = (sizes > 0.05 * sizes.max())[pieces]
    y, x = np.nonzero(inside & ~ndimage.binary_erosion(inside, np.ones((3, 3)), border_value=1))
    beside = np.pad(np.where(inside, contrast, -1), 1, constant_values=-1)
    best = np.stack([beside[y + 1 + down, x + 1 + right] for down, right in NEAR]).argmax(0)
    near_y, near_x = np.transpose(NEAR)[:, best] + (y, x)
    figure = np.dstack([image, 255 * inside.astype(np.uint8)])
    figure[y, x, :3] = image[near_y, near_x]
    figure[y, x, 3] = 255 * (contrast[y, x] / contrast[near_y, near_x].clip(1)).clip(0, 1)
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    return Image.fromarray(figure[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def paste(
    figure: Image.Image, metadata: dict[str, Any], random: np.random.Generator
) -> tuple[np.ndarray, dict[str, list[Any]]]:
    """Paste a figure at a random size and place on a random ground far from its colours.

    Returns:
        The scene, uint8 (SIDE, SIDE, 3), and the figure's `box` and `keypoints` as shares of the side.
    """
    longer, aspect = random.uniform(*SIZES), figure.width / figure.height * STRETCH ** random.uniform(-1, 1)
    width, height = (max(4, round(SIDE * longer * share)) for share in (min(1.0, aspect), min(1.0, 1 / aspect)))
    figure = figure.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (int(random.integers(0, SIDE - size + 1)) for size in (width, height))
    parts = [*colours(metadata).values(), metadata["primaryBackgroundColor"]]
    grounds = [ground for ground in GROUNDS if min(_distance(ground, part) for part in parts) >= CLEAR]
    ground = random.choice(grounds or GROUNDS[-3:])
    scene = Image.new("RGB", (SIDE, SIDE), tuple(_rgb(str(ground)).astype(int).tolist()))
    scene.paste(figure, (left, top), figure)
    return np.asarray(scene), _places(np.asarray(figure)[:, :, 3] >= 128, left, top)


def _places(visible: np.ndarray, left: int, top: int) -> dict[str, list[Any]]:
    """The box and the keypoints of a figure.

    The keypoints are its topmost, leftmost, rightmost and lowest point. Where several pixels are equally far out, the
    point is their middle.

    Args:
        visible: which pixels of the figure are visible, bool (H, W).
        left, top: the place of the figure's corner in the scene, in pixels.
    """
    rows, columns = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
    first, last, before, after = (int(n) for n in (rows[0], rows[-1], columns[0], columns[-1]))
    x_at = {y: float(np.flatnonzero(visible[y]).mean()) for y in (first, last)}
    y_at = {x: float(np.flatnonzero(visible[:, x]).mean()) for x in (before, after)}
    points = [(x_at[first], first), (before, y_at[before]), (after, y_at[after]), (x_at[last], last)]
    box = [left + before, top + first, after + 1 - before, last + 1 - first]
    return {
        "box": [n / SIDE for n in box],
        "keypoints": [[round((left + x + 0.5) / SIDE, 4), round((top + y + 0.5) / SIDE, 4)] for x, y in points],
    }


def _named(table: dict[str, str], colour: str) -> str:
    return next(name for name, members in table.items() if colour in members)


def _rgb(colour: str) -> np.ndarray:
    return np.array(list(bytes.fromhex(colour.lstrip("#"))), np.float32)


@cache
def _distance(one: str, other: str) -> float:
    return float(np.linalg.norm(_rgb(one) - _rgb(other)))
