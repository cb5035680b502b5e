"""The convolutions of DCGAN and its relatives, as matrix products where that is faster.

All are PyTorch's modules with PyTorch's weights, and give what PyTorch's `forward` gives, up to rounding. They use that
`forward` wherever it is faster, and the tests compare with it. The gain is on some CPUs, where oneDNN is slow on small
maps with many channels; on others it is a loss. `measured_forms` finds out: `benchmarks/dcgan_step.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ganfold.errors import GanfoldError

WIDE = 256 * 512  # where nothing is measured: the product is used from this many input times output channels on ...
SMALL = 4  # ... if the smaller map has at most this many pixels a side
LEAST = 64 * 128  # input times output channels that are measured: below, a layer takes hardly any time
LARGEST = 8  # pixels a side of the smaller map that are measured: above, the product needs much memory and never won
MOST = 32  # images to measure with: more hardly change which form is faster
REPEATS = 3  # the fastest of them counts
GAIN = 0.97  # the product is used if it needs less than this share of the time


@dataclass(frozen=True)
class Forms:
    """Which form of a layer is the faster one on this machine, for each shape."""

    table: dict[str, bool] = field(default_factory=dict)  # shape: whether the matrix product is faster
    note: Callable[[str, bool], None] | None = None  # told what was measured; None: measure nothing

    @contextmanager
    def used(self) -> Iterator[None]:
        """Let all layers use these forms. A shape that is not in the table is measured at its first input."""
        token = _FORMS.set(self)
        try:
            yield
        finally:
            _FORMS.reset(token)

    def pays(self, function: Any, plain: Any, x: Tensor, weight: Tensor, small: int) -> bool:
        """Whether the matrix product is faster."""
        key = f"{function.__name__[1:]} {weight.shape[0]}x{weight.shape[1]} {small} px, {_rounded(len(x))} images"
        large = weight.shape[0] * weight.shape[1] >= LEAST and small <= LARGEST
        if key not in self.table and self.note and large:
            self.table[key] = _is_faster(function, plain, x, weight)
            self.note(key, self.table[key])
        return self.table.get(key, _usually_pays(weight, small))


_FORMS: ContextVar[Forms | None] = ContextVar("forms", default=None)


def halvings(resolution: int) -> int:
    """The number of maps from half the resolution down to 4 pixels.

    Raises:
        GanfoldError: the resolution is no power of two from 16 to 256.
    """
    if resolution not in (16, 32, 64, 128, 256):
        raise GanfoldError(
            f"this GAN makes images of 16, 32, 64, 128 or 256 pixels a side, not {resolution}: give --resolution"
        )
    return resolution.bit_length() - 3


def pyramid(width: int, resolution: int) -> list[int]:
    """Channels of the maps of half the resolution, a quarter, ... 4 pixels: they double with each halving."""
    return [width << halving for halving in range(halvings(resolution))]


class FromLatent(nn.ConvTranspose2d):
    """z (B, z_dim) -> a first map (B, channels, 4, 4): a transposed convolution 4-1-0 of a map of one pixel.

    It "could be called fully connected as it is just a matrix multiplication" (Radford 2015, sec. 3).
    """

    def __init__(self, z_dim: int, channels: int) -> None:
        super().__init__(z_dim, channels, 4, 1, 0, bias=False)

    def forward(self, z: Tensor, output_size: list[int] | None = None) -> Tensor:
        first: Tensor = (z @ _rows(self.weight)).unflatten(1, (4, 4, -1))  # type: ignore[no-untyped-call]
        return first.permute(0, 3, 1, 2)


class ToLogit(nn.Conv2d):
    """The last map (B, channels, 4, 4) -> a logit each (B,): a convolution 4-1-0, which is one product too."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 1, 4, 1, 0, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).flatten(1) @ _rows(self.weight)[0]


class Halve(nn.Conv2d):
    """Convolution 4-2-1 without bias: (B, before, H, W) -> (B, after, H/2, W/2).

    The matrix product can be differentiated once only. `twice` avoids it, for a gradient penalty.
    """

    def __init__(self, before: int, after: int, twice: bool = False) -> None:
        super().__init__(before, after, 4, 2, 1, bias=False)
        self.twice = twice

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight  # read once: a parametrization such as spectral norm computes it at each reading
        if not self.twice and _pays(_Halve, _halve, x, weight, x.shape[-1] // 2):
            return _Halve.apply(x, weight)  # type: ignore[no-untyped-call]
        return _halve(x, weight)


class Double(nn.ConvTranspose2d):
    """Transposed convolution 4-2-1 without bias: (B, before, H, W) -> (B, after, 2H, 2W); see `Halve`."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, 4, 2, 1, bias=False)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        if _pays(_Double, _double, x, self.weight, x.shape[-1]):
            return _Double.apply(x, self.weight)  # type: ignore[no-untyped-call]
        return _double(x, self.weight)


def _halve(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x, weight, None, 2, 1)


def _double(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv_transpose2d(x, weight, None, 2, 1)


def _pays(function: Any, plain: Any, x: Tensor, weight: Tensor, small: int) -> bool:
    """Whether the matrix product is possible and faster for this input and weight, on this device."""
    possible = (
        x.device.type == "cpu"
        and x.dtype == weight.dtype
        and x.shape[-1] == x.shape[-2]
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )
    if not possible:
        return False
    forms = _FORMS.get()
    return forms.pays(function, plain, x, weight, small) if forms else _usually_pays(weight, small)


def _usually_pays(weight: Tensor, small: int) -> bool:
    return weight.shape[0] * weight.shape[1] >= WIDE and small <= SMALL


def _rounded(images: int) -> int:
    """A power of two that stands for this many images."""
    return min(MOST, 1 << max(0, images - 1).bit_length())


@torch.inference_mode(False)
@torch.enable_grad()
def _is_faster(function: Any, plain: Any, x: Tensor, weight: Tensor) -> bool:
    """Measure both forms of a layer, forward and backward, in turns."""

    def like(tensor: Tensor, shape: Sequence[int]) -> Tensor:
        last = tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()
        layout = torch.channels_last if last else torch.contiguous_format
        return torch.ones(shape, dtype=tensor.dtype).contiguous(memory_format=layout).requires_grad_()

    inputs = like(x, (min(MOST, len(x)), *x.shape[1:])), like(weight, weight.shape)
    seconds: dict[Any, list[float]] = {function.apply: [], plain: []}
    for _ in range(1 + REPEATS):
        for form, taken in seconds.items():
            begin = time.perf_counter()
            made = form(*inputs)
            torch.autograd.grad(made, inputs, torch.ones_like(made))
            taken.append(time.perf_counter() - begin)
    product, usual = (min(taken[1:]) for taken in seconds.values())  # the first one warms up
    return product < GAIN * usual


def _rows(weight: Tensor) -> Tensor:
    """A weight (A, B, 4, 4) as a matrix (A, 16 B). This makes no copy if channels lie last in memory."""
    return weight.permute(0, 2, 3, 1).flatten(1)


def _windows(x: Tensor) -> Tensor:
    """The 4 x 4 windows that a convolution 4-2-1 of x (B, C, H, H) sees: (B * H/2 * H/2, 16 C)."""
    batch, channels, height, _ = x.shape
    wide, out = height + 2, height // 2
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).contiguous()
    strides = (wide * wide * channels, 2 * wide * channels, 2 * channels, wide * channels, channels, 1)
    return padded.as_strided((batch, out, out, 4, 4, channels), strides).reshape(batch * out * out, 16 * channels)


def _scattered(windows: Tensor, batch: int, height: int) -> Tensor:
    """The transpose of `_windows`: windows (B * H * H, 16 C) added up into (B, C, 2H, 2H)."""
    parts = windows.view(batch, height, height, 2, 2, 2, 2, -1)  # window: row half, row parity, column half, parity
    sums = windows.new_zeros(batch, height + 1, 2, height + 1, 2, parts.shape[-1])
    for down in (0, 1):
        for right in (0, 1):
            part = parts[:, :, :, down, :, right].permute(0, 1, 3, 2, 4, 5)
            sums[:, down : down + height, :, right : right + height] += part
    return sums.view(batch, 2 * height + 2, 2 * height + 2, -1)[:, 1:-1, 1:-1].permute(0, 3, 1, 2)


def _pixels(x: Tensor) -> Tensor:
    """(B, C, H, W) as a matrix (B * H * W, C)."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


class _Halve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        windows, matrix = _windows(x), _rows(weight)
        ctx.save_for_backward(windows, matrix)
        ctx.shape, half = x.shape, x.shape[-1] // 2
        shape = (len(x), len(matrix), half, half)
        made = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        torch.mm(windows, matrix.t(), out=made.permute(0, 2, 3, 1).view(-1, len(matrix)))
        return made  # no view: a nonlinearity may then change it in place

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        windows, matrix = ctx.saved_tensors
        batch, channels, height, _ = ctx.shape
        for_x = for_weight = None
        gradient = _pixels(gradient)
        if ctx.needs_input_grad[0]:
            for_x = _scattered(gradient @ matrix, batch, height // 2)
        if ctx.needs_input_grad[1]:
            for_weight = (gradient.t() @ windows).view(-1, 4, 4, channels).permute(0, 3, 1, 2)
        return for_x, for_weight


class _Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        pixels, matrix = _pixels(x), _rows(weight)
        ctx.save_for_backward(pixels, matrix)
        ctx.shape = x.shape
        return _scattered(pixels @ matrix, len(x), x.shape[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        pixels, matrix = ctx.saved_tensors
        batch, channels, height, width = ctx.shape
        for_x = for_weight = None
        windows = _windows(gradient)
        if ctx.needs_input_grad[0]:
            for_x = (windows @ matrix.t()).view(batch, height, width, channels).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[1]:
            for_weight = (pixels.t() @ windows).view(channels, 4, 4, -1).permute(0, 3, 1, 2)
        return for_x, for_weight
