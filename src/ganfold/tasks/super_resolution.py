"""`ganfold upscale`: pictures made larger by an `srgan`; and how near it comes to what was there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganfold import data
from ganfold.errors import GanfoldError
from ganfold.gans.contract import GAN
from ganfold.images.files import change_pictures, open_run, tiled, to_tensor
from ganfold.metrics.features import Extractor, efficientnet
from ganfold.metrics.paired import TaskFigure, feature_distance, psnr, ssim
from ganfold.networks.degrade import enlarge, shrink
from ganfold.runs.run import CHUNK, Run, as_bytes

TILE = 128  # pixels of the picture, a side
WINDOW = 11  # pixels a side: what SSIM looks through


def upscale(
    run: str | Path | Run,
    picture: str | Path,
    out: str | Path,
    *,
    tile: int = TILE,
    checkpoint: str = "best",
    force: bool = False,
    progress: bool = True,
) -> Path:
    """Write a picture, or each picture in a folder, as many times larger as the run has learnt.

    The picture is taken tile by tile, each with as much around it as the network can see, so that there are no seams
    and memory follows from the tile (`docs/gans/srgan.md` has figures), but for the result itself, a byte a value.
    Transparency and what else the run has no channel for is enlarged bicubically; a grey picture stays grey.

    Args:
        run: an `srgan`, a run folder or a run that is loaded.
        picture: a picture of any size from 8 pixels a side on, or a folder of them.
        out: the file to write, or the folder for PNGs of the same names.
        tile: pixels of the picture, a side, taken at once.
        checkpoint: "best" by KID, or "last"; of a run folder.
        force: allow files to be replaced.
        progress: show a bar for a folder on a terminal, and say what was skipped.

    Returns:
        `out`.

    Raises:
        GanfoldError: another kind of run, no picture, one that is too small, or `out` exists.
    """
    if tile < 1:
        raise GanfoldError(f"tile must be 1 or more, not {tile}")
    gan = open_run(run, ["srgan"], "upscale", checkpoint).gan
    return change_pictures(picture, out, lambda image, _: enlarged(gan, image, tile), force=force, progress=progress)


def enlarged(gan: GAN, image: Image.Image, tile: int = TILE) -> Image.Image:
    """A picture, L, RGB or RGBA, in the same mode, `gan.config.scale` times larger."""
    scale, channels = gan.config.scale, gan.shape.channels
    colours = {1: "RGB" if image.mode != "L" else "L", 3: "RGB", 4: "RGBA"}[channels]
    pixels = to_tensor(image.convert(colours))

    def network(part: Tensor) -> Tensor:
        low = part.transpose(0, 1) if channels == 1 else part  # each colour as a grey picture of its own
        low = low.contiguous(memory_format=torch.channels_last)  # as in training, and faster
        made = as_bytes(gan.sample(low.new_zeros(len(low), *gan.latent), {"low": low}))
        return made.transpose(0, 1) if channels == 1 else made

    values = tiled(network, pixels, scale=scale, tile=tile, margin=gan.reach)  # type: ignore[arg-type]
    array = values[0].permute(1, 2, 0).numpy()
    large = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
    if image.mode == "RGBA" and large.mode != "RGBA":
        large.putalpha(image.getchannel("A").resize(large.size, Image.Resampling.BICUBIC))
    return large if large.mode == image.mode else large.convert(image.mode)


def figures(
    run: Run, seed: int, count: int, others: Mapping[str, Run] | None = None, judge: Extractor | None = None
) -> list[TaskFigure]:
    """How near the run's images come to the held-out ones that were made small, beside bicubic ones.

    PSNR and SSIM of the luminance Y and of the colours, borders of `scale` pixels left out; the distance in features;
    and how far the fine detail, which the small image lacks, is from its right amount.

    Args:
        run: an `srgan`.
        seed, count: which held-out images, as `ganfold evaluate` chooses them; training images if none are held out.
        others: more runs of the same scale and images to stand beside it, by the name to call them.
        judge: what looks at the images for the distance in features [EfficientNet-Lite0 at 224 px, its last features].
    """
    images, scale = run.images(progress=False), run.gan.config.scale
    chosen = images.held_out if len(images.held_out) else images.train
    reals = images.images[data.drawn(chosen, min(count, len(chosen)), seed)]
    makers: dict[str, Callable[[Tensor], Tensor]] = {run.config["gan"]: _sampler(run)}
    makers |= {name: _sampler(other) for name, other in (others or {}).items()}
    makers["bicubic"] = lambda low: enlarge(low, scale)
    return compare(reals, scale, makers, judge or efficientnet())


def compare(
    reals: np.ndarray, scale: int, makers: Mapping[str, Callable[[Tensor], Tensor]], judge: Extractor
) -> list[TaskFigure]:
    """The figures of images that these make of small ones; `reals` are uint8 (N, C, H, W)."""
    made = {name: _made(maker, reals, scale) for name, maker in makers.items()}
    real = reals.transpose(0, 2, 3, 1)
    coloured = real.shape[3] >= 3
    colours = {name: images[..., :3] if coloured else images for name, images in made.items()}
    truth = real[..., :3] if coloured else real
    found = []
    for name, measure in (("PSNR", psnr), ("SSIM", ssim)):
        if measure is ssim and truth.shape[1] - 2 * scale < WINDOW:
            continue
        for what, luma in ((" Y", True), (" RGB", False)) if coloured else (("", False),):
            values = {n: float(measure(i, truth, luma=luma, border=scale).mean()) for n, i in colours.items()}
            found.append(TaskFigure(f"{name}{what}", "higher", values))
    distances = {name: float(feature_distance(images, real, judge).mean()) for name, images in made.items()}
    found.append(TaskFigure("feature distance", "lower", distances))
    amounts = {name: abs(np.log2(detail(images, scale) / detail(truth, scale))) for name, images in colours.items()}
    return [*found, TaskFigure("detail error (octaves)", "lower", {n: float(v.mean()) for n, v in amounts.items()})]


def detail(images: np.ndarray, scale: int) -> np.ndarray:
    """How much of each image, uint8 (N, H, W, C), is lost where it is made small and bicubically large again: the root
    mean square, of 255, float (N,). Not less than what rounding alone makes of it."""
    parts = []
    for start in range(0, len(images), CHUNK):
        pixels = _pixels(images[start : start + CHUNK].transpose(0, 3, 1, 2))
        lost = pixels - enlarge(shrink(pixels, scale), scale)
        parts.append(lost.mul(127.5).square().mean((1, 2, 3)).sqrt().clamp(min=0.3))
    return torch.cat(parts).numpy()


def _sampler(run: Run) -> Callable[[Tensor], Tensor]:
    gan = run.gan
    return lambda low: gan.sample(low.new_zeros(len(low), *gan.latent), {"low": low})


@torch.inference_mode()
def _made(maker: Callable[[Tensor], Tensor], reals: np.ndarray, scale: int) -> np.ndarray:
    parts = [
        as_bytes(maker(shrink(_pixels(reals[start : start + CHUNK]), scale))) for start in range(0, len(reals), CHUNK)
    ]
    return torch.cat(parts).permute(0, 2, 3, 1).numpy()


def _pixels(images: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images)).float() / 127.5 - 1
