"""A run's `sample` as one network with named inputs, as PyTorch's exported program, and inputs to check it with."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganfold.data.captions import LENGTH
from ganfold.errors import GanfoldError
from ganfold.gans import noise
from ganfold.gans.contract import GAN, Batch
from ganfold.runs.run import Run

LATENTS = "latents"
MOST = 1 / 255  # the largest difference of a pixel in [-1, 1] that an export may have: half a level of 8 bits
LEAST_SIDE = 16  # pixels of the images that a program of dynamic size is traced with, at least

Inputs = dict[str, Tensor]
Apply = Callable[[Inputs], Tensor]  # inputs by name -> images (B, C, H, W) in [-1, 1]


@dataclass(frozen=True)
class Grid:
    """Height and width of the images, in units that the GAN needs whole."""

    unit: int  # pixels of an image that the GAN makes; its height and width are multiples of this
    is_free: bool  # whether the user chooses the size

    @classmethod
    def of(cls, gan: GAN) -> Grid:
        match gan.task:
            case "super-resolution":
                return cls(gan.scale, True)
            case "translation":
                return cls(gan.multiple, True)
        return cls(gan.shape.resolution, False)

    def traced(self) -> tuple[int, int]:
        """A size to trace with: more than one unit each way, and two different ones."""
        least = max(2, math.ceil(LEAST_SIDE / self.unit))
        return (least, least + 1) if self.is_free else (1, 1)

    def checked(self, resolution: int) -> list[tuple[int, int]]:
        """Two sizes to check with: that of training, and another one."""
        if not self.is_free:
            return [(1, 1), (1, 1)]
        native, (high, wide) = max(1, resolution // self.unit), self.traced()
        return [(native, native), (wide, high)]


class Sampler(nn.Module):
    """A GAN's `sample` on named inputs: `latents` where the generator uses them, then the fields of its condition."""

    def __init__(self, gan: GAN) -> None:
        super().__init__()
        self.gan, self.grid = gan, Grid.of(gan)
        self.has_latents = math.prod(gan.latent) > gan.conditioned_on_images  # as in `Run.sample`
        self.fields = tuple(gan.condition(_batch(gan, 1, self.grid, (1, 1), 0)))
        self.names = (*((LATENTS,) if self.has_latents else ()), *self.fields)

    def forward(self, *inputs: Tensor) -> Tensor:
        given = dict(zip(self.names, inputs, strict=True))
        z = given.pop(LATENTS, None)
        if z is None:
            z = inputs[0].new_zeros(inputs[0].shape[0], *self.gan.latent)
        return self.gan.sample(z, given)

    def inputs(self, count: int, size: tuple[int, int], seed: int = 0) -> Inputs:
        """Inputs for so many images of this size in units: random numbers of the kind that each is."""
        rows = torch.arange(count)
        made = dict(self.gan.condition(_batch(self.gan, count, self.grid, size, seed)))
        z = noise.normal(noise.key_of(seed, "sample"), rows, *self.gan.latent)
        return {name: z if name == LATENTS else made[name] for name in self.names}


def _batch(gan: GAN, count: int, grid: Grid, size: tuple[int, int], seed: int) -> Batch:
    """A batch with all fields that a GAN may ask for, with the kind of values that each has in training."""
    rows, shape = torch.arange(count), gan.shape
    high, wide = (side * grid.unit for side in size)

    def uniform(name: str, *of: int) -> Tensor:
        return noise.uniform(noise.key_of(seed, "check", name), rows, *of)

    def image(name: str, channels: int) -> Tensor:
        coarse = 2 * uniform(name, channels, -(-high // 4), -(-wide // 4)) - 1
        return F.interpolate(coarse, (high, wide), mode="bilinear", align_corners=False)

    fields = {"image": image("image", shape.channels)}
    if shape.classes:
        fields["label"] = (uniform("label") * shape.classes).long()
    if shape.inputs:
        fields["input"] = image("input", shape.inputs)
    if shape.words:
        length = 1 + (uniform("length", 1) * (LENGTH - 1)).long()
        fields["text"] = (1 + uniform("text", LENGTH) * (shape.words - 1)).long() * (torch.arange(LENGTH) < length)
        corner = 0.5 * uniform("corner", 2)
        fields["box"] = torch.cat([corner, 0.2 + 0.3 * uniform("box", 2)], 1)
    if shape.keypoints:
        seen = (uniform("seen", shape.keypoints, 1) < 0.8).float()
        fields["keypoints"] = torch.cat([uniform("keypoints", shape.keypoints, 2), seen], 2)
    batch = Batch(fields, rows)
    batch.begin(seed, "check")
    return batch


def program(sampler: Sampler, whose: str) -> torch.export.ExportedProgram:
    """The sampler as PyTorch's program, with any number of images, and any size where the GAN allows it.

    Args:
        whose: names the run, for the error.

    Raises:
        GanfoldError: the GAN does something that fixes the number of images, or that no program can hold.
    """
    size = sampler.grid.traced()
    inputs = sampler.inputs(3, size)
    batch = torch.export.Dim("batch")
    sides = [torch.export.Dim(name) for name in ("height", "width")]

    def dynamic(value: Tensor) -> dict[int, Any]:
        if value.ndim != 4 or not sampler.grid.is_free:
            return {0: batch}
        units = [value.shape[2 + axis] // size[axis] for axis in (0, 1)]
        return {0: batch} | {2 + axis: unit * sides[axis] for axis, unit in enumerate(units)}

    shapes = (tuple(map(dynamic, inputs.values())),)
    try:
        with quiet(), torch.no_grad():
            return torch.export.export(sampler, tuple(inputs.values()), dynamic_shapes=shapes, strict=False)
    except Exception as error:  # whatever a GAN from outside may do
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise GanfoldError(
            f"{whose} cannot be exported, since PyTorch cannot make one program of its `sample` ({first.strip():.200})"
        ) from error


def largest_difference(run: Run, sampler: Sampler, apply: Apply, what: str) -> float:
    """The largest difference of a pixel in [-1, 1] between `sample` of the run and an export.

    Two numbers of images are tried, and two sizes where the size is free. The program was traced with others.

    Args:
        apply: the export.
        what: names it, for the error.

    Raises:
        GanfoldError: the difference is more than half a level of 8 bits, or the export makes images of another shape.
    """
    worst = 0.0
    for count, size in zip((1, 5), sampler.grid.checked(run.gan.shape.resolution), strict=True):
        inputs = sampler.inputs(count, size, seed=count)
        with run.forms.used(), torch.inference_mode():
            expected = sampler(*inputs.values())
        made = apply(inputs)
        if made.shape != expected.shape:
            raise GanfoldError(f"{what} makes images of the shape {tuple(made.shape)}, not {tuple(expected.shape)}")
        worst = max(worst, float((made - expected).abs().max()))
    if not worst <= MOST:
        raise GanfoldError(
            f"{what} differs from `ganfold sample` by {worst:.3g} in a pixel of [-1, 1], and {MOST:.3g} is the most: "
            "nothing was written"
        )
    return worst


@contextmanager
def quiet() -> Iterator[None]:
    """Keep PyTorch's exporters from telling of their own versions."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def facts(run: Run, licence: str) -> Mapping[str, Any]:
    """What an exported file says of itself."""
    data, gan, sampler = run.record.data, run.gan, Sampler(run.gan)
    inputs = sampler.inputs(2, sampler.grid.traced())
    return {
        "gan": run.record.gan,
        "task": gan.task,
        "ganfold": run.record.ganfold,
        "license": licence,
        "classes": list(run.classes),
        "words": list(data.words) if gan.task == "captions" else [],
        "resolution": data.resolution,
        "channels": data.channels,
        "scale": gan.scale,
        "multiple": gan.multiple if gan.task == "translation" else 1,
        "least": max(gan.multiple, LEAST_SIDE // 2),
        "inputs": [{"name": name, "shape": list(value.shape[1:])} for name, value in inputs.items()],
        "fill": _fill(inputs),
        "key": str(noise.key_of(0, "sample")),
        "input_kind": gan.input_kind,
        "latent": list(gan.latent),
        "codes": _codes(run),
        "protocol": {
            "data": public_name(data.source),
            "images": data.images,
            "held_out": data.held_out,
            "fingerprint": data.fingerprint,
            "checkpoint": run.checkpoint,
            "seed": run.record.settings.seed,
        },
    }


def _fill(inputs: Inputs) -> list[float]:
    """The colour that stands in an input where its mask is 1; nothing without a mask."""
    if "mask" not in inputs or "input" not in inputs:
        return []
    (rows, _, down, across) = (places[0] for places in inputs["mask"].nonzero(as_tuple=True))
    return inputs["input"][rows, :, down, across].tolist()


def _codes(run: Run) -> dict[str, int]:
    """Where the latents hold codes that the generator has discovered: their place and number; {} if nowhere."""
    if not hasattr(run.gan, "codes"):
        return {}
    categories, continuous = (int(run.record.option(name, 0)) for name in ("categories", "continuous"))
    return {"first": run.gan.latent[0] - categories - continuous, "categories": categories, "continuous": continuous}


def public_name(source: str) -> str:
    """The name of a set without the folders of its owner's machine."""
    return source.rstrip("/\\").replace("\\", "/").rpartition("/")[2] or source
