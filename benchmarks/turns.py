"""Contestants that take turns, and the best rate that any kernel reaches here. `dcgan_step.py` and `peers.py` use it.

Each contestant has a process of its own, and gains nothing from another's settings. It answers each line with the
seconds of the clock and of the processor that its steps took. A ratio compares neighbours in time.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

Step = Callable[[], None]
Kernel = tuple[str, float, Step]  # what it is, its floating point operations, one call of it
SIZES = (512, 1024, 2048)  # of the matrix products
KERNEL_SECONDS = 0.1  # how long a kernel is measured


class Turn(NamedTuple):
    """What a contestant took for its steps, in seconds."""

    wall: float
    processor: float


class Contestant:
    """A process that makes steps when it is told to."""

    def __init__(self, words: Sequence[str], threads: int) -> None:
        line = [sys.executable, *words, "--threads", str(threads)]
        self._process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.told: list[str] = []  # what it printed before it was ready
        while (said := self._line()) != "ready":
            self.told.append(said)

    def turn(self) -> Turn:
        assert self._process.stdin
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return Turn(*map(float, self._line().split()))

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()

    def _line(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a contestant ended before its time; its error is above")
        return line.strip()


def answer(step: Step, steps: int) -> None:
    """In the process of a contestant: make this many steps for each line that is read."""
    print("ready", flush=True)
    for _ in sys.stdin:
        wall, processor = time.perf_counter(), time.process_time()
        for _ in range(steps):
            step()
        print(time.perf_counter() - wall, time.process_time() - processor, flush=True)


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """PyTorch's counter without its tracking of modules, which refuses second derivatives."""

    total = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func._overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def counted(step: Step) -> float:
    """The floating point operations of a step: of its products and convolutions, forward and backward."""
    with _Counter() as counter:  # type: ignore[no-untyped-call]
        step()
    return counter.total


def convolutions(network: nn.Module, run: Step) -> list[Kernel]:
    """Each convolution of a network alone, forward, in the shapes that `run` gives it, in both layouts."""
    shapes: dict[str, tuple[nn.Conv2d | nn.ConvTranspose2d, Tensor]] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        if inputs[0].ndim == 4 and inputs[0].shape[1] == module.in_channels:  # not where it is computed otherwise
            shapes.setdefault(f"{module} of {tuple(inputs[0].shape)}", (module, inputs[0].detach()))

    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    hooks = [m.register_forward_hook(note) for m in network.modules() if isinstance(m, kinds)]
    run()
    for hook in hooks:
        hook.remove()
    layouts = (torch.contiguous_format, torch.channels_last)
    return [_convolution(name, *shape, layout) for name, shape in shapes.items() for layout in layouts]


def _convolution(name: str, module: nn.Conv2d | nn.ConvTranspose2d, x: Tensor, layout: torch.memory_format) -> Kernel:
    function: Callable[..., Tensor] = F.conv_transpose2d if isinstance(module, nn.ConvTranspose2d) else F.conv2d
    x, weight = x.contiguous(memory_format=layout), module.weight.detach().contiguous(memory_format=layout)

    def call() -> None:
        function(x, weight, None, module.stride, module.padding)

    return name, counted(call), call


def products() -> list[Kernel]:
    """Float32 matrix products of several sizes."""
    return [(f"product {size}", 2.0 * size**3, _product(size)) for size in SIZES]


def _product(size: int) -> Step:
    a, b, c = torch.randn(size, size), torch.randn(size, size), torch.empty(size, size)

    def call() -> None:
        torch.mm(a, b, out=c)

    return call


@torch.no_grad()
def fastest(kernels: Iterable[Kernel]) -> Kernel:
    """The kernel with the highest rate, repeated until `KERNEL_SECONDS` are over."""
    best: tuple[float, Kernel] | None = None
    for name, flops, call in kernels:
        call()
        calls = max(1, round(KERNEL_SECONDS / min(_seconds(call) for _ in range(3))))
        repeated = _repeated(call, calls)
        rate = flops * calls / _seconds(repeated)
        if best is None or rate > best[0]:
            best = rate, (name, flops * calls, repeated)
    assert best
    return best[1]


def _repeated(call: Step, calls: int) -> Step:
    @torch.no_grad()
    def repeat() -> None:
        for _ in range(calls):
            call()

    return repeat


def _seconds(call: Step) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun
