"""`ganfold translate`: what a pix2pix or a cyclegan makes of a user's own pictures; and how well it does so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ganfold.data import ImageSet
from ganfold.data import drawn as drawn_from
from ganfold.data.fields import FromReals
from ganfold.errors import GanfoldError
from ganfold.gans import noise
from ganfold.gans.contract import GAN
from ganfold.images.files import change_pictures, open_run, to_image, to_tensor
from ganfold.metrics.distances import frechet, kid
from ganfold.metrics.features import Extractor, efficientnet
from ganfold.metrics.paired import TaskFigure, l1
from ganfold.networks.degrade import enlarge
from ganfold.runs.run import Run, as_bytes

Network = Callable[[Tensor], Tensor]

HALF = 127  # of 255: from here down a pixel is a hole
OVERLAP = 4  # tiles share at least this part of their side, over which one fades into the other
SMALL = 32  # pixels a side at which inputs are compared
MOST_TRAIN = 500  # real images of each kind that the classifier learns from


def translate(
    run: str | Path | Run,
    picture: str | Path,
    out: str | Path,
    *,
    size: int | None = None,
    tile: int = 512,
    reverse: bool = False,
    seed: int = 0,
    checkpoint: str = "best",
    force: bool = False,
    progress: bool = True,
) -> Path:
    """Write what a run makes of a picture, or of each picture in a folder.

    A `cyclegan` takes a picture of the kind of its --data and makes one of the kind of its --target. A `pix2pix` takes
    what its --input was: of pairs their first half; of edges a drawing, black lines on white; of grey any picture,
    which is made grey; of lowres a small picture, which becomes --scale times larger; of masked a picture whose
    transparent pixels are the holes to fill, and whose rest stays. Transparency is otherwise kept: below it the network
    sees white.

    Args:
        run: a run folder, or a run that is loaded.
        picture, out, force, progress: see `ganfold.images.files.change_pictures`.
        size: pixels of the shorter side to which the picture is brought first: things should be as large as they were
            in training [its own].
        tile: pixels a side that are taken at once, which bounds the memory; a larger picture is taken in tiles that
            overlap by a quarter and fade into each other.
        reverse: of a cyclegan, from the target's kind to that of the data.
        seed: which of its images a pix2pix makes: its dropout.
        checkpoint: "best" or "last"; of a run folder.

    Returns:
        `out`.

    Raises:
        GanfoldError: a run of another kind, a picture that is too small, or as `change_pictures`.
    """
    run = open_run(run, ("pix2pix", "cyclegan"), "translate", checkpoint)
    gan = run.gan
    if reverse and run.config["gan"] != "cyclegan":
        raise GanfoldError(f"{run.path} is a pix2pix, which learns one direction: leave out --reverse")
    if tile < gan.shape.resolution:
        raise GanfoldError(f"--tile {tile} is less than the {gan.shape.resolution} px that {run.path} was trained at")
    if size is not None and size < 1:
        raise GanfoldError(f"--size must be 1 or more, not {size}")
    network, multiple = _network(gan, reverse, seed)

    def whole(pixels: Tensor, path: Path) -> Tensor:
        least = gan.shape.resolution // 2
        if min(pixels.shape[2:]) < least:
            shown = f"{pixels.shape[3]} x {pixels.shape[2]} px"
            raise GanfoldError(f"{path} is too small: {shown}, and {run.path} needs {least}: enlarge it (--size)")
        return blended(network, pixels, tile=tile, multiple=multiple)

    def change(image: Image.Image, path: Path) -> Image.Image:
        if size is not None:
            share = size / min(image.size)
            image = image.resize((round(image.width * share), round(image.height * share)), Image.Resampling.LANCZOS)
        return _changed(gan, image, lambda pixels: whole(pixels, path), reverse, path)

    return change_pictures(picture, out, change, force=force, progress=progress)


def _network(gan: GAN, reverse: bool, seed: int) -> tuple[Network, int]:
    """Inputs (1, C, h, w) -> images, and of how many pixels h and w must be multiples."""
    generator: Any = gan.F if reverse else gan.G
    if "F" in gan.averaged:
        return generator, 4
    z = noise.normal(noise.key_of(seed, "sample"), torch.zeros(1, dtype=torch.int64), *gan.latent)
    return lambda x: generator(x, z), gan.shape.resolution


def _changed(gan: GAN, image: Image.Image, network: Network, reverse: bool, path: Path) -> Image.Image:
    """A picture as the network expects it, through it, and with its transparency again."""
    kind, shape = getattr(gan.config, "input", ""), gan.shape
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    if kind == "masked":
        if alpha is None or np.asarray(alpha).min() > HALF:
            raise GanfoldError(f"{path} has no transparent pixels: they say what is to be filled")
        seen = (to_tensor(alpha) > 0).float()
        pixels = to_tensor(image, shape.channels)
        made = network(torch.cat([pixels * seen, 2 * seen - 1], 1))
        return to_image(torch.where(seen > 0, pixels, made))
    channels = {"edges": 1, "grey": 1, "lowres": shape.channels}.get(kind, shape.channels if reverse else shape.inputs)
    if alpha and channels < 4:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    pixels = to_tensor(image, channels)
    made = network(enlarge(pixels, gan.config.scale) if kind == "lowres" else pixels)
    changed = to_image(made)
    if alpha and changed.mode != "RGBA":
        changed = changed.convert("RGB")
        changed.putalpha(alpha.resize(changed.size, Image.Resampling.BICUBIC))
    return changed


@torch.inference_mode()
def blended(network: Network, image: Tensor, *, tile: int, multiple: int) -> Tensor:
    """What a network makes of a picture of any size: whole where it fits in a tile, else in tiles that fade into each
    other, since every pixel of these networks may depend on every other of a tile.

    Args:
        network: (1, C, h, w) -> (1, C', h, w), for h and w multiples of `multiple`.
        image: float (1, C, H, W), H and W at least half of `multiple`; it is mirrored at its borders.
        tile: pixels a side at most.
    """
    height, width = image.shape[2:]
    extra_y, extra_x = -height % multiple, -width % multiple
    top, left = extra_y // 2, extra_x // 2
    padded = F.pad(image, (left, extra_x - left, top, extra_y - top), mode="reflect")
    tile = tile // multiple * multiple
    high, wide = (min(tile, side) for side in padded.shape[2:])
    if padded.shape[2:] == (high, wide):
        made = network(padded)
    else:
        fade = _ramp(high)[:, None] * _ramp(wide)
        sums = weights = padded.new_zeros(1, 1, *padded.shape[2:])
        for y in _starts(padded.shape[2], high):
            for x in _starts(padded.shape[3], wide):
                part = network(padded[:, :, y : y + high, x : x + wide])
                if sums is weights:
                    sums = part.new_zeros(1, part.shape[1], *padded.shape[2:])
                sums[:, :, y : y + high, x : x + wide] += part * fade
                weights[:, :, y : y + high, x : x + wide] += fade
        made = sums.div_(weights)
    return made[:, :, top : top + height, left : left + width]


def _starts(length: int, tile: int) -> list[int]:
    """Where tiles begin, evenly spaced, so that neighbours share a quarter of their side at least."""
    count = 1 if length == tile else 1 + -(-(length - tile) // (tile - tile // OVERLAP))
    return [round(start) for start in np.linspace(0, length - tile, count)]


def _ramp(tile: int) -> Tensor:
    """How much each pixel of a tile's side counts: less and less towards its ends, never nothing."""
    reach = tile // OVERLAP
    place = torch.arange(tile) + 1.0
    return torch.minimum(place, place.flip(0)).clamp(max=reach) / reach


def figures(run: Run, seed: int, count: int) -> list[TaskFigure]:
    """How well a run translates held-out images, beside what is to be beaten; nothing where none are held out.

    A `pix2pix`: how far its images are from those that they should be, and as a set from real ones; against the mean of
    all training images, and the training image whose input is nearest (at 32 px). A `cyclegan`: the share that a
    classifier of the two kinds takes for the other kind, distances to that kind, and what comes back of the cycle.
    """
    reals = run.reals(seed)
    assert reals
    looking = efficientnet()
    if run.config["gan"] == "cyclegan":
        other = reals.data.inputs
        assert other
        count = min(count, len(reals.data.held_out), len(other.held_out))
        return _unpaired(run, reals, other, count, seed, looking) if count > 2 else []
    count = min(count, len(reals.data.held_out))
    return _paired(run, reals, count, seed, looking) if count > 2 else []


def _paired(run: Run, reals: FromReals, count: int, seed: int, looking: Extractor) -> list[TaskFigure]:
    data = reals.data
    reals.images = reals.images[:count]
    targets = data.images[reals.images]
    spread = drawn_from(data.train, count, seed)
    guesses = {
        run.config["gan"]: np.ascontiguousarray(run.sample(count, seed).transpose(0, 3, 1, 2)),
        "mean image": np.broadcast_to(_mean(data), targets.shape),
        "nearest by input": data.images[_nearest(reals)],
    }
    real = looking.cached(targets)
    seen = {name: looking(images) for name, images in guesses.items()}
    others = looking.cached(data.images[spread])
    rows = targets.transpose(0, 2, 3, 1)
    return [
        TaskFigure("L1", "lower", {n: float(l1(i.transpose(0, 2, 3, 1), rows).mean()) for n, i in guesses.items()}),
        TaskFigure(
            "feature distance",
            "lower",
            {name: float(1 - F.cosine_similarity(features, real).mean()) for name, features in seen.items()},
        ),
        *(
            TaskFigure(name, "lower", {n: measure(features, real) for n, features in (seen | {"real": others}).items()})
            for name, measure in (("FD", frechet), ("KID", lambda a, b: kid(a, b)[0]))
        ),
    ]


def _mean(data: ImageSet) -> np.ndarray:
    """The mean of all training images, uint8 (C, H, W)."""
    total = np.zeros(data.images.shape[1:])
    for start in range(0, len(data.train), 1024):
        total += data.images[data.train[start : start + 1024]].sum(0, dtype=np.float64)
    return (total / len(data.train)).round().astype(np.uint8)


@torch.inference_mode()
def _nearest(reals: FromReals) -> np.ndarray:
    """For each of the images that samples are made from the training image whose input is nearest to its own."""
    wanted = torch.cat(list(_small_inputs(reals)))
    known = FromReals(reals.gan, reals.data, reals.seed)
    known.images = reals.data.train
    best, found = torch.full((len(wanted),), torch.inf), torch.zeros(len(wanted), dtype=torch.int64)
    first = 0
    for inputs in _small_inputs(known):
        distance, place = torch.cdist(wanted, inputs).min(1)
        nearer = distance < best
        best, found = torch.where(nearer, distance, best), torch.where(nearer, first + place, found)
        first += len(inputs)
    return known.images[found.numpy()]


def _small_inputs(given: FromReals) -> Iterator[Tensor]:
    for start in range(0, len(given.images), 256):
        inputs = given(torch.arange(start, min(len(given.images), start + 256)))["input"]
        yield F.adaptive_avg_pool2d(inputs, min(SMALL, inputs.shape[-1])).flatten(1)


def _unpaired(
    run: Run, reals: FromReals, other: ImageSet, count: int, seed: int, looking: Extractor
) -> list[TaskFigure]:
    gan: Any = run.gan
    sets = {"x": other, "y": reals.data}
    held = {name: data.images[drawn_from(data.held_out, count, seed)] for name, data in sets.items()}
    learnt = {name: data.images[drawn_from(data.train, MOST_TRAIN, seed)] for name, data in sets.items()}
    there = {"x": (gan.G, gan.F, "y"), "y": (gan.F, gan.G, "x")}
    features = {name: looking.cached(images) for name, images in held.items()}
    known = {name: looking.cached(images) for name, images in learnt.items()}
    is_y = _classifier(known["x"], known["y"])
    found = []
    for name, (forth, back, aim) in there.items():
        made, returned = _through(forth, back, held[name])
        seen = looking(made)
        way = f"{sets[name].source} to {sets[aim].source}"
        taken = {"cyclegan": seen, "untouched": features[name], "real": features[aim]}
        shares = {key: float((is_y(rows) == (aim == "y")).mean()) for key, rows in taken.items()}
        found.append(TaskFigure(f"{way}: taken for the target's kind", "higher", shares))
        taken["real"] = known[aim]
        for what, measure in (("KID", lambda a, b: kid(a, b)[0]), ("FD", frechet)):
            values = {key: measure(rows[:count], features[aim]) for key, rows in taken.items()}
            found.append(TaskFigure(f"{way}: {what}", "lower", values))
        error = l1(returned.transpose(0, 2, 3, 1), held[name].transpose(0, 2, 3, 1)).mean()
        found.append(TaskFigure(f"{way} and back: L1", "lower", {"cyclegan": float(error)}))
    return found


def _classifier(x: Tensor, y: Tensor) -> Callable[[Tensor], np.ndarray]:
    """Learns to tell two kinds by features of real images; says of others whether they are of the second."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    classifier.fit(torch.cat([x, y]).numpy(), np.repeat([0, 1], [len(x), len(y)]))
    return lambda features: classifier.predict(features.numpy()) == 1


@torch.inference_mode()
def _through(forth: Network, back: Network, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images forth, and forth and back, uint8 (N, C, H, W)."""
    made, returned = [], []
    for start in range(0, len(images), 32):
        x = torch.from_numpy(np.array(images[start : start + 32])).float() / 127.5 - 1
        fake = forth(x)
        made.append(as_bytes(fake).numpy())
        returned.append(as_bytes(back(fake)).numpy())
    return np.concatenate(made), np.concatenate(returned)
