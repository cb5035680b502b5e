"""The derived set `scenes`: the bundled avatars cut out and pasted somewhere on another plain ground, with captions."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ganfold.data.sources import tree
from ganfold.data.sources.readers import Records
from ganfold.data.sources.source import Listing, Source
from ganfold.errors import GanfoldError

SIDE = 64  # pixels of a scene, as of an avatar
SIZES = (0.4, 0.95)  # share of the scene's side that the longer side of a figure takes
STRETCH = 1.4  # a figure is made wider or narrower by up to this factor
LEAK = 30  # where hair, skin or clothes are nearer than this to the ground that they were drawn on they cannot be cut
CLEAR = 60  # least distance from a figure's colours to the ground that it is put on
NEAR = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]  # steps to a pixel's neighbours and itself
NOISE = 16  # distance from the ground's colour that WebP makes of it
PARTS = ("hair", "skin", "clothes")  # of which the colours are named: attributes `hair_color` and so on

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
CUT = {  # drawn form of the hair -> in words; what begins with "long" or "short" says so itself
    "curlyHighTop": "curly", "curly": "curly", "sideShave": "half shaved", "shortComboverChops": "short",
    "shortCombover": "short", "shortHair": "short",
    "straightBun": "bun", "buzzcut": "short", "fade": "short", "pigtails": "pigtails", "bobCut": "bob",
    "bobBangs": "bob", "balding": "balding", "curlyBun": "curly bun", "mohawk": "mohawk", "extraLong": "long",
    "bunUndercut": "bun", "spiky": "spiky", "sideComed": "short", "undercut": "short", "bun": "bun",
    "curlyShortHair": "short curly", "froBun": "bun", "bunHair": "bun", "curlyBob": "curly bob", "wavyBob": "bob",
    "shavedHead": "shaved", "braids": "braids", "bangs": "long", "straightHair": "long",
    "halfShavedHead": "half shaved", "bowlCutHair": "bowl cut",
}  # fmt: skip
NOUNS = ("bun", "pigtails", "bob", "mohawk", "braids", "cut")  # these stand without the word "hair"
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
    """6,000 avatars less those that cannot be told from their ground: 64 px, always the same."""
    path = Path(str(importlib.resources.files("ganfold.data") / "bundled" / "avatars.zip"))
    digest = hashlib.sha256(Path(__file__).read_bytes())  # another way to make them makes another set
    digest.update(str(path.stat().st_size).encode())
    return Source(f"scenes-{digest.hexdigest()}", lambda scratch: derive(path, scratch))


def derive(path: Path, scratch: Path) -> Listing:
    """The scenes of a zip of avatars, with their metadata."""
    """The scenes of a zip of avatars, with their metadata."""
    avatars = tree.zipped(path).list(scratch)
    if avatars.rows is None:
        raise GanfoldError(f"{path} has no metadata: install ganfold again")
    random = np.random.default_rng(20161)
    names, places, offset = [], [], 0
    texts = avatars.rows[0].read_bytes()
    with open(scratch / "scenes.bin", "wb") as pictures, open(scratch / "scenes.json", "wb") as rows:
        for number, name in enumerate(avatars.names):
            start, length = avatars.rows[1][number]
            drawn = json.loads(texts[start : start + length])
            if is_lost(drawn):
                continue
            with Image.open(avatars.reader.read(number)) as picture:  # type: ignore[arg-type]
                figure = cut_out(np.asarray(picture.convert("RGB")), _rgb(drawn["primaryBackgroundColor"]))
            image, where = paste(figure, drawn, random)
            pictures.write(image.tobytes())
            row = json.dumps(attributes(drawn) | where).encode()
            rows.write(row)
            names.append(str(name))
            places.append((offset, len(row)))
            offset += len(row)
    shape = (SIDE, SIDE, 3)
    reader = Records(((scratch / "scenes.bin", 0, len(names)),), SIDE * SIDE * 3, shape, (0, 1, 2))
    listing = Listing(reader, names, rows=(scratch / "scenes.json", np.array(places)), size=len(names) * SIDE**2 * 3)
    listing.notes.append(
        f"Derived from avatars: {len(names):,} of {len(avatars.names):,}; of the others the hair, skin or clothes "
        "are too near in colour to their ground to be cut out."
    )
    return listing


def colours(drawn: dict[str, Any]) -> dict[str, str]:
    """The colours, as six hexadecimal digits, of the parts of an avatar that can be seen."""
    worn = drawn.get("clothingColor", drawn.get("clothesColor"))
    found = {"hair": drawn.get("hairColor"), "skin": drawn["skinColor"], "clothes": worn}
    if drawn["hair"] == "bald":
        del found["hair"]
    return {part: colour.lstrip("#").lower() for part, colour in found.items() if colour}


def is_lost(drawn: dict[str, Any]) -> bool:
    """Whether a part has nearly the ground's colour and no outline (as `adventurer`, known by its `base`, has)."""
    ground = drawn["primaryBackgroundColor"]
    return "base" not in drawn and any(_distance(colour, ground) < LEAK for colour in colours(drawn).values())


def attributes(drawn: dict[str, Any]) -> dict[str, Any]:
    """What is said of an avatar: `text`, and the names of its colours one by one."""
    tables = dict(zip(PARTS, (HAIR, SKIN, CLOTHES), strict=True))
    named = {part: _named(tables[part], colour) for part, colour in colours(drawn).items()}
    kinds = [drawn[key] for key in ("accessories", "eyes") if drawn.get(key) in WORN]
    worn = ["glasses" if "glasses" in drawn else "", "earrings" if "earrings" in drawn else ""]
    worn += [WORN[kind] for kind in kinds]
    beard = drawn.get("beard", drawn.get("facialHair", ""))
    if beard or drawn.get("features") == "mustache":
        worn.append("moustache" if beard in ("", "moustacheTwirl", "walrus") else "beard")
    if drawn.get("accessories") != "faceMask":
        worn.append(MOUTH.get(drawn["mouth"], ""))
    said = [_hair(drawn, named.get("hair", "")), f"{named['skin']} skin", *filter(None, worn)]
    if "clothes" in named:
        said.append(f"{named['clothes']} shirt")
    return {"text": ", ".join(said)} | {f"{part}_color": name for part, name in named.items()}


def _hair(drawn: dict[str, Any], colour: str) -> str:
    form = str(drawn["hair"])
    if form == "bald":
        return "bald"
    if form in ("cap", "beanie"):  # drawn in the colour of the hair
        return f"{colour} {form}"
    cut = CUT.get(form, form.rstrip("0123456789"))
    if "rearHair" in drawn:
        return f"long {colour} hair" + (", bun" if cut == "bun" else "")
    return f"{colour} {cut}" if cut.endswith(NOUNS) else f"{cut} {colour} hair"


def cut_out(image: np.ndarray, ground: np.ndarray) -> Image.Image:
    """The figure of uint8 (H, W, 3) as RGBA, cropped to what is seen of it: all that the ground does not reach from
    the border. Where a pixel holds some of both, it takes the colour of the neighbour least like the ground, and as
    much of it as its own colour says."""
    from scipy import ndimage  # not before it is needed: it is slow to import

    pixels = image.astype(np.float32)
    contrast = np.sqrt(((pixels - ground) ** 2).sum(2))
    plain, count = ndimage.label(contrast < NOISE)
    reached = np.zeros(count + 1, bool)
    reached[np.concatenate([plain[0], plain[-1], plain[:, 0], plain[:, -1]])] = True
    reached[0] = False  # what is not plain
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
    figure: Image.Image, drawn: dict[str, Any], random: np.random.Generator
) -> tuple[np.ndarray, dict[str, list[Any]]]:
    """A scene, uint8 (SIDE, SIDE, 3), and the `box` and `keypoints` of the figure in it, as shares of the side."""
    longer, aspect = random.uniform(*SIZES), figure.width / figure.height * STRETCH ** random.uniform(-1, 1)
    width, height = (max(4, round(SIDE * longer * share)) for share in (min(1.0, aspect), min(1.0, 1 / aspect)))
    figure = figure.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (int(random.integers(0, SIDE - size + 1)) for size in (width, height))
    parts = [*colours(drawn).values(), drawn["primaryBackgroundColor"]]
    grounds = [ground for ground in GROUNDS if min(_distance(ground, part) for part in parts) >= CLEAR]
    ground = random.choice(grounds or GROUNDS[-3:])
    scene = Image.new("RGB", (SIDE, SIDE), tuple(_rgb(str(ground)).astype(int).tolist()))
    scene.paste(figure, (left, top), figure)
    return np.asarray(scene), _places(np.asarray(figure)[:, :, 3] >= 128, left, top)


def _places(seen: np.ndarray, left: int, top: int) -> dict[str, list[Any]]:
    """The box of what is seen of a figure whose corner is here; and its topmost, leftmost, rightmost and lowest
    points, each in the middle of those pixels that are equally far out."""
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    first, last, before, after = (int(n) for n in (rows[0], rows[-1], columns[0], columns[-1]))
    middle = {y: float(np.flatnonzero(seen[y]).mean()) for y in (first, last)}
    height = {x: float(np.flatnonzero(seen[:, x]).mean()) for x in (before, after)}
    points = [(middle[first], first), (before, height[before]), (after, height[after]), (middle[last], last)]
    box = [left + before, top + first, after + 1 - before, last + 1 - first]
    return {
        "box": [n / SIDE for n in box],
        "keypoints": [[round((left + x + 0.5) / SIDE, 4), round((top + y + 0.5) / SIDE, 4)] for x, y in points],
    }


def _named(table: dict[str, str], colour: str) -> str:
    return next(name for name, held in table.items() if colour in held)


def _rgb(colour: str) -> np.ndarray:
    return np.array(list(bytes.fromhex(colour.lstrip("#"))), np.float32)


@cache
def _distance(one: str, other: str) -> float:
    return float(np.linalg.norm(_rgb(one) - _rgb(other)))
