"""A trial: a few real steps of a training, to learn what it takes."""

from __future__ import annotations

import contextlib
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from ganfold import device as devices
from ganfold.data import ImageSet
from ganfold.errors import GanfoldError
from ganfold.gans.contract import GAN
from ganfold.runs.record import RunRecord
from ganfold.training.ranks import Ranks
from ganfold.training.trainer import Trainer, make_trainer, weights

WARM, FEWEST, OFTEN, SECONDS = 2, 3, 20, 4.0  # steps not counted; fewest and most that are, within these seconds


@dataclass(frozen=True)
class Trial:
    """What real steps took."""

    images_per_second: float
    memory: int  # bytes
    parts: int  # a batch is taken in this many, so that memory holds it
    weights: str  # of each network: "G 0.7 M, D 0.4 M"
    multiply_adds: int  # for each image


def try_steps(record: RunRecord, gan_class: type[GAN], images: ImageSet, device: torch.device) -> Trial:
    """Make some steps of the training that the record describes.

    Raises:
        GanfoldError: memory does not hold the smallest part of a batch.
    """
    before = _peak(device, anew=True)
    try:
        trainer = make_trainer(record, gan_class, images, device, Ranks(device.type))
        while not (times := _times(trainer)):
            devices.release_memory(device)
    except (RuntimeError, MemoryError) as error:
        if not devices.ran_out_of_memory(error):
            raise
        raise GanfoldError(devices.OUT_OF_MEMORY) from error
    tensors, _ = trainer.state()
    owned = sum(value.nbytes for value in tensors.values()) + sum(w.nbytes for w in trainer.gan.parameters())
    used = max(_peak(device) - before, owned)
    with FlopCounterMode(display=False) as counter:
        trainer.step()
    size = trainer.batches.size
    trial = Trial(
        images_per_second=size / statistics.median(times),
        memory=used,
        parts=trainer.parts,
        weights=weights(trainer.gan),
        multiply_adds=counter.get_total_flops() // (2 * size),
    )
    del trainer, tensors
    devices.release_memory(device)
    return trial


def _times(trainer: Trainer) -> list[float]:
    """Seconds of some steps; [] where memory ran out, and the next ones will be in smaller parts."""
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) < WARM + FEWEST or (len(times) < OFTEN and time.perf_counter() - begun < SECONDS):
        start = time.perf_counter()
        try:
            trainer.step()
        except (RuntimeError, MemoryError) as error:
            if not devices.ran_out_of_memory(error) or not trainer.split_further():
                raise
            return []
        devices.wait(trainer.device)
        times.append(time.perf_counter() - start)
    return times[WARM:]


def _peak(device: torch.device, anew: bool = False) -> int:
    """The most bytes in use since it was called with `anew`; on a CPU those of this process.

    0 where the system does not say.
    """
    if device.type == "cuda":
        if anew:
            torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.max_memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    with contextlib.suppress(OSError, StopIteration):  # Linux
        if anew:
            Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    return 0
