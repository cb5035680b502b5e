"""Translation: images made from inputs, and how near they come to real images of the target kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ganfold.data import ImageSet, drawn
from ganfold.errors import GanfoldError
from ganfold.gans import noise
from ganfold.gans.contract import GAN
from ganfold.images.files import to_image, to_tensor
from ganfold.images.pixels import to_bytes, to_float
from ganfold.images.tiles import Network, fade_tiles
from ganfold.metrics.distances import frechet, kid
from ganfold.metrics.features import Extractor, efficientnet
from ganfold.metrics.paired import TaskMetric, l1
from ganfold.networks.degrade import enlarge
from ganfold.runs.conditioning import HeldOutConditioning
from ganfold.runs.run import Run

HALF = 127  # of 255: a pixel with this alpha or less is a hole
SMALL = 32  # pixels a side at which inputs are compared
MOST_TRAIN = 500  # most real images of each kind for the classifier to learn from
CHUNK = 32  # images translated at once


def translated(
    run: Run, image: Image.Image, path: Path, *, size: int | None, tile: int, reverse: bool, seed: int
) -> Image.Image:
    """An image as the run's GAN translates it.

    Args:
        run: its GAN's task is translation.
        image: in mode L, RGB or RGBA.
        path: the file of the image, for errors.
        size: pixels of the shorter side to which the image is brought first; None: its own.
        tile: largest side of a tile, in pixels.
        reverse: translate from the target's kind back.
        seed: of the noise, if the GAN has any.

    Raises:
        GanfoldError: the image is too small, or has no transparent pixels and the GAN fills these.
    """
    gan = run.gan
    translator = translator_of(gan, seed, reverse)
    least = gan.shape.resolution // 2

    def network(pixels: Tensor) -> Tensor:
        if min(pixels.shape[2:]) < least:
            shown = f"{pixels.shape[3]} x {pixels.shape[2]} px"
            raise GanfoldError(f"{path} is too small: {shown}, and {run.path} needs {least}: enlarge it (--size)")
        return fade_tiles(translator, pixels, tile=tile, multiple=gan.multiple)

    if size is not None:
        share = size / min(image.size)
        image = image.resize((round(image.width * share), round(image.height * share)), Image.Resampling.LANCZOS)
    if gan.input_kind == "masked":
        return _filled(gan, image, network, path)
    return _changed(gan, image, network, reverse)


def translator_of(gan: GAN, seed: int, reverse: bool = False) -> Network:
    """Translates inputs (1, C, h, w) with the noise of a seed, h and w multiples of `gan.multiple`."""
    z = _noise(gan, seed, 1)
    return lambda x: gan.translate(x, z, reverse)


def _noise(gan: GAN, seed: int, count: int) -> Tensor:
    return noise.normal(noise.key_of(seed, "sample"), torch.arange(count), *gan.latent)


def _filled(gan: GAN, image: Image.Image, network: Network, path: Path) -> Image.Image:
    """An image whose transparent pixels the network fills."""
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    if alpha is None or np.asarray(alpha).min() > HALF:
        raise GanfoldError(f"{path} has no transparent pixels: they say what is to be filled")
    seen = (to_tensor(alpha) > 0).float()
    pixels = to_tensor(image, gan.shape.channels)
    made = network(torch.cat([pixels * seen, 2 * seen - 1], 1))
    return to_image(torch.where(seen > 0, pixels, made))


def _changed(gan: GAN, image: Image.Image, network: Network, reverse: bool) -> Image.Image:
    """An image that the network changes. Transparency is kept; the network sees white below it."""
    kind, shape = gan.input_kind, gan.shape
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    channels = {"edges": 1, "grey": 1, "lowres": shape.channels}.get(kind, shape.channels if reverse else shape.inputs)
    if alpha and channels < 4:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    pixels = to_tensor(image, channels)
    changed = to_image(network(enlarge(pixels, gan.scale) if kind == "lowres" else pixels))
    if alpha and changed.mode != "RGBA":
        changed = changed.convert("RGB")
        changed.putalpha(alpha.resize(changed.size, Image.Resampling.BICUBIC))
    return changed


def measure(run: Run, seed: int, count: int) -> list[TaskMetric]:
    """How well a run translates held-out images; no metrics where fewer than 3 are held out.

    From pairs: the distance of each image from the one that it should be, and of the set from real images. They are
    compared with the mean of all training images, and with the training image whose input is nearest, at 32 px.

    Without pairs, in both directions: the share that a classifier takes for the target's kind, the distances to images
    of that kind, and the error after going there and back.
    """
    conditioning = run.held_out_conditioning(seed)
    assert conditioning
    extractor = efficientnet()
    if run.gan.two_way:
        other = conditioning.data.inputs
        assert other
        count = min(count, len(conditioning.data.held_out), len(other.held_out))
        return _unpaired(run, conditioning.data, other, count, seed, extractor) if count > 2 else []
    count = min(count, len(conditioning.data.held_out))
    return _paired(run, conditioning, count, seed, extractor) if count > 2 else []


def _paired(
    run: Run, conditioning: HeldOutConditioning, count: int, seed: int, extractor: Extractor
) -> list[TaskMetric]:
    data = conditioning.data
    conditioning.images = conditioning.images[:count]
    targets = data.images[conditioning.images]
    spread = drawn(data.train, count, seed)
    guesses = {
        run.record.gan: np.ascontiguousarray(run.sample(count, seed).transpose(0, 3, 1, 2)),
        "mean image": np.broadcast_to(_mean(data), targets.shape),
        "nearest by input": data.images[_nearest(conditioning)],
    }
    real = extractor.cached(targets)
    seen = {name: extractor(images) for name, images in guesses.items()}
    others = extractor.cached(data.images[spread])
    rows = targets.transpose(0, 2, 3, 1)
    return [
        TaskMetric("L1", "lower", {n: float(l1(i.transpose(0, 2, 3, 1), rows).mean()) for n, i in guesses.items()}),
        TaskMetric(
            "feature distance",
            "lower",
            {name: float(1 - F.cosine_similarity(features, real).mean()) for name, features in seen.items()},
        ),
        *(
            TaskMetric(
                name, "lower", {n: distance(features, real) for n, features in (seen | {"real": others}).items()}
            )
            for name, distance in (("FD", frechet), ("KID", lambda a, b: kid(a, b)[0]))
        ),
    ]


def _mean(data: ImageSet) -> np.ndarray:
    """The mean of all training images, uint8 (C, H, W)."""
    total = np.zeros(data.images.shape[1:])
    for start in range(0, len(data.train), 1024):
        total += data.images[data.train[start : start + 1024]].sum(0, dtype=np.float64)
    return (total / len(data.train)).round().astype(np.uint8)


@torch.inference_mode()
def _nearest(conditioning: HeldOutConditioning) -> np.ndarray:
    """For each held-out image, the number of the training image whose input is nearest to its own."""
    queries = torch.cat(list(_small_inputs(conditioning)))
    known = HeldOutConditioning(conditioning.gan, conditioning.data, conditioning.seed)
    known.images = conditioning.data.train
    best, places = torch.full((len(queries),), torch.inf), torch.zeros(len(queries), dtype=torch.int64)
    first = 0
    for inputs in _small_inputs(known):
        distance, place = torch.cdist(queries, inputs).min(1)
        nearer = distance < best
        best, places = torch.where(nearer, distance, best), torch.where(nearer, first + place, places)
        first += len(inputs)
    return known.images[places.numpy()]


def _small_inputs(conditioning: HeldOutConditioning) -> Iterator[Tensor]:
    for start in range(0, len(conditioning.images), 256):
        inputs = conditioning(torch.arange(start, min(len(conditioning.images), start + 256)))["input"]
        yield F.adaptive_avg_pool2d(inputs, min(SMALL, inputs.shape[-1])).flatten(1)


def _unpaired(
    run: Run, targets: ImageSet, inputs: ImageSet, count: int, seed: int, extractor: Extractor
) -> list[TaskMetric]:
    gan, name = run.gan, run.record.gan
    sets = {"x": inputs, "y": targets}
    held_out = {kind: data.images[drawn(data.held_out, count, seed)] for kind, data in sets.items()}
    learnt = {kind: data.images[drawn(data.train, MOST_TRAIN, seed)] for kind, data in sets.items()}
    features = {kind: extractor.cached(images) for kind, images in held_out.items()}
    known = {kind: extractor.cached(images) for kind, images in learnt.items()}
    is_y = _classifier(known["x"], known["y"])
    metrics = []
    for kind, aim in (("x", "y"), ("y", "x")):
        made, returned = _there_and_back(gan, held_out[kind], seed, reverse=kind == "y")
        way = f"{sets[kind].source} to {sets[aim].source}"
        taken = {name: extractor(made), "untouched": features[kind], "real": features[aim]}
        shares = {key: float((is_y(rows) == (aim == "y")).mean()) for key, rows in taken.items()}
        metrics.append(TaskMetric(f"{way}: taken for the target's kind", "higher", shares))
        taken["real"] = known[aim]
        for what, distance in (("KID", lambda a, b: kid(a, b)[0]), ("FD", frechet)):
            values = {key: distance(rows[:count], features[aim]) for key, rows in taken.items()}
            metrics.append(TaskMetric(f"{way}: {what}", "lower", values))
        error = l1(returned.transpose(0, 2, 3, 1), held_out[kind].transpose(0, 2, 3, 1)).mean()
        metrics.append(TaskMetric(f"{way} and back: L1", "lower", {name: float(error)}))
    return metrics


def _classifier(x: Tensor, y: Tensor) -> Callable[[Tensor], np.ndarray]:
    """Learns two kinds from features of real images. Of other features it says whether they are of the second kind."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    classifier.fit(torch.cat([x, y]).numpy(), np.repeat([0, 1], [len(x), len(y)]))
    return lambda features: classifier.predict(features.numpy()) == 1


@torch.inference_mode()
def _there_and_back(gan: GAN, images: np.ndarray, seed: int, reverse: bool) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, C, H, W) translated, and translated back again."""
    made, returned = [], []
    for start in range(0, len(images), CHUNK):
        x = to_float(images[start : start + CHUNK])
        z = _noise(gan, seed, len(x))
        fake = gan.translate(x, z, reverse)
        made.append(to_bytes(fake).numpy())
        returned.append(to_bytes(gan.translate(fake, z, not reverse)).numpy())
    return np.concatenate(made), np.concatenate(returned)
