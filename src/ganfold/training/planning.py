"""A plan: which GAN, how large and for how long, from the images, the device and a few measured steps."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from ganfold import data as ganfold_data
from ganfold import device as devices
from ganfold.data import ImageSet
from ganfold.errors import GanfoldError
from ganfold.gans import find, name_of
from ganfold.gans.contract import GAN
from ganfold.gans.registry import DEFAULT
from ganfold.interface.result import Result, table
from ganfold.interface.settings import Settings
from ganfold.runs.record import DataRecord, RunRecord
from ganfold.training.request import command_line, configured, default_out
from ganfold.training.rules import (
    Rule,
    by_grounds,
    choose_augment,
    choose_batch,
    choose_gan,
    choose_minutes,
    choose_resolution,
)
from ganfold.training.trial import Trial, try_steps

MIB = 2**20


@dataclass(frozen=True)
class Choice:
    """One thing that a plan chose."""

    name: str
    value: str
    why: str


@dataclass(frozen=True, repr=False)
class Plan(Result):
    """What to train, why, and what it will take."""

    gan: str
    options: dict[str, Any]  # of `ganfold.train`
    choices: list[Choice]
    images: str  # a sentence on the images
    images_per_second: float  # measured in the trial
    weights: str  # of each network: "G 0.7 M, D 0.4 M"
    multiply_adds: int  # for each image of a step, all networks forward and backward
    kimg: float  # that training will have seen at its end, roughly
    epochs: float  # how often it will have seen each image by then
    minutes: float  # that it will take, roughly; with kimg given, without the checkups on the way
    memory: int  # bytes that the steps take beside PyTorch itself, roughly; checkups take more for a while
    memory_there: int  # bytes that the device has; 0: unknown
    command: str  # which trains this

    def lines(self) -> list[str]:
        """The images, a table of choices with reasons, what it takes, and the command."""
        rows = [("  choice", "value", "why"), *((f"  {c.name}", c.value, c.why) for c in self.choices)]
        memory = f"{self.memory / MIB:,.0f}" + (f" of {self.memory_there / MIB:,.0f}" if self.memory_there else "")
        return [
            self.images,
            *table(rows),
            f"Networks: {self.weights} weights; {self.multiply_adds / 1e6:,.0f} M multiply-adds to train on an image.",
            f"Measured in a trial: {self.images_per_second:,.0f} images/s, about {memory} MiB of memory.",
            f"Training will take about {_about(self.minutes)} minute{'s' * (self.minutes != 1)} and see about "
            f"{_about(self.kimg)} kimg: each image {_times(self.epochs)}. "
            f"An epoch, each image once, is {_about(self.kimg / self.epochs)} kimg.",
            "The same by name:",
            f"  {self.command}",
        ]


def plan_training(
    data: str | Path,
    out: str | Path | None = None,
    *,
    gan: str | type[GAN] | None = None,
    progress: bool = True,
    **options: Any,
) -> Plan:
    """Choose what `train` leaves open, and say what it will take; see `ganfold.plan`.

    Raises:
        GanfoldError: bad input, or memory does not hold the smallest part of a batch.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise GanfoldError("a plan is made by one process: let `ganfold plan` say which GAN, then name it to torchrun")
    choices = _Choices({name: value for name, value in options.items() if value is not None})
    device = _device(choices)
    native = ganfold_data.native(data, progress=progress)
    gan_class, sizes, why = _gan(choices, device, native, gan)
    images = prepare(gan_class, *configured(gan_class, choices.options), data, progress)
    choices.tell("channels", str(images.channels), images.findings.choice.rpartition(": ")[2])
    choices.tell("GAN", name_of(gan_class), why)
    if images.crops:
        why = "images at full size are what it will be given; off makes whole images small"
        choices.choose("crops", ("native", why))
    _networks(choices, gan_class, device, images, sizes)
    _hints(choices, gan_class, images)
    trial = _trial(choices, gan_class, images, device)
    minutes = _budget(choices, gan_class, trial)
    speed = trial.images_per_second
    kimg = minutes * 60 * speed / 1000
    return Plan(
        gan=name_of(gan_class),
        options=choices.options,
        choices=choices.made,
        images=_sentence(images, native),
        images_per_second=speed,
        weights=trial.weights,
        multiply_adds=trial.multiply_adds,
        kimg=kimg,
        epochs=kimg * 1000 / len(images.train),
        minutes=minutes,
        memory=trial.memory,
        memory_there=devices.memory(device),
        command=command_line(gan_class, data, Path(out or default_out(None, data)), choices.options),
    )


def prepare(
    gan_class: type[GAN],
    config: Any,
    settings: Settings,
    data: str | Path,
    progress: bool,
    before: DataRecord | None = None,
) -> ImageSet:
    """The images that a GAN of this class and configuration needs; `before` is what the run that goes on had."""
    resolution = settings.resolution or gan_class.resolution
    crops = settings.crops
    if crops is None:
        crops = before.crops if before else _default_crops(gan_class, resolution, data, progress)
    return ganfold_data.load_as(
        gan_class.data_kind(config),
        data,
        getattr(config, "target", None),
        resolution=resolution,
        channels=settings.channels,
        fit=settings.fit,
        held_out=settings.held_out,
        classes_from=settings.classes_from,
        crops=crops,
        progress=progress,
    )


def _default_crops(
    gan_class: type[GAN], resolution: int | Callable[[int], int], data: str | Path, progress: bool
) -> ganfold_data.Crops | None:
    """The crops where nobody requests any."""
    if not gan_class.crops_natively:
        return None
    native = ganfold_data.native(data, progress=progress)
    return "native" if native > (resolution if isinstance(resolution, int) else resolution(native)) else None


@dataclass
class _Choices:
    """What is requested, what is chosen around that, and the reasons."""

    requested: Mapping[str, Any]
    chosen: dict[str, Any] = field(default_factory=dict)
    made: list[Choice] = field(default_factory=list)

    @property
    def options(self) -> dict[str, Any]:
        return {**self.requested, **self.chosen}

    def choose(self, name: str, rule: Rule) -> Any:
        """Take what is requested; otherwise what the rule says."""
        value, why = (self.requested[name], "as requested") if name in self.requested else rule
        self.chosen[name] = value
        self.tell(name.replace("_", " "), _shown(value), why)
        return value

    def tell(self, name: str, value: str, why: str) -> None:
        """Add a line to the table."""
        self.made.append(Choice(name, value, why))


def _device(choices: _Choices) -> torch.device:
    settings = Settings(**{f.name: choices.requested[f.name] for f in fields(Settings) if f.name in choices.requested})
    device = devices.choose(settings.device)
    if settings.precision == "bf16":
        devices.check_bf16(device)
    threads = torch.get_num_threads()
    is_cpu = device.type == "cpu"
    power = f"{threads} thread{'s' * (threads > 1)}" if is_cpu else str(devices.describe(device)["device"])
    why = "PyTorch finds no GPU here" if is_cpu else "the fastest here"
    choices.tell("device", device.type, f"{'as requested' if settings.device != 'auto' else why}; {power}")
    return device


def _gan(
    choices: _Choices, device: torch.device, native: int, gan: str | type[GAN] | None
) -> tuple[type[GAN], dict[str, Rule], str]:
    """The resolution is chosen first, then the GAN; gives the GAN, its size options and why."""
    rule = choose_resolution(device.type, choices.requested.get("minutes"), native)
    if gan and (own := find(gan).resolution(native)) < rule[0]:
        rule = own, f"the most that {name_of(find(gan))} does of its own accord"
    choices.choose("resolution", rule)
    best, why, sizes = choose_gan(device.type)
    return find(gan or best), sizes, "as requested" if gan else why


def _networks(
    choices: _Choices, gan_class: type[GAN], device: torch.device, images: ImageSet, sizes: dict[str, Rule]
) -> None:
    """Sizes, batch, augmentation, and what depends on plain grounds."""
    count = len(images.train)
    rules = sizes | {"batch": choose_batch(device.type, count), "augment": choose_augment(device.type, count)}
    if "flatten" in gan_class.planned:
        rules |= by_grounds(images, images.train)
    own = {field.name for field in fields(gan_class.config_class)}
    for name, rule in rules.items():
        if name in own and name in gan_class.planned:
            choices.choose(name, rule)


def _hints(choices: _Choices, gan_class: type[GAN], images: ImageSet) -> None:
    """What only the user can decide."""
    name = name_of(gan_class)
    labels = choices.options.get("labels", getattr(gan_class.config_class, "labels", gan_class.needs_labels))
    if images.classes and not labels:
        way = f"train {name} --labels" if hasattr(gan_class.config_class, "labels") else f"--gan {DEFAULT} --labels"
        choices.tell("labels", "unused", f"this GAN needs none; {way} learns the {len(images.classes)} classes")
    if "flips" not in choices.requested:
        choices.tell("flips", "no", "only you know whether a mirrored image is one of them: --flips")


def _trial(choices: _Choices, gan_class: type[GAN], images: ImageSet, device: torch.device) -> Trial:
    config, settings = configured(gan_class, choices.options)
    record = RunRecord(name_of(gan_class), asdict(config), settings, DataRecord.of(images))
    trial = try_steps(record, gan_class, images, device)
    if trial.parts > 1:
        choices.tell("parts", str(trial.parts), "memory does not hold a batch at once")
    return trial


def _budget(choices: _Choices, gan_class: type[GAN], trial: Trial) -> float:
    """The budget, and the schedules that depend on it; gives the minutes that training will take."""
    requested, speed = choices.requested, trial.images_per_second
    minutes, kimg = requested.get("minutes"), requested.get("kimg")
    why = "as requested"
    if minutes is None and kimg is None:
        choices.chosen["minutes"], why = choose_minutes(speed)
        minutes = choices.chosen["minutes"]
    own = {field.name: field.default for field in fields(gan_class.config_class)}
    taken = min(minutes or float("inf"), (kimg or float("inf")) * 1000 / speed / 60)
    step = choices.options.get("batch", own.get("batch", 1)) / speed / 60
    if taken < step:
        taken, why = step, f"{why}, but training makes at least one step"
    choices.tell("budget", Settings(kimg=kimg, minutes=minutes).budget, why)
    decays = choices.options.get("decay_kimg", own.get("decay_kimg", 0))
    if "decay_kimg" in gan_class.planned and decays and "decay_kimg" not in requested:
        choices.chosen["decay_kimg"] = float(f"{max(1.0, taken * 60 * speed / 1000):.2g}")
        whole = f"{choices.chosen['decay_kimg']:g} kimg"
        choices.tell("decay", whole, "the learning rate falls over all of it")
    if "pretrain_kimg" in gan_class.planned and "pretrain_kimg" not in requested:
        choices.chosen["pretrain_kimg"] = float(f"{max(0.1, taken * 60 * speed / 2000):.2g}")
        half = f"{choices.chosen['pretrain_kimg']:g} kimg"
        choices.tell("pretraining", half, "half of the budget, without D")
    return taken


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _about(value: float) -> str:
    return f"{float(f'{value:.2g}'):,g}"


def _times(epochs: float) -> str:
    """How often, in words; under once only part of the images is seen."""
    if epochs < 0.95:
        return "less than once"
    return "about once" if epochs < 1.5 else f"about {_about(epochs)} times"


def _sentence(images: ImageSet, native: int) -> str:
    held = f" and {len(images.held_out):,} held out" if len(images.held_out) else ""
    classes = f", {len(images.classes)} classes" if images.classes else ""
    what = "squares of its images" if images.crops == "native" else "images"
    return f"{images.source}: {len(images.train):,} {what} to train on{held}, {native:,} px{classes}."
