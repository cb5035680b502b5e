"""`ganfold.plan`: which GAN, how large and for how long, from the images, the device and a few measured steps."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from ganfold import data as ganfold_data
from ganfold import device
from ganfold.data import ImageSet
from ganfold.errors import GanfoldError
from ganfold.gans import find
from ganfold.gans.contract import GAN, power_of_two
from ganfold.runs.run import about
from ganfold.training.options import command, split
from ganfold.training.ranks import Ranks
from ganfold.training.settings import Settings
from ganfold.training.trainer import Trainer, make_trainer, weights

LONG = 120  # minutes: from here on a CPU is given 64 px
LEAST, MOST = 15, 60  # minutes of a budget that nobody gave ...
USEFUL = 300  # ... and the kimg that it should hold if that takes no longer than the most
DRAWN = 0.3  # share of pixels exactly like their neighbour from which images count as drawn: photos have up to 0.25
NOISE = ((0.6, 0.35), (0.4, 0.2), (0.0, 0.1))  # from that share on so much noise on what D sees: docs/gans/rsgan.md
WARM, FEWEST, OFTEN, SECONDS = 2, 3, 20, 4.0  # steps of a trial: not counted, at least, at most, in so long a time
MIB = 2**20

Rule = tuple[Any, str]  # what is chosen, and why


# The rules. Each is asked only for what the user leaves open.


def choose_gan(where: str, minutes: float | None, resolution: int) -> tuple[str, str, dict[str, Rule]]:
    """The GAN, why, and its size options; `where` is cuda, mps or cpu, `minutes` None where no budget was given."""
    if where == "cpu":
        return "rsgan", "best in minutes on a CPU: docs/gans/rsgan.md", {"width": (32, "cheap steps: updates decide")}
    return "rsgan", "best on a CPU; not yet measured on a GPU", {"width": (64, "a GPU carries it")}


def choose_resolution(where: str, minutes: float | None, native: int) -> Rule:
    """A power of two, 16 to 64 px: the largest that the images have, with a fifth of grace, and the time allows."""
    side = power_of_two(native)
    if where == "cpu" and (minutes or 0) < LONG:
        most, why = 32, f"a CPU learns more in minutes from 32 px; 64 from --minutes {LONG} on"
    else:
        most, why = 64, "what this GAN does well; more by --resolution"
    return (most, why) if side > most else (side, f"the images have {native} px")


def choose_batch(where: str, images: int) -> Rule:
    """Images a step: a power of two, never more than there are."""
    usual, why = (16, "small batches, more updates") if where == "cpu" else (128, "fills a GPU")
    most = 1 << (max(2, images).bit_length() - 1)
    return (usual, why) if usual <= most else (most, f"there are only {images} images to train on")


def choose_augment(where: str, images: int) -> Rule:
    """The share of D's images that DiffAugment changes."""
    if images < 2_000:
        return 0.5, "under 2,000 images D would soon know them all"
    if images < 30_000 and where != "cpu":
        return 0.5, "under 30,000 images D comes to know them"
    return 0.0, f"{images:,} images are enough without, for as long as this takes"


def alike(images: np.ndarray, rows: np.ndarray) -> float:
    """The share of pixels exactly like their neighbour, in about 500 of these rows of images (N, C, H, W)."""
    some = np.asarray(images[rows[:: max(1, len(rows) // 500)]])
    return float((some[..., 1:] == some[..., :-1]).all(1).mean())


def choose_flatten(share: float, resolution: int) -> Rule:
    """Whether samples are to be evened out, from the share of pixels like their neighbour."""
    if resolution < 32:
        return False, "under 32 px lines would go too"
    is_drawn = share >= DRAWN
    return is_drawn, f"{share:.0%} of neighbouring pixels are alike: {'drawings' if is_drawn else 'photos'}"


def choose_noise(share: float) -> Rule:
    """The noise on what D sees, from the same share: where grounds are plain, the least grain tells a fake."""
    noise = next(noise for least, noise in NOISE if share >= least)
    return noise, "plain grounds: without, D tells fakes by their grain" if noise > NOISE[-1][1] else "keeps variety"


def by_grounds(images: ImageSet, rows: np.ndarray) -> dict[str, Rule]:
    """What follows from how plain the grounds of these images of a set are."""
    share = alike(images.images, rows)
    return {"flatten": choose_flatten(share, images.resolution), "input_noise": choose_noise(share)}


def choose_minutes(images_per_second: float) -> Rule:
    """The budget: long enough for something to look at on most machines."""
    minutes = min(MOST, max(LEAST, round(USEFUL * 1000 / images_per_second / 60)))
    return float(minutes), f"{USEFUL} kimg, within {LEAST} to {MOST} minutes; more by --minutes, also later"


# How they are asked.


@dataclass(frozen=True)
class Choice:
    name: str
    value: str
    why: str


@dataclass(frozen=True)
class Plan:
    """What to train, why, and what it will take."""

    gan: str
    options: dict[str, Any]  # of `ganfold.train`
    choices: list[Choice]
    images: str  # a sentence on the images
    images_per_second: float  # measured in the trial
    weights: str  # of each network: "G 0.7 M, D 0.4 M"
    multiply_adds: int  # for each image of a step, all networks forward and backward
    kimg: float  # that training will have seen at its end, about
    minutes: float  # that it will take, about: with kimg given, without the checkups on the way
    memory: int  # bytes that the steps take beside what PyTorch itself does, about; checkups take more for a while
    memory_there: int  # bytes that the device has; 0: unknown
    command: str  # which trains so

    def lines(self) -> list[str]:
        """Plain sentences and a table for the console."""
        rows = [Choice("choice", "value", "why"), *self.choices]
        first, second = (max(len(getattr(row, name)) for row in rows) for name in ("name", "value"))
        memory = f"{self.memory / MIB:,.0f}" + (f" of {self.memory_there / MIB:,.0f}" if self.memory_there else "")
        return [
            self.images,
            *(f"  {row.name:{first}}  {row.value:{second}}  {row.why}" for row in rows),
            f"Networks: {self.weights} weights; {self.multiply_adds / 1e6:,.0f} M multiply-adds to train on an image.",
            f"Measured in a trial: {self.images_per_second:,.0f} images/s, about {memory} MiB of memory.",
            f"Training will take about {_about(self.minutes)} minutes and see about {_about(self.kimg)} kimg.",
            "The same by name:",
            f"  {self.command}",
        ]


def plan(
    data: str | Path, out: str | Path | None = None, *, gan: str | None = None, progress: bool = True, **options: Any
) -> Plan:
    """Choose what `train` leaves open, and say what it will take. Writes nothing but the cache of prepared images.

    Args:
        data: a folder, zip, array file, hub id or bundled set; see `ganfold.data.load`.
        out: the run's folder, for the command [runs/DATA].
        gan: the GAN, where it is not to be chosen.
        progress: show a bar while images are prepared.
        options: any field of `Settings`, and of the GAN's `Config`: they are kept, the rest is chosen around them.

    Raises:
        GanfoldError: bad input, or memory does not hold the smallest part of a batch.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise GanfoldError("a plan is made by one process: let `ganfold plan` say which GAN, then name it to torchrun")
    given = {name: value for name, value in options.items() if value is not None}
    common = {field.name for field in fields(Settings)}
    settings = Settings(**{name: value for name, value in given.items() if name in common})
    where = device.choose(settings.device)
    if settings.precision == "bf16":
        device.check_bf16(where)
    choices: list[Choice] = []

    def choose(name: str, rule: Rule) -> Any:
        value, why = (given[name], "as you ask") if name in given else rule
        choices.append(Choice(name.replace("_", " "), _shown(value), why))
        return value

    _say_device(choices, where, asked=settings.device != "auto")
    native = ganfold_data.native(data, progress=progress)
    rule = choose_resolution(where.type, settings.minutes, native)
    if gan and (own := find(gan).resolution(native)) < rule[0]:
        rule = own, f"the most that {gan} does of its own accord"
    chosen: dict[str, Any] = {"resolution": choose("resolution", rule)}
    best, why, sizes = choose_gan(where.type, settings.minutes, chosen["resolution"])
    kind = find(gan or best)
    images = prepare(kind, *split(kind, gan or best, given | chosen), data, progress)
    choices.append(Choice("channels", str(images.channels), images.findings.choice.rpartition(": ")[2]))
    choices.append(Choice("GAN", gan or best, "as you ask" if gan else why))
    count = len(images.train)
    rules = sizes | {"batch": choose_batch(where.type, count), "augment": choose_augment(where.type, count)}
    known = {field.name for field in fields(kind.config_class)}
    if "flatten" in known:
        rules |= by_grounds(images, images.train)
    chosen |= {name: choose(name, rule) for name, rule in rules.items() if name in known}
    chosen = given | chosen
    labels = chosen.get("labels", getattr(kind.config_class, "labels", kind.conditional))
    if images.classes and not labels:
        way = f"train {gan or best} --labels" if "labels" in known else "--gan cgan"
        choices.append(
            Choice("labels", "unused", f"this GAN needs none; {way} learns the {len(images.classes)} classes")
        )
    if "flips" not in given:
        choices.append(Choice("flips", "no", "only you know whether a mirrored image is one of them: --flips"))
    config, settings = split(kind, gan or best, chosen)
    record = {"gan": gan or best, "config": asdict(config), "settings": asdict(settings), "data": about(images)}
    trial = _trial(record, settings, images, where)
    speed = trial.images_per_second
    if trial.parts > 1:
        choices.append(Choice("parts", str(trial.parts), "memory does not hold a batch at once"))
    if settings.kimg is None and settings.minutes is None:
        chosen["minutes"] = choose_minutes(speed)[0]
    minutes, kimg = chosen.get("minutes"), chosen.get("kimg")
    budget = " or ".join(f"{chosen[name]:g} {name}" for name in ("kimg", "minutes") if name in chosen)
    why = "as you ask" if {"kimg", "minutes"} & given.keys() else choose_minutes(speed)[1]
    choices.append(Choice("budget", budget, why))
    taken = min(minutes or float("inf"), (kimg or float("inf")) * 1000 / speed / 60)
    if getattr(config, "decay_kimg", 0) and "decay_kimg" not in given:  # a rate that falls at all
        chosen["decay_kimg"] = float(f"{max(1.0, taken * 60 * speed / 1000):.2g}")
        choices.append(Choice("decay", f"{chosen['decay_kimg']:g} kimg", "the learning rate falls over all of it"))
    if "pretrain_kimg" in known and "pretrain_kimg" not in given:
        chosen["pretrain_kimg"] = float(f"{max(0.1, taken * 60 * speed / 2000):.2g}")
        choices.append(Choice("pretraining", f"{chosen['pretrain_kimg']:g} kimg", "half of the budget, without D"))
    out = Path(out or default_out(None, data))
    return Plan(
        gan=gan or best,
        options=chosen,
        choices=choices,
        images=_sentence(images, native),
        images_per_second=speed,
        weights=trial.weights,
        multiply_adds=trial.multiply_adds,
        kimg=taken * 60 * speed / 1000,
        minutes=taken,
        memory=trial.memory,
        memory_there=device.memory(where),
        command=command(gan or best, data, out, chosen),
    )


def prepare(kind: type[GAN], config: Any, settings: Settings, data: str | Path, progress: bool) -> ImageSet:
    """The images that a GAN of this kind and configuration wants."""
    return ganfold_data.load_as(
        kind.wants(config),
        data,
        getattr(config, "target", None),
        resolution=settings.resolution or kind.resolution,
        channels=settings.channels,
        fit=settings.fit,
        held_out=settings.held_out,
        progress=progress,
    )


def default_out(gan: str | None, data: str | Path) -> Path:
    """Where a run of these images is kept when nobody says."""
    return Path("runs", f"{gan}-{Path(data).stem}" if gan else Path(data).stem)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _about(value: float) -> str:
    return f"{float(f'{value:.2g}'):,g}"


def _say_device(choices: list[Choice], where: torch.device, asked: bool) -> None:
    threads = torch.get_num_threads()
    power = f"{threads} thread{'s' * (threads > 1)}" if where.type == "cpu" else str(device.describe(where)["device"])
    why = "as you ask" if asked else "PyTorch finds no GPU here" if where.type == "cpu" else "the fastest here"
    choices.append(Choice("device", where.type, f"{why}; {power}"))


def _sentence(images: ImageSet, native: int) -> str:
    held = f" and {len(images.held_out):,} held out" if len(images.held_out) else ""
    classes = f", {len(images.classes)} classes" if images.classes else ""
    return f"{images.source}: {len(images.train):,} images to train on{held}, {native:,} px{classes}."


class Trial(NamedTuple):
    """What real steps took."""

    images_per_second: float
    memory: int  # bytes
    parts: int  # in how many memory holds a batch
    weights: str
    multiply_adds: int  # for each image


def _trial(record: dict[str, Any], settings: Settings, images: ImageSet, where: torch.device) -> Trial:
    before = _peak(where, anew=True)
    try:
        trainer = make_trainer(record, settings, images, where, Ranks(where.type))
        while not (times := _times(trainer)):
            device.release_memory(where)
    except (RuntimeError, MemoryError) as error:
        if not device.ran_out_of_memory(error):
            raise
        raise GanfoldError(device.OUT_OF_MEMORY) from error
    tensors, _ = trainer.state()
    owned = sum(value.nbytes for value in tensors.values()) + sum(w.nbytes for w in trainer.gan.parameters())
    used = max(_peak(where) - before, owned)
    with FlopCounterMode(display=False) as counter:
        trainer.step()
    size = trainer.batches.size
    found = Trial(
        images_per_second=size / statistics.median(times),
        memory=used,
        parts=trainer.parts,
        weights=weights(trainer.gan),
        multiply_adds=counter.get_total_flops() // (2 * size),
    )
    del trainer, tensors
    device.release_memory(where)
    return found


def _times(trainer: Trainer) -> list[float]:
    """Seconds of some steps; [] where memory ran out, and the next ones will be in smaller parts."""
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) < WARM + FEWEST or (len(times) < OFTEN and time.perf_counter() - begun < SECONDS):
        start = time.perf_counter()
        try:
            trainer.step()
        except (RuntimeError, MemoryError) as error:
            if not device.ran_out_of_memory(error) or not trainer.split_further():
                raise
            return []
        device.wait(trainer.device)
        times.append(time.perf_counter() - start)
    return times[WARM:]


def _peak(where: torch.device, anew: bool = False) -> int:
    """The most bytes in use, on a CPU by this process, since it was asked `anew`; 0 where the system does not say."""
    if where.type == "cuda":
        if anew:
            torch.cuda.reset_peak_memory_stats(where)
        return torch.cuda.max_memory_allocated(where)
    if where.type == "mps":
        return torch.mps.driver_allocated_memory()
    with contextlib.suppress(OSError, StopIteration):  # Linux
        if anew:
            Path("/proc/self/clear_refs").write_text("5")
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    return 0
