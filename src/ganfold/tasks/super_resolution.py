"""Super-resolution: images made larger, and how near they come to the originals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganfold import data
from ganfold.data.sources.decode import SMALLEST
from ganfold.errors import GanfoldError
from ganfold.files import read_json
from ganfold.gans.contract import GAN
from ganfold.images.files import from_row, to_tensor
from ganfold.images.pixels import to_bytes, to_float, to_rows
from ganfold.images.tiles import tiled
from ganfold.metrics.features import Extractor, efficientnet
from ganfold.metrics.paired import TaskMetric, feature_distance, psnr, ssim
from ganfold.networks.degrade import enlarge, shrink
from ganfold.runs.generate import CHUNK
from ganfold.runs.run import Run

WINDOW = 11  # side of the windows that SSIM compares, in pixels
PATCH = 96  # largest side of the patches of an image on which `against_bicubic` measures, in pixels
LEAST_GAIN = 0.05  # dB: less than one can print
NAMED = 10  # images without a gain that are named
EXACT = 60.0  # dB for a patch that comes back without visible error

Enlarger = Callable[[Tensor], Tensor]  # small images (B, C, h, w) in [-1, 1] -> larger ones


def enlarged(gan: GAN, image: Image.Image, tile: int = 128) -> Image.Image:
    """An image made `gan.scale` times larger, in the same mode.

    The network sees each tile with as much of its surroundings as it can reach, so there are no seams. Transparency
    that the network has no channel for is enlarged bicubically.

    Args:
        gan: a GAN whose task is super-resolution.
        image: in mode L, RGB or RGBA, of any size.
        tile: side of a tile of `image`, in pixels.
    """
    scale, channels = gan.scale, gan.shape.channels
    mode = {1: "RGB" if image.mode != "L" else "L", 3: "RGB", 4: "RGBA"}[channels]
    pixels = to_tensor(image.convert(mode))

    def network(part: Tensor) -> Tensor:
        low = part.transpose(0, 1) if channels == 1 else part  # each colour as a grey image of its own
        low = low.contiguous(memory_format=torch.channels_last)  # as in training, and faster
        made = to_bytes(gan.sample(low.new_zeros(len(low), *gan.latent), {"low": low}))
        return made.transpose(0, 1) if channels == 1 else made

    values = tiled(network, pixels, scale=scale, tile=tile, margin=gan.reach)
    large = from_row(values[0].permute(1, 2, 0).numpy())
    if image.mode == "RGBA" and large.mode != "RGBA":
        large.putalpha(image.getchannel("A").resize(large.size, Image.Resampling.BICUBIC))
    return large if large.mode == image.mode else large.convert(image.mode)


def against_bicubic(gan: GAN, image: Image.Image) -> tuple[float, float] | None:
    """How well patches of an image come back after it was made smaller: by the network, and bicubically.

    Args:
        gan: a GAN whose task is super-resolution.
        image: in mode L, RGB or RGBA. At most four patches of it are used, away from each other.

    Returns:
        The PSNR of both in dB, of the luminance, without a border of `gan.scale` pixels; None where the image is too
        small.
    """
    side = min(PATCH, *image.size) // gan.scale * gan.scale
    if side // gan.scale < SMALLEST:
        return None
    pixels = np.asarray(image.convert({1: "L", 3: "RGB", 4: "RGBA"}[gan.shape.channels]))
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    tops, lefts = (
        np.linspace(0, length - side, min(2, length // side)).astype(int).tolist() for length in pixels.shape[:2]
    )
    patches = np.stack([pixels[top : top + side, left : left + side] for top in tops for left in lefts])
    enlargers = _sampler(gan), partial(enlarge, scale=gan.scale)
    made = [_made(enlarger, patches.transpose(0, 3, 1, 2), gan.scale) for enlarger in enlargers]
    own, bicubic = (
        psnr(images[..., :3], patches[..., :3], luma=True, border=gan.scale).clip(max=EXACT).mean() for images in made
    )
    return float(own), float(bicubic)


def gain(measured: Mapping[str, tuple[float, float] | None], scale: int) -> str:
    """What `against_bicubic` has found, by the names of images, as a sentence; nothing for no image."""
    known = {name: both for name, both in measured.items() if both}
    if not known:
        small = f"an image of this size cannot be made {scale} times smaller first"
        return f"The gain over bicubic enlargement cannot be measured: {small}." if measured else ""
    own, bicubic = np.mean(list(known.values()), axis=0)
    where = "this image" if len(known) == 1 else f"these {len(known):,} images"
    how = (
        f"PSNR {own:.1f} dB against {bicubic:.1f}, on patches of {where}, made {scale} times smaller and enlarged again"
    )
    if own - bicubic < LEAST_GAIN:
        return (
            f"Note: no gain over bicubic enlargement ({how}). A GAN can look sharper all the same: compare both by eye."
        )
    without = [name for name, (mine, other) in known.items() if mine - other < LEAST_GAIN]
    more = ", ..." if len(without) > NAMED else ""
    alone = f" {len(without):,} of them gain nothing: {', '.join(without[:NAMED])}{more}." if without else ""
    return f"Gain over bicubic enlargement: {own - bicubic:.1f} dB ({how}).{alone}"


def doubts(run: Run, measured: Sequence[TaskMetric] | None = None) -> list[str]:
    """What is known against a run: sentences.

    Args:
        run: its GAN's task is super-resolution.
        measured: what `measure` has found; None: what the last evaluation found, if there was one.
    """
    seen, pretrained = run.state.get("images", 0) / 1000, getattr(run.gan.config, "pretrain_kimg", 0)
    found = []
    if 0 < seen <= pretrained:
        found.append(
            f"{run.path} never left its pretraining ({seen:,.4g} of {pretrained:,.4g} kimg), so its images are smooth: "
            "train it on with a larger --kimg for fine detail"
        )
    try:
        if measured is None:
            measured = [TaskMetric(**metric) for metric in read_json(run.path / "evaluation.json")["task"]]
        judged = [m for m in measured if m.name.startswith("PSNR") or m.name == "feature distance"]
        values = [(m.values[run.record.gan], m.values["bicubic"], m.better == "lower") for m in judged]
        is_worse = bool(values) and all(own > other if lower else own < other for own, other, lower in values)
    except (GanfoldError, LookupError, TypeError, AttributeError):  # nobody has evaluated it
        is_worse = False
    if is_worse:
        found.append(f"{run.path} is worse than bicubic enlargement by its last evaluation: train it for longer")
    return found


def measure(
    run: Run, seed: int, count: int, others: Mapping[str, Run] | None = None, extractor: Extractor | None = None
) -> list[TaskMetric]:
    """How near enlarged images come to their originals, beside bicubic enlargement.

    Args:
        run: its GAN's task is super-resolution.
        seed, count: which held-out images, as `ganfold evaluate` chooses them; training images if none are held out.
        others: further runs of the same scale and images, by name.
        extractor: gives the features for the feature distance [EfficientNet-Lite0 at 224 px].

    Returns:
        The metrics of `compare`.
    """
    images, scale = run.images(progress=False), run.gan.scale
    chosen = images.held_out if len(images.held_out) else images.train
    reals = images.images[data.drawn(chosen, min(count, len(chosen)), seed)]
    enlargers: dict[str, Enlarger] = {run.record.gan: _sampler(run.gan)}
    enlargers |= {name: _sampler(other.gan) for name, other in (others or {}).items()}
    enlargers["bicubic"] = lambda low: enlarge(low, scale)
    return compare(reals, scale, enlargers, extractor or efficientnet())


def compare(reals: np.ndarray, scale: int, enlargers: Mapping[str, Enlarger], extractor: Extractor) -> list[TaskMetric]:
    """Shrink images, enlarge them again in several ways, and measure how near each comes to the original.

    Args:
        reals: the originals, uint8 (N, C, H, W).
        scale: how many times smaller they become.
        enlargers: what enlarges them again, by name.
        extractor: gives the features for the feature distance.

    Returns:
        PSNR and SSIM of the luminance Y and of the colours, without a border of `scale` pixels; the distance in
        features; and the error in the amount of fine detail, in octaves.
    """
    made = {name: _made(enlarger, reals, scale) for name, enlarger in enlargers.items()}
    real = reals.transpose(0, 2, 3, 1)
    coloured = real.shape[3] >= 3
    colours = {name: images[..., :3] if coloured else images for name, images in made.items()}
    truth = real[..., :3] if coloured else real
    metrics = []
    for name, ratio in (("PSNR", psnr), ("SSIM", ssim)):
        if ratio is ssim and truth.shape[1] - 2 * scale < WINDOW:
            continue
        for suffix, luma in ((" Y", True), (" RGB", False)) if coloured else (("", False),):
            values = {n: float(ratio(i, truth, luma=luma, border=scale).mean()) for n, i in colours.items()}
            metrics.append(TaskMetric(f"{name}{suffix}", "higher", values))
    distances = {name: float(feature_distance(images, real, extractor).mean()) for name, images in made.items()}
    metrics.append(TaskMetric("feature distance", "lower", distances))
    amounts = {name: abs(np.log2(detail(images, scale) / detail(truth, scale))) for name, images in colours.items()}
    return [*metrics, TaskMetric("detail error (octaves)", "lower", {n: float(v.mean()) for n, v in amounts.items()})]


def detail(images: np.ndarray, scale: int) -> np.ndarray:
    """The amount of fine detail in each image: what it loses when it is shrunk and bicubically enlarged again.

    Args:
        images: uint8 (N, H, W, C).
        scale: how many times smaller they become.

    Returns:
        The root mean square of the loss, on the scale of 0 to 255, float (N,). It is at least the error of rounding.
    """
    parts = []
    for start in range(0, len(images), CHUNK):
        pixels = to_float(images[start : start + CHUNK].transpose(0, 3, 1, 2))
        lost = pixels - enlarge(shrink(pixels, scale), scale)
        parts.append(lost.mul(127.5).square().mean((1, 2, 3)).sqrt().clamp(min=0.3))
    return torch.cat(parts).numpy()


def _sampler(gan: GAN) -> Enlarger:
    return lambda low: gan.sample(low.new_zeros(len(low), *gan.latent), {"low": low})


@torch.inference_mode()
def _made(enlarger: Enlarger, reals: np.ndarray, scale: int) -> np.ndarray:
    parts = [
        to_rows(enlarger(shrink(to_float(reals[start : start + CHUNK]), scale)))
        for start in range(0, len(reals), CHUNK)
    ]
    return np.concatenate(parts)
