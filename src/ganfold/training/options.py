"""What the user said, checked, and said again as a command line. No torch here."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganfold.errors import GanfoldError, did_you_mean
from ganfold.gans import find
from ganfold.training.settings import Settings

if TYPE_CHECKING:
    from ganfold.gans.contract import GAN

SHARES = frozenset({"augment", "share"})  # options that are shares of something, 0 to 1


def split(kind: type[GAN], gan: str, options: dict[str, Any]) -> tuple[Any, Settings]:
    """The GAN's `Config` and the `Settings` that the options give, checked."""
    mine = {field.name for field in fields(kind.config_class)}
    common = {field.name for field in fields(Settings)}
    for name in options:
        if name not in mine | common:
            raise GanfoldError(f"{gan} has no option {name!r}{did_you_mean(name, mine | common)}")
    config = kind.config_class(**{k: v for k, v in options.items() if k in mine})
    counts = {field.name for field in fields(kind.config_class) if type(field.default) is int}
    for name, value in asdict(config).items():
        least = 2 if name == "batch" else 1 if name in counts else 0  # a share may be given as 0, not only as 0.0
        below = 1 if name in ("betas", "label_smoothing") else math.inf
        most = 1 if name in SHARES else math.inf
        for number in value if isinstance(value, tuple) else (value,):
            if not isinstance(number, str | bool | None) and not (least <= number < below and number <= most):
                limit = " and below 1" if below == 1 else " and at most 1" if most == 1 else ""
                raise GanfoldError(f"{name} must be {least} or more{limit}, not {number}")
    return config, Settings(**{k: v for k, v in options.items() if k in common})


@dataclass(frozen=True)
class Wishes:
    """What a plan chooses beside the `Settings`, where the user does not."""

    batch: int | None = None  # images a step [by their number and the device]
    width: int | None = None  # channels of the layer next to the image [by the device]
    augment: float | None = None  # share of D's images shifted, recoloured, cut out [by the number of images]
    flatten: bool | None = None  # samples are evened out over wide places: for drawings [by what the images are]
    input_noise: float | None = None  # deviation of the noise on all that D sees [by what the images are]


def changed(values: Any) -> dict[str, Any]:
    """The fields of a dataclass's instance that are not at their defaults."""
    return {field.name: value for field in fields(values) if (value := getattr(values, field.name)) != field.default}


def command(gan: str, data: str | Path, out: Path, options: Mapping[str, Any]) -> str:
    """The command line of a call of `train`."""
    words = ["ganfold", "train", gan, "--data", str(data), "--out", str(out)]
    defaults = {field.name: field.default for field in (*fields(find(gan).config_class), *fields(Settings))}
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words += [] if value == defaults[name] else [flag] if value else [f"--no-{flag[2:]}"]
        elif value is not None:
            words += [flag, *map(_word, value if isinstance(value, tuple | list) else [value])]
    return shlex.join(words)


def _word(value: Any) -> str:
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)
