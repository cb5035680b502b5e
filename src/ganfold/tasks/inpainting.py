"""`ganfold inpaint`: what a mask hides in the user's own picture is painted anew, by a context encoder, or by a search
through what any generator can make (Yeh et al. 2017, "Semantic Image Inpainting with Deep Generative Models",
arXiv:1607.07539)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ganfold.errors import GanfoldError
from ganfold.gans import find, noise
from ganfold.gans.contract import GAN, Batch, Terms, cosine
from ganfold.images.files import change_pictures, opened, to_image, to_tensor
from ganfold.metrics.paired import TaskFigure, l1, psnr
from ganfold.runs.run import CHUNK, Run, as_bytes

Paint = Callable[[Tensor, Tensor], Tensor]  # (1, C, R, R) and where it is hidden, (1, 1, R, R) -> (1, C, R, R)
Box = tuple[int, int, int, int]  # left, top, right, bottom

ENCODER = "context-encoder"
NEIGHBOURS = 7  # pixels a side of the neighbourhood that says how much a pixel counts (theirs)
PRIOR = 0.003  # weight of D's opinion beside the context (their lambda)
RATE = 0.03  # Adam's learning rate on z, at first ...
RATE_END = 0.1  # ... and the share of it that is left at the end, along a cosine
BLEND_SIDE = 1024  # pixels a side at which seams are blended at most, so that memory does not grow with the hole
EROSIONS = 3  # how often OpenCV's seamlessClone shrinks the mask that it is given
EXACT = 60.0  # dB that count for a hole filled without an error that can be seen


def inpaint(
    run: str | Path | Run,
    picture: str | Path,
    mask: str | Path,
    out: str | Path | None = None,
    *,
    steps: int = 500,
    starts: int = 8,
    seed: int = 0,
    blend: bool = True,
    window: Literal["near", "whole"] | None = None,
    checkpoint: str = "best",
    force: bool = False,
    progress: bool = True,
) -> Path:
    """Write a picture, or each picture of a folder, with what its mask hides painted anew.

    Args:
        run: a run of `context-encoder`, or of any GAN that makes images of noise alone or of labels.
        picture: a picture of any size, or a folder of them.
        mask: black and white, as large as the picture, white where it is to be painted; or a folder of masks of the
            same names; or one for all pictures.
        out: the file, or the folder of PNGs [beside the picture, `NAME-inpainted.png`].
        steps, starts: of a generator: steps of the search, and how many are searched from at once, of which the best is
            kept. Labels, if it takes any, are dealt to them in turn.
        seed: where the search starts.
        blend: hide the seam by Poisson's equation.
        window: what the networks are shown: "near", for each part of the hole twice as much [with context encoders]; or
            "whole", the largest square that holds all of it [with generators].
        checkpoint: "best" by KID, or "last"; of a run folder.
        force: allow files to be replaced.
        progress: show a bar for a folder.

    Returns:
        `out`. Outside of the hole not a pixel is changed.

    Raises:
        GanfoldError: a run that cannot do it, a mask that does not fit or says nothing, or a file in the way.
    """
    run = run if isinstance(run, Run) else Run(run, checkpoint)
    picture, mask = Path(picture), Path(mask)
    if out is None:
        out = picture.with_name(f"{picture.name if picture.is_dir() else picture.stem}-inpainted")
        out = out if picture.is_dir() else out.with_name(f"{out.name}.png")
    if steps < 1 or starts < 1:
        raise GanfoldError(f"steps and starts must be 1 or more, not {steps} and {starts}")
    learned, paint = _is_encoder(run), painter(run, steps, starts, seed)
    near = learned if window is None else window == "near"
    masks = {path.stem: path for path in mask.iterdir() if path.is_file()} if mask.is_dir() else None

    def change(image: Image.Image, path: Path) -> Image.Image:
        if masks is not None and path.stem not in masks:
            raise GanfoldError(f"{mask} holds no mask of the name of {path}")
        hole = hole_of(mask if masks is None else masks[path.stem], image, path)
        return fill(image, hole, paint, run.gan, near=near, blend=blend)

    return change_pictures(picture, out, change, force=force, progress=progress)


def _is_encoder(run: Run) -> bool:
    """Whether it has learnt to inpaint; False for a generator that can be searched."""
    name = run.config["gan"]
    kind = find(name)
    if name != ENCODER and kind.given is not GAN.given:
        article = "an" if name[0] in "aeiou" or name[:2] in ("rs", "sr", "r3", "ls") else "a"
        raise GanfoldError(
            f"{run.path} is {article} {name}: `inpaint` needs a context-encoder or a generator of images"
        )
    return name == ENCODER


def hole_of(mask: Path, image: Image.Image, picture: Path) -> Image.Image:
    """The mask of a picture, L: 255 in the hole, else 0.

    Raises:
        GanfoldError: it is of another size, neither black nor white somewhere, all black or all white.
    """
    found = opened(mask)
    if found.size != image.size:
        sizes = [f"{width} x {height}" for width, height in (found.size, image.size)]
        raise GanfoldError(f"{mask} is {sizes[0]} pixels and {picture} is {sizes[1]}: a mask needs the picture's size")
    pixels = np.asarray(found.convert("RGBA"))
    white = (pixels == 255).all(2)
    black = (pixels[..., :3] == 0).all(2) & (pixels[..., 3] == 255)
    if grey := int((~(white | black)).sum()):
        raise GanfoldError(
            f"{mask} has {grey:,} pixels of {white.size:,} that are neither black nor white: make those of the hole "
            "white and all others black"
        )
    if not white.any() or white.all():
        what = "hides nothing: make the hole white" if not white.any() else "hides all: leave something of the picture"
        raise GanfoldError(f"{mask} {what}")
    return Image.fromarray(white.astype(np.uint8) * 255)


# Where: windows of the picture, at the size that the networks know.


def fill(image: Image.Image, hole: Image.Image, paint: Paint, gan: GAN, *, near: bool, blend: bool) -> Image.Image:
    """A picture whose hole is painted, window by window, in the mode that it has.

    Args:
        image: L, RGB or RGBA.
        hole: L, 255 in the hole, else 0.
        paint, gan: who paints, and for which networks.
        near: a window around each part of the hole, twice as large; else the largest square that holds all of it.
        blend: hide the seams.
    """
    made, left = image.copy(), hole.copy()
    resolution, mode = gan.shape.resolution, {1: "L", 3: "RGB", 4: "RGBA"}[gan.shape.channels]
    for box in parts(np.asarray(hole) > 0, near):
        where = left.crop(box)
        if not where.getbbox():  # a part of a long box that the hole does not touch
            continue
        window = window_of(box, image.size, resolution if near else max(image.size))
        around, hidden = made.crop(window).convert(mode), left.crop(window)
        shown, mask = _shrunk(around, hidden, resolution)
        painted = to_image(paint(shown, mask))
        if blend:
            painted = blended(painted, around, hidden)
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
    """Boxes that together hold the hole, bool (H, W): of each connected part, or of all of it; each at most as large
    as the picture's shorter side."""
    from scipy import ndimage

    named = ndimage.label(hole, np.ones((3, 3)))[0] if near else hole.astype(np.uint8)
    shorter = min(hole.shape)
    found = []
    for rows, columns in ndimage.find_objects(named):
        sides = [rows.stop - rows.start, columns.stop - columns.start]
        counts = [1 if side <= shorter else math.ceil(2 * side / shorter) for side in sides]
        ends = [
            np.linspace(part.start, part.stop, count + 1).round().astype(int).tolist()
            for part, count in zip((rows, columns), counts, strict=True)
        ]
        for top, bottom in zip(ends[0], ends[0][1:], strict=False):
            found += [(left, top, right, bottom) for left, right in zip(ends[1], ends[1][1:], strict=False)]
    return found


def window_of(box: Box, size: tuple[int, int], least: int) -> Box:
    """A square of a picture of this size around a box, twice as large, at least so large, at most as the picture."""
    side = min(*size, max(least, 2 * max(box[2] - box[0], box[3] - box[1])))
    left, top = (min(max(0, (box[n] + box[n + 2] - side) // 2), size[n] - side) for n in (0, 1))
    return left, top, left + side, top + side


def _shrunk(image: Image.Image, hole: Image.Image, side: int) -> tuple[Tensor, Tensor]:
    """A square picture as (1, C, side, side) in [-1, 1], and where anything of a pixel is hidden, 0 or 1.

    What is hidden stains no pixel beside it: it is a transparent part, and Pillow resizes colours by their alpha.
    """
    known = Image.eval(hole, lambda value: 255 - value)
    bands = [
        Image.merge("LA", (band, known)).resize((side, side), Image.Resampling.LANCZOS).getchannel("L")
        for band in image.split()
    ]
    small = bands[0] if len(bands) == 1 else Image.merge(image.mode, bands)
    share = np.asarray(hole.convert("F").resize((side, side), Image.Resampling.BOX))
    return to_tensor(small), torch.from_numpy((share > 0.5).astype(np.float32))[None, None]  # 0.5 of 255: any


def blended(made: Image.Image, around: Image.Image, hole: Image.Image) -> Image.Image:
    """What was made, square, with its colours in the hole changed so that they meet those around it, and its slopes
    kept (Perez 2003): by OpenCV's seamlessClone."""
    import cv2

    side = min(around.width, BLEND_SIDE)
    pad = EROSIONS + 3
    # what is hidden must be hidden at this size too, and the slope at the seam be that of what was made
    wide = np.asarray(hole.convert("F").resize((side, side), Image.Resampling.BOX)) > 0.5
    target = np.asarray(around.convert("RGB").resize((side, side), Image.Resampling.LANCZOS))
    source = np.asarray(made.convert("RGB").resize((side, side), Image.Resampling.BICUBIC))
    target = np.where(wide[..., None], source, target)
    target, source = (np.pad(part, ((pad, pad), (pad, pad), (0, 0)), "edge") for part in (target, source))
    mask = cv2.dilate(np.pad(wide.astype(np.uint8) * 255, pad), np.ones((3, 3), np.uint8), iterations=EROSIONS + 1)
    x, y, width, height = cv2.boundingRect(mask)
    joined = cv2.seamlessClone(source, target, mask, (x + width // 2, y + height // 2), cv2.NORMAL_CLONE)
    result = Image.fromarray(joined[pad:-pad, pad:-pad])
    if made.mode == "RGBA":
        result.putalpha(made.getchannel("A").resize((side, side), Image.Resampling.BICUBIC))
    return result.convert(made.mode)


# Who paints: a context encoder, or a search.


def painter(run: Run, steps: int = 500, starts: int = 8, seed: int = 0) -> Paint:
    """Who paints for a run. Raises as `inpaint` does where it cannot be used."""
    if _is_encoder(run):
        return encoder(run.gan)
    return partial(search, run.gan, steps=steps, starts=starts, seed=seed)


def encoder(gan: Any) -> Paint:
    """The painter that a context encoder is.

    One that has learnt middle squares is shown middle squares, as far as the hole lies within, else the hole's box.
    """

    def paint(shown: Tensor, mask: Tensor) -> Tensor:
        if gan.config.holes == "centre":
            middle = gan.given(Batch({"image": shown}, torch.arange(1)))["mask"]
            rows, columns = mask[0, 0].amax(1).nonzero(), mask[0, 0].amax(0).nonzero()
            box = torch.zeros_like(mask)
            if len(rows):
                box[:, :, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = 1
            mask = middle if (box <= middle).all() else box
        with torch.inference_mode():
            made: Tensor = gan.G(gan.masked(shown, mask))  # not `sample`: its border is for blending
        return made

    return paint


def importance(mask: Tensor) -> Tensor:
    """How much each pixel counts: the hidden share of its neighbourhood; those in the hole nothing (their W)."""
    near = F.avg_pool2d(mask, NEIGHBOURS, 1, NEIGHBOURS // 2, count_include_pad=False)
    return (1 - mask) * near


def search(gan: GAN, image: Tensor, mask: Tensor, *, steps: int = 500, starts: int = 8, seed: int = 0) -> Tensor:
    """The generator's image that is nearest to a picture outside of its hole.

    z is kept where normal numbers are: at most at the length that so many of them have. The search from each start is
    one row of a batch, and each goes its own way.

    Args:
        gan: with what `sample` takes of noise, or of noise and labels.
        image, mask: (1, C, R, R) in [-1, 1]; (1, 1, R, R), 1 in the hole.
        steps, starts, seed: see `inpaint`.
    """
    rows = torch.arange(starts)
    given: Terms = {"label": rows % gan.shape.classes} if gan.conditional else {}
    z = noise.normal(noise.key_of(seed, "inpaint"), rows, *gan.latent).requires_grad_()
    length = math.sqrt(z[0].numel())
    weight = importance(mask)
    optimizer = torch.optim.Adam([z], RATE)

    def losses() -> Tensor:
        made = gan.sample(z, given)
        context = (weight * (made - image).abs()).sum((1, 2, 3))  # the weighted context loss
        batch = Batch({"image": made, **given}, rows)
        batch.begin(seed, "inpaint")
        opinion = gan.judge(batch, made)
        prior = 0.0 if opinion is None else -F.softplus(opinion)  # the prior loss, log(1 - D(G(z)))
        return context + PRIOR * prior

    for step in range(steps):
        optimizer.param_groups[0]["lr"] = RATE * cosine(step, steps / 1000, RATE_END)
        optimizer.zero_grad()
        losses().sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        with torch.no_grad():
            z.mul_((length / z.flatten(1).norm(dim=1)).clamp(max=1).view(-1, *[1] * (z.ndim - 1)))
    with torch.no_grad():
        best = int(losses().argmin())
        return gan.sample(z, given)[best : best + 1]


# How well: what `evaluate` says of a context encoder.


def figures(run: Run, seed: int, count: int) -> list[TaskFigure]:
    """L1 and PSNR inside of holes of held-out images, beside what needs no network: see `rivals`."""
    reals = run.reals(seed)
    assert reals is not None
    sums: dict[str, list[np.ndarray]] = {}
    for start in range(0, count, CHUNK):
        rows = torch.arange(start, min(start + CHUNK, count))
        batch, given = reals.batch(rows), reals(rows)
        with torch.inference_mode():
            made = run.gan.sample(torch.zeros(len(rows), *run.gan.latent), given)
        images, painted = (as_bytes(part).permute(0, 2, 3, 1).numpy() for part in (batch["image"], made))
        holes = given["mask"][:, 0].numpy() > 0
        train = reals.data.images[reals.data.train[:MEANT]]
        for name, filled in {"ours": painted, **rivals(images, holes, train)}.items():
            sums.setdefault(name, []).append(measured(filled, images, holes))
    means = {name: np.concatenate(parts, 1).mean(1) for name, parts in sums.items()}
    kinds: list[tuple[str, Literal["lower", "higher"]]] = [("L1 in the hole", "lower"), ("PSNR in the hole", "higher")]
    return [
        TaskFigure(kind, better, {name: float(both[number]) for name, both in means.items()})
        for number, (kind, better) in enumerate(kinds)
    ]


MEANT = 5000  # training images whose mean is a rival, at most


def measured(images: np.ndarray, targets: np.ndarray, holes: np.ndarray) -> np.ndarray:
    """L1 and PSNR (2, N) of uint8 images (N, H, W, C) where `holes`, bool (N, H, W), are."""
    return np.stack([l1(images, targets, holes), psnr(images, targets, where=holes).clip(max=EXACT)])


def rivals(images: np.ndarray, holes: np.ndarray, train: np.ndarray) -> dict[str, np.ndarray]:
    """Holes filled without a network: by Telea's and by Navier-Stokes' way (OpenCV), by the mean colour of the training
    images, uint8 (N, C, H, W), and by their mean image."""
    import cv2

    def classic(way: int) -> np.ndarray:
        made = np.empty_like(images)
        for number, (image, hole) in enumerate(zip(images, holes, strict=True)):
            for band in range(image.shape[2]):
                plane = np.ascontiguousarray(image[..., band])
                made[number, ..., band] = cv2.inpaint(plane, hole.astype(np.uint8), 3, way)
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
