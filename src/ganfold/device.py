"""Which device to train on, and whether it really has bf16."""

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
    """The device of this name, made ready; `auto` is CUDA, else Apple's MPS, else the CPU.

    Raises:
        GanfoldError: this machine, or this build of PyTorch, has none of that kind.
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, here in present.items() if here)
    if not present[name]:
        raise GanfoldError(f"--device {name}: PyTorch {torch.__version__} finds none here; leave it out, or give cpu")
    if name == "cpu":
        keep_freed_memory()
    return torch.device(name, local_rank) if name == "cuda" else torch.device(name)


def keep_freed_memory() -> None:
    """Let glibc keep the memory that a step frees for the next one, instead of asking the system for it afresh.

    Page faults slow a CPU step of a small network. Elsewhere than on glibc it does nothing.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD


def check_bf16(device: torch.device) -> None:
    """Raise GanfoldError where bf16 would be emulated: slower than fp32, and less exact."""
    if device.type == "cuda":
        real = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        real = device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    if not real:
        raise GanfoldError(f"--precision bf16: this {device.type} has no bf16 arithmetic; use fp32")


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether that is what happened; PyTorch has an error of its own for it on CUDA only."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    words = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory", "alloc_failed")
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)


def release_memory(device: torch.device) -> None:
    """Give back what nothing holds any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    with contextlib.suppress(AttributeError, OSError, TypeError):  # glibc; see `keep_freed_memory`
        ctypes.CDLL(None).malloc_trim(0)


OUT_OF_MEMORY = "out of memory: give a smaller --batch, --width or --resolution"


def memory(device: torch.device) -> int:
    """Bytes of memory that the device has; 0 where nobody says."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def describe(device: torch.device) -> dict[str, object]:
    """What a figure's reader must know of the machine."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cpu": _cpu_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
