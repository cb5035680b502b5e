"""The device to compute on: choosing it, its memory, its bf16 arithmetic, its name."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import platform
from pathlib import Path

import torch

from ganfold.errors import GanfoldError


def choose(name: str, local_rank: int = 0) -> torch.device:
    """The device of this name, prepared for use.

    Args:
        name: "cuda", "mps" (Apple), "cpu", or "auto" for the first of these three that is there.
        local_rank: which GPU, where there are several.

    Raises:
        GanfoldError: this machine, or this build of PyTorch, has no such device.
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(name for name, is_present in present.items() if is_present)
    if not present[name]:
        raise GanfoldError(f"--device {name}: PyTorch {torch.__version__} finds none here; leave it out, or give cpu")
    if name == "cpu":
        keep_freed_memory()
    return torch.device(name, local_rank) if name == "cuda" else torch.device(name)


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next step, instead of returning it to the system.

    Otherwise page faults slow the steps of a small network on a CPU. Without glibc this does nothing.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD


def check_bf16(device: torch.device) -> None:
    """Raise GanfoldError if the device only emulates bf16, which is slower than fp32 and less exact."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    if not native:
        raise GanfoldError(f"--precision bf16: this {device.type} has no bf16 arithmetic; use fp32")


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether the error means that memory ran out. Only on CUDA does PyTorch have a type of error for that."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    words = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory", "alloc_failed")
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)


def release_memory(device: torch.device) -> None:
    """Return memory that is no longer in use to the system."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    with contextlib.suppress(AttributeError, OSError, TypeError):  # as in `keep_freed_memory`
        ctypes.CDLL(None).malloc_trim(0)


OUT_OF_MEMORY = "out of memory: give a smaller --batch, --width or --resolution"


def memory(device: torch.device) -> int:
    """The memory of the device in bytes; 0 if it is unknown."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def wait(device: torch.device) -> None:
    """Wait until the device has finished all work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def describe(device: torch.device) -> dict[str, object]:
    """The machine, as a protocol records it beside a measurement."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cpu": _cpu_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
