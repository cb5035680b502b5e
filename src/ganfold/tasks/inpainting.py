"""Inpainting: the part of an image that a mask hides is painted anew.

A context encoder has learnt to do so. Any other generator is searched for the image that fits best: Yeh et al. 2017,
"Semantic Image Inpainting with Deep Generative Models", arXiv:1607.07539.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ganfold.errors import GanfoldError
from ganfold.gans import noise
from ganfold.gans.contract import GAN, Batch, Shape, Terms
from ganfold.images.files import opened, to_image, to_tensor
from ganfold.images.pixels import to_rows
from ganfold.latent import inversion
from ganfold.latent.layers import labels_in_turn
from ganfold.metrics.paired import TaskMetric, l1, psnr
from ganfold.runs.generate import CHUNK
from ganfold.runs.run import Run
from ganfold.tasks import gans_for, with_article

Paint = Callable[[Tensor, Tensor], Tensor]  # an image (1, C, R, R), its hole (1, 1, R, R), 0 or 1 -> (1, C, R, R)
Box = tuple[int, int, int, int]  # left, top, right, bottom

NEIGHBOURS = 7  # side of the neighbourhood that decides a pixel's weight, in pixels (Yeh 2017)
PRIOR = 0.003  # weight of D's opinion beside the context (Yeh 2017: lambda)
BLEND_SIDE = 1024  # largest side at which seams are blended, in pixels, so that large holes need no more memory
EROSIONS = 3  # how often OpenCV's seamlessClone shrinks the mask
NEARLY = 64  # of 255: as far from black and white as JPEG leaves the pixels of a mask
EXACT = 60.0  # dB for a hole that is filled without visible error
MEANT = 5000  # most training images for the mean that `rivals` fill in


def is_encoder(run: Run) -> bool:
    """Whether the run's GAN has learnt to inpaint. A generator that can be searched has not.

    Raises:
        GanfoldError: the GAN can do neither.
    """
    gan_class = run.gan_class
    if gan_class.task == "inpainting":
        return True
    if gan_class.conditioned_on_images:
        needed = " or ".join(map(with_article, gans_for("inpainting")))
        raise GanfoldError(
            f"{run.path} is {with_article(run.record.gan)}: `inpaint` needs {needed} or a generator of images"
        )
    return False


def hole_of(mask: Path, image: Image.Image, path: Path) -> Image.Image:
    """The hole in an image, in mode L: 255 inside, 0 outside.

    Args:
        mask: an image file, white in the hole and black elsewhere.
        image: the image that it belongs to.
        path: the file of that image, for errors.

    Raises:
        GanfoldError: the mask has another size, a pixel that is neither black nor white, or hides nothing or all.
    """
    shown = opened(mask)
    if shown.size != image.size:
        sizes = [f"{width} x {height}" for width, height in (shown.size, image.size)]
        raise GanfoldError(f"{mask} is {sizes[0]} pixels and {path} is {sizes[1]}: a mask needs the size of its image")
    colours = [np.asarray(band) for band in shown.split()[:3]]
    white = np.logical_and.reduce([band == 255 for band in colours])
    black = np.logical_and.reduce([band == 0 for band in colours])
    top = "white (65,535 in a file of 16 bits)" if "deep" in shown.info else "white (255)"
    if shown.mode == "RGBA" and (clear := int((np.asarray(shown.getchannel("A")) < 255).sum())):
        what = f"{clear:,} pixels of {white.size:,} that are transparent: paint the hole white and all else black"
        raise GanfoldError(f"{mask} has {what}")
    if max(int(band.max()) for band in colours) == 1:
        raise GanfoldError(f"{mask} has no value above 1, which is as good as black: make the hole {top}")
    if grey := int((~(white | black)).sum()):
        what = f"{grey:,} pixels of {white.size:,} that are neither black nor white: {_why(colours)}"
        raise GanfoldError(f"{mask} has {what}")
    if not white.any():
        raise GanfoldError(f"{mask} hides nothing: make the hole {top}")
    if white.all():
        raise GanfoldError(f"{mask} hides all: leave something of the image")
    return Image.fromarray(white.astype(np.uint8) * 255)


def _why(colours: Sequence[np.ndarray]) -> str:
    """Why a mask has pixels between black and white, as its values show it, and what to do."""
    values = np.unique(colours[0])
    if any(np.abs(band.astype(np.int16) - colours[0]).max() > NEARLY for band in colours):
        return "it has colours; make those of the hole white and all others black"
    if len(values) <= 3:
        return f"its values are {', '.join(map(str, values))}; make those of the hole 255 and all others 0"
    kind = "JPEG leaves them so" if np.minimum(values, 255 - values).max() < NEARLY else "a soft edge has such pixels"
    return f"{kind}; set all values below 128 to 0 and the others to 255, and save it as PNG"


# Where: windows of the image, at the size of the networks.


def fill(image: Image.Image, hole: Image.Image, paint: Paint, shape: Shape, *, near: bool, blend: bool) -> Image.Image:
    """Paint the hole of an image, window by window. The mode and all other pixels stay as they are.

    Args:
        image: in mode L, RGB or RGBA.
        hole: in mode L, 255 in the hole and 0 elsewhere.
        paint: paints one window.
        shape: the images that `paint` takes.
        near: use a window around each part of the hole, twice as large. Otherwise: the largest square around all of it.
        blend: hide the seams.
    """
    made, left = image.copy(), hole.copy()
    resolution, mode = shape.resolution, {1: "L", 3: "RGB", 4: "RGBA"}[shape.channels]
    for box in parts(np.asarray(hole) > 0, near):
        where = left.crop(box)
        if not where.getbbox():  # this part of a long box does not touch the hole
            continue
        window = window_of(box, image.size, resolution if near else max(image.size))
        around, hidden = made.crop(window).convert(mode), left.crop(window)
        painted = to_image(paint(*_shrunk(around, hidden, resolution)))
        if blend:
            painted = poisson_blend(painted, around, hidden)
        scale = painted.width / (window[2] - window[0])
        place = [(box[side] - window[side % 2]) * scale for side in range(4)]
        patch = painted.resize((box[2] - box[0], box[3] - box[1]), Image.Resampling.BICUBIC, tuple(place))  # type: ignore[arg-type]
        if made.mode == "RGBA" and patch.mode != "RGBA":
            patch = patch.convert("RGB")
            patch.putalpha(made.crop(box).getchannel("A"))
        made.paste(patch.convert(made.mode), box, where)
        left.paste(0, box, where)
    return made


def parts(hole: np.ndarray, near: bool) -> list[Box]:
    """Boxes that together hold a hole, each at most as large as the image's shorter side.

    Args:
        hole: bool (H, W).
        near: whether each connected part of the hole gets boxes of its own.
    """
    from scipy import ndimage

    named = ndimage.label(hole, np.ones((3, 3)))[0] if near else hole.astype(np.uint8)
    shorter = min(hole.shape)
    boxes = []
    for rows, columns in ndimage.find_objects(named):
        sides = [rows.stop - rows.start, columns.stop - columns.start]
        counts = [1 if side <= shorter else math.ceil(2 * side / shorter) for side in sides]
        ends = [
            np.linspace(part.start, part.stop, count + 1).round().astype(int).tolist()
            for part, count in zip((rows, columns), counts, strict=True)
        ]
        for top, bottom in zip(ends[0], ends[0][1:], strict=False):
            boxes += [(left, top, right, bottom) for left, right in zip(ends[1], ends[1][1:], strict=False)]
    return boxes


def window_of(box: Box, size: tuple[int, int], least: int) -> Box:
    """A square around a box, twice as large as the box, but at least `least` and at most as large as the image."""
    side = min(*size, max(least, 2 * max(box[2] - box[0], box[3] - box[1])))
    left, top = (min(max(0, (box[n] + box[n + 2] - side) // 2), size[n] - side) for n in (0, 1))
    return left, top, left + side, top + side


def _shrunk(image: Image.Image, hole: Image.Image, side: int) -> tuple[Tensor, Tensor]:
    """A square image as (1, C, side, side) in [-1, 1], and a mask (1, 1, side, side): 1 if any of a pixel is hidden.

    Hidden pixels do not bleed into visible ones: they are made transparent, and Pillow weights colours by alpha.
    """
    known = Image.eval(hole, lambda value: 255 - value)
    bands = [
        Image.merge("LA", (band, known)).resize((side, side), Image.Resampling.LANCZOS).getchannel("L")
        for band in image.split()
    ]
    small = bands[0] if len(bands) == 1 else Image.merge(image.mode, bands)
    share = np.asarray(hole.convert("F").resize((side, side), Image.Resampling.BOX))
    return to_tensor(small), torch.from_numpy((share > 0.5).astype(np.float32))[None, None]  # 0.5 of 255: any


def poisson_blend(made: Image.Image, around: Image.Image, hole: Image.Image) -> Image.Image:
    """Shift the colours of a painted hole until they meet those around it, and keep their gradients.

    Pérez, Gangnet, Blake 2003, "Poisson Image Editing", by OpenCV's seamlessClone.

    Args:
        made: the painted image, square, of any size.
        around: the original, square.
        hole: of the size of `around`, in mode L: 255 in the hole.

    Returns:
        In the mode of `made`, as large as `around` or 1024 pixels a side.
    """
    import cv2

    side = min(around.width, BLEND_SIDE)
    pad = EROSIONS + 3
    # Hidden pixels stay hidden at this size. At the seam, the gradients come from the painted image.
    wide = np.asarray(hole.convert("F").resize((side, side), Image.Resampling.BOX)) > 0.5
    target = np.asarray(around.convert("RGB").resize((side, side), Image.Resampling.LANCZOS))
    source = np.asarray(made.convert("RGB").resize((side, side), Image.Resampling.BICUBIC))
    target = np.where(wide[..., None], source, target)
    target, source = (np.pad(part, ((pad, pad), (pad, pad), (0, 0)), "edge") for part in (target, source))
    mask = cv2.dilate(np.pad(wide.astype(np.uint8) * 255, pad), np.ones((3, 3), np.uint8), iterations=EROSIONS + 1)
    x, y, width, height = cv2.boundingRect(mask)
    joined = cv2.seamlessClone(source, target, mask, (x + width // 2, y + height // 2), cv2.NORMAL_CLONE)
    blended = Image.fromarray(joined[pad:-pad, pad:-pad])
    if made.mode == "RGBA":
        blended.putalpha(made.getchannel("A").resize((side, side), Image.Resampling.BICUBIC))
    return blended.convert(made.mode)


# Who paints: a context encoder, or a search.


@dataclass(frozen=True)
class Fit:
    """How near a search has come to an image beside a hole."""

    residual: float  # the mean difference there, in levels of 255
    usual: float  # half of the generator's samples differ less than this there from another one of 256

    @property
    def is_far(self) -> bool:
        """Whether the image is far from what the generator makes, since chance comes as near to its samples."""
        return self.residual > max(self.usual, inversion.UNSEEN)

    @property
    def sentence(self) -> str:
        """The residual, and what it means."""
        told = f"{self.residual:.1f} of 255 levels beside the hole"
        usual = f"two samples of the generator can be within {self.usual:.1f} by chance"
        if self.is_far:
            return f"this image is far from what the generator makes: the search ended at {told}, and {usual}"
        return f"the search ended at {told} ({usual})"


class Searcher:
    """What a search paints; it keeps how near each search came.

    Args:
        gan: a generator of images from noise, or from noise and labels.
        steps, starts, seed: see `search`.
    """

    def __init__(self, gan: GAN, steps: int, starts: int, seed: int) -> None:
        self.gan, self.steps, self.starts, self.seed = gan, steps, starts, seed
        self.fits: list[Fit] = []

    def __call__(self, image: Tensor, mask: Tensor) -> Tensor:
        made = search(self.gan, image, mask, steps=self.steps, starts=self.starts, seed=self.seed)
        weight = importance(mask)
        weight = 127.5 * weight / (weight.sum() * image.shape[1]).clamp(min=1e-9)
        residual = float((weight * (made - image).abs()).sum())
        self.fits.append(Fit(residual, float(self._nearest(weight).median())))
        return made

    def told(self, name: str, every: bool) -> list[str]:
        """A sentence about the worst search since the last call; none if it came near, except with `every`."""
        if not self.fits:
            return []
        worst = max(self.fits, key=lambda fit: fit.residual - fit.usual)
        self.fits.clear()
        return [f"{'Note: ' * worst.is_far}{name}: {worst.sentence}."] if worst.is_far or every else []

    def _nearest(self, weight: Tensor) -> Tensor:
        """The weighted distance of each sample to the nearest other one."""
        seen = (weight * self._samples).flatten(1)[:, weight.expand_as(self._samples[:1]).flatten() > 0]
        return torch.cdist(seen, seen, 1).fill_diagonal_(torch.inf).amin(1)

    @cached_property
    def _samples(self) -> Tensor:
        parts = []
        for start in range(0, inversion.COMPARED, CHUNK):
            rows = torch.arange(start, start + CHUNK)
            z = noise.normal(noise.key_of(self.seed, "inpaint-usual"), rows, *self.gan.latent)
            with torch.inference_mode():
                parts.append(self.gan.sample(z, labels_in_turn(self.gan, rows)))
        return torch.cat(parts)


def painter(run: Run, steps: int = 500, starts: int = 8, seed: int = 0) -> Paint:
    """What paints for a run: its context encoder, or a search through its generator.

    Args:
        run: of a GAN that has learnt to inpaint, or of a generator of images.
        steps, starts, seed: of the search; see `search`.

    Raises:
        GanfoldError: the GAN can do neither.
    """
    return encoder(run.gan) if is_encoder(run) else Searcher(run.gan, steps, starts, seed)


def encoder(gan: Any) -> Paint:
    """What a context encoder paints.

    An encoder that has learnt middle squares gets a middle square if the hole lies within, else the hole's box.
    """

    def paint(shown: Tensor, mask: Tensor) -> Tensor:
        if gan.config.holes == "centre":
            middle = gan.condition(Batch({"image": shown}, torch.arange(1)))["mask"]
            rows, columns = mask[0, 0].amax(1).nonzero(), mask[0, 0].amax(0).nonzero()
            box = torch.zeros_like(mask)
            if len(rows):
                box[:, :, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = 1
            mask = middle if (box <= middle).all() else box
        with torch.inference_mode():
            made: Tensor = gan.G(gan.masked(shown, mask))  # not `sample`: blending needs what is painted at the border
        return made

    return paint


def importance(mask: Tensor) -> Tensor:
    """The weight of each pixel: the hidden share of its neighbourhood, and 0 in the hole (Yeh 2017: W)."""
    near = F.avg_pool2d(mask, NEIGHBOURS, 1, NEIGHBOURS // 2, count_include_pad=False)
    return (1 - mask) * near


def search(gan: GAN, image: Tensor, mask: Tensor, *, steps: int = 500, starts: int = 8, seed: int = 0) -> Tensor:
    """The generator's image that is nearest to an image outside of its hole (Yeh 2017).

    The length of z is kept at most at that of normal noise. Each start is one row of a batch and is searched by itself.
    Starts take the labels in turn, if the generator takes labels.

    Args:
        gan: a generator of images from noise, or from noise and labels.
        image: (1, C, R, R) in [-1, 1].
        mask: (1, 1, R, R), 1 in the hole.
        steps: updates of z.
        starts: number of searches; the best result is kept.
        seed: decides where they start.
    """
    rows = torch.arange(starts)
    condition = labels_in_turn(gan, rows)
    weight = importance(mask)

    def losses(made: Tensor, condition: Terms) -> Tensor:
        context = (weight * (made - image).abs()).sum((1, 2, 3))  # the weighted context loss
        batch = Batch({"image": made, **condition}, rows)
        batch.begin(seed, "inpaint")
        opinion = gan.judge(batch, made)
        prior = 0.0 if opinion is None else -F.softplus(opinion)  # the prior loss, log(1 - D(G(z)))
        return context + PRIOR * prior

    begin = noise.normal(noise.key_of(seed, "inpaint"), rows, *gan.latent)
    z, found = inversion.search(gan, begin, condition, losses, steps)
    with torch.no_grad():
        best = int(found.argmin())
        return gan.sample(z, condition)[best : best + 1]


# How well: the metrics of a context encoder.


def measure(run: Run, seed: int, count: int) -> list[TaskMetric]:
    """L1 and PSNR inside the holes of held-out images, beside `rivals`, which need no network."""
    conditioning = run.held_out_conditioning(seed)
    assert conditioning is not None
    each: dict[str, list[np.ndarray]] = {}
    for start in range(0, count, CHUNK):
        rows = torch.arange(start, min(start + CHUNK, count))
        batch, condition = conditioning.batch(rows), conditioning(rows)
        with torch.inference_mode():
            made = run.gan.sample(torch.zeros(len(rows), *run.gan.latent), condition)
        images, painted = (to_rows(part) for part in (batch["image"], made))
        holes = condition["mask"][:, 0].numpy() > 0
        train = conditioning.data.images[conditioning.data.train[:MEANT]]
        for name, filled in {"ours": painted, **rivals(images, holes, train)}.items():
            each.setdefault(name, []).append(measured(filled, images, holes))
    means = {name: np.concatenate(parts, 1).mean(1) for name, parts in each.items()}
    kinds: list[tuple[str, Literal["lower", "higher"]]] = [("L1 in the hole", "lower"), ("PSNR in the hole", "higher")]
    return [
        TaskMetric(kind, better, {name: float(both[number]) for name, both in means.items()})
        for number, (kind, better) in enumerate(kinds)
    ]


def measured(images: np.ndarray, targets: np.ndarray, holes: np.ndarray) -> np.ndarray:
    """L1 and PSNR (at most 60 dB) inside holes, (2, N).

    Args:
        images, targets: uint8 (N, H, W, C).
        holes: bool (N, H, W).
    """
    return np.stack([l1(images, targets, holes), psnr(images, targets, where=holes).clip(max=EXACT)])


def rivals(images: np.ndarray, holes: np.ndarray, train: np.ndarray) -> dict[str, np.ndarray]:
    """Holes filled without a network: by Telea and Navier-Stokes (OpenCV), by the mean colour, and by the mean image.

    Args:
        images: uint8 (N, H, W, C).
        holes: bool (N, H, W).
        train: training images for the means, uint8 (M, C, H, W).

    Returns:
        By name, uint8 (N, H, W, C).
    """
    import cv2

    def classic(method: int) -> np.ndarray:
        made = np.empty_like(images)
        for number, (image, hole) in enumerate(zip(images, holes, strict=True)):
            for band in range(image.shape[2]):
                plane = np.ascontiguousarray(image[..., band])
                made[number, ..., band] = cv2.inpaint(plane, hole.astype(np.uint8), 3, method)
        return made

    mean = train.mean(0, dtype=np.float32).transpose(1, 2, 0)
    flat = np.broadcast_to(mean.mean((0, 1)), mean.shape)
    constant = {"mean colour": flat, "mean image": mean}
    return {
        "Telea": classic(cv2.INPAINT_TELEA),
        "Navier-Stokes": classic(cv2.INPAINT_NS),
        **{
            name: np.where(holes[..., None], value.round().astype(np.uint8), images) for name, value in constant.items()
        },
    }
