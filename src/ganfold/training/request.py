"""What a user requests of a training: checked, and said again as a command line."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganfold.errors import GanfoldError, did_you_mean
from ganfold.gans.registry import Origin, find, name_of, origin_of
from ganfold.interface.options import as_path, check_ranges
from ganfold.interface.settings import Settings

if TYPE_CHECKING:
    from ganfold.gans.contract import GAN


@dataclass(frozen=True)
class Request:
    """A GAN with its options, on these images, into this folder."""

    gan: str  # its name
    gan_class: type[GAN]
    config: Any  # the GAN's `Config`
    settings: Settings
    data: str | Path
    out: Path  # the run's folder
    command: str  # which repeats it
    origin: Origin | None = None  # the file of a GAN from outside
    chose_batch: bool = True  # whether the user or a plan named the batch

    @classmethod
    def of(
        cls,
        gan: str | type[GAN],
        data: str | Path,
        out: str | Path | None = None,
        options: Mapping[str, Any] | None = None,
        command: str | None = None,
    ) -> Request:
        """The request that these options make, checked.

        Raises:
            GanfoldError: there is no such GAN or option, or a value is out of range.
        """
        gan_class, options = find(gan), options or {}
        name = name_of(gan_class)
        config, settings = configured(gan_class, options)
        out = Path(out or default_out(name, data))
        command = command or command_line(gan_class, data, out, options)
        chose_batch = options.get("batch") is not None
        return cls(name, gan_class, config, settings, data, out, command, origin_of(gan_class), chose_batch)

    def choices(self) -> dict[str, Any]:
        """The GAN's name and all options, by name."""
        return {"gan": self.gan, **asdict(self.config), **asdict(self.settings)}

    def fitted(self, images: int) -> Request:
        """The request with a default batch that this many training images can fill.

        It depends on nothing else. The same command therefore goes on later, on any number of ranks.
        """
        if self.chose_batch or self.config.batch <= images:
            return self
        return replace(self, config=replace(self.config, batch=largest_batch(images)))


@dataclass(frozen=True)
class Planned:
    """The options of a GAN that a plan chooses where nobody requests them."""

    batch: int | None = None  # images a step [from their number and the device]
    width: int | None = None  # channels of the layer next to the image [from the device]
    augment: float | None = None  # share of D's images shifted, recoloured, cut out [from the number of images]
    flatten: bool | None = None  # even out wide plain areas of samples, for drawings [from the images]
    input_noise: float | None = None  # deviation of the noise on everything D sees [from the images]


def configured(gan_class: type[GAN], options: Mapping[str, Any]) -> tuple[Any, Settings]:
    """The GAN's `Config` and the `Settings` that the options give.

    Raises:
        GanfoldError: the GAN has no such option, or a value is out of range.
    """
    own = {field.name for field in fields(gan_class.config_class)}
    common = {field.name for field in fields(Settings)}
    for name in options:
        if name not in own | common:
            raise GanfoldError(f"{name_of(gan_class)} has no option {name!r}{did_you_mean(name, own | common)}")
    config = gan_class.config_class(**{k: _plain(k, v) for k, v in options.items() if k in own})
    check_ranges(config)
    return config, Settings(**{k: v for k, v in options.items() if k in common})


def _plain(name: str, value: Any) -> Any:
    """The value of an option of a GAN; a path as a text, with `~` as the home folder."""
    is_path = isinstance(value, Path) or (isinstance(value, str) and value.startswith("~"))
    return str(as_path(name, value)) if is_path else value


def changed(values: Any) -> dict[str, Any]:
    """The fields of a dataclass's instance that are not at their defaults."""
    return {field.name: value for field in fields(values) if (value := getattr(values, field.name)) != field.default}


def largest_batch(images: int) -> int:
    """The largest power of two that this many images fill; at least 2."""
    return 1 << (max(2, images).bit_length() - 1)


def default_out(gan: str | None, data: str | Path) -> Path:
    """The folder of a run where nobody names one."""
    name = gan and gan.replace(".py:", "-").replace(":", "-")
    path = Path(data)
    stem = path.parent.name if set(path.stem) & set("*?[") else path.stem  # of an address with a pattern
    return Path("runs", f"{name}-{stem}" if name else stem)


def command_line(gan_class: type[GAN], data: str | Path, out: Path, options: Mapping[str, Any]) -> str:
    """The command that makes this call of `train`."""
    origin = origin_of(gan_class)
    gan = f"{origin.file}:{gan_class.__name__}" if origin else name_of(gan_class)
    words = ["ganfold", "train", gan, "--data", str(data), "--out", str(out)]
    defaults = {field.name: field.default for field in (*fields(gan_class.config_class), *fields(Settings))}
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words += [] if value == defaults[name] else [flag] if value else [f"--no-{flag[2:]}"]
        elif value is not None:
            words += [flag, *map(_word, value if isinstance(value, tuple | list) else [value])]
    return shlex.join(words)


def _word(value: Any) -> str:
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)
