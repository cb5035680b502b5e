"""The record of a run, `config.json`: what was trained on what, and how. It is read, checked and migrated here only."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from ganfold.errors import GanfoldError, printable
from ganfold.files import damaged, read_object, write_json
from ganfold.gans.registry import Origin, find, installed, origin_of
from ganfold.interface.options import check_ranges
from ganfold.interface.result import version
from ganfold.interface.settings import Settings

if TYPE_CHECKING:
    from ganfold.data import ImageSet
    from ganfold.gans.contract import GAN, DataKind, Shape

SCHEMA = 1  # of this version's `config.json`; files without a number were written by 0.1.0 and earlier
NAME = "config.json"  # its presence makes a folder a run
LOG = "log.jsonl"  # a row for each report and each checkup of the training
NEWEST = "newest.png"  # a grid that is newer than all in samples/; there only between two reports
REMEDY = "give the folder that `ganfold train --out` wrote"


@dataclass(frozen=True)
class InputsRecord:
    """The images that others are made from: of a pair its first half, or of two kinds the first."""

    source: str
    fingerprint: str
    channels: int


@dataclass(frozen=True)
class DataRecord:
    """What the run was trained on."""

    source: str
    fingerprint: str
    images: int  # to train on
    held_out: int
    resolution: int  # height and width in pixels
    channels: int
    classes: tuple[str, ...]
    class_counts: tuple[int, ...]  # training images of each class
    inputs: InputsRecord | None = None
    words: tuple[str, ...] = ()  # the vocabulary of the captions
    keypoints: int = 0  # of each image
    crops: int | Literal["native"] | None = None  # what training cut from; None: it cut nothing

    @classmethod
    def of(cls, images: ImageSet) -> DataRecord:
        inputs, captions = images.inputs, images.captions
        return cls(
            source=images.source,
            fingerprint=images.fingerprint,
            images=len(images.train),
            held_out=len(images.held_out),
            resolution=images.resolution,
            channels=images.channels,
            classes=tuple(images.classes),
            class_counts=tuple(images.class_counts),
            inputs=None if inputs is None else InputsRecord(inputs.source, inputs.fingerprint, inputs.channels),
            words=tuple(captions.words) if captions else (),
            keypoints=captions.keypoints.shape[1] if captions and captions.keypoints is not None else 0,
            crops=None if images.crops == "off" else images.crops,
        )

    @property
    def shape(self) -> Shape:
        """What networks are built for."""
        from ganfold.gans.contract import Shape

        return Shape(
            self.channels,
            self.resolution,
            len(self.classes),
            inputs=self.inputs.channels if self.inputs else 0,
            words=len(self.words) + 1 if self.words else 0,
            keypoints=self.keypoints,
        )

    def is_same_as(self, other: DataRecord) -> bool:
        """Whether both describe the same images, wherever these lie."""
        mine, others = self.inputs and self.inputs.fingerprint, other.inputs and other.inputs.fingerprint
        return (self.fingerprint, mine, self.words) == (other.fingerprint, others, other.words)


@dataclass(frozen=True)
class RunRecord:
    """All that is needed to build a run's networks again and to repeat the run."""

    gan: str  # its name: "dcgan", or "my_gan.py:SNGAN" of a GAN from outside
    config: Mapping[str, Any]  # the options of the GAN, by name
    settings: Settings
    data: DataRecord
    command: str = ""
    started: str = ""  # date and time, UTC
    machine: Mapping[str, Any] = field(default_factory=dict)
    ganfold: str = field(default_factory=version)
    origin: Origin | None = None  # the file that a GAN from outside was defined in
    measured_forms: bool = False  # whether it chose the forms of its layers by measuring: see `runs.forms`
    schema: int = SCHEMA
    file: str = field(default=NAME, compare=False)  # where it was read, for errors

    def option(self, name: str, default: Any = None) -> Any:
        """An option of the GAN; the default where this GAN has no such option."""
        return self.config.get(name, default)

    @property
    def batch(self) -> int:
        """Images a step, over all ranks together."""
        return int(self.option("batch"))

    def gan_class(self, gan: str | type[GAN] | None = None) -> type[GAN]:
        """The class of the run's GAN.

        Opening a run never runs code that its folder names: a GAN from outside the package must be given.

        Args:
            gan: the GAN from outside, as a class or as "my_gan.py:SNGAN".

        Raises:
            GanfoldError: the GAN is from outside and was not given, or another one was given.
        """
        if self.origin is None and self.gan in installed():
            own = find(self.gan)
            if gan is not None and find(gan) is not own:
                raise GanfoldError(f"this is a run of {self.gan}: leave out --gan")
            return own
        class_name = self.gan.rpartition(":")[2]
        if gan is None:
            where = f" ({self.origin.file}, SHA-256 {self.origin.sha256})" if self.origin else ""
            path = f"{self.origin.file if self.origin else 'FILE.py'}:{class_name}"
            raise GanfoldError(
                f"this is a run of {self.gan}, a GAN from outside of ganfold{where}: if you trust its file, give "
                f"--gan {path}"
            )
        gan_class = find(gan)
        if gan_class.__name__ != class_name:
            raise GanfoldError(f"this is a run of {self.gan}, and --gan names the class {gan_class.__name__}")
        origin = origin_of(gan_class)
        if self.origin and origin and origin.sha256 != self.origin.sha256:
            note = (
                f"Note: {origin.file} has changed since this run was trained with it (its SHA-256 was "
                f"{self.origin.sha256[:16]}..., and is {origin.sha256[:16]}...)."
            )
            print(printable(note), file=sys.stderr)
        return gan_class

    def gan_config(self, gan_class: type[GAN]) -> Any:
        """The options as the GAN's `Config`; names that it no longer has are left out.

        Raises:
            GanfoldError: an option is of the wrong type or out of range.
        """
        try:
            config = known(gan_class.config_class, self.config)
            check_ranges(config)
        except (TypeError, ValueError, GanfoldError) as error:
            raise damaged(Path(self.file), error) from error
        return config

    def data_kind(self, gan_class: type[GAN]) -> DataKind:
        """What the GAN needs of its images."""
        return gan_class.data_kind(self.gan_config(gan_class))

    def sources(self, gan_class: type[GAN]) -> tuple[str, str | None]:
        """Where the images came from: `source` and `target` of `ganfold.data.load_as`."""
        if self.data.inputs and self.data_kind(gan_class) == "domains":
            return self.data.inputs.source, self.data.source
        return self.data.source, None

    def to_dict(self) -> dict[str, Any]:
        """The content of `config.json`."""
        content = {"schema": self.schema, "ganfold": self.ganfold, "gan": self.gan}
        content |= {"origin": asdict(self.origin)} if self.origin else {}
        content |= {"config": dict(self.config), "settings": asdict(self.settings), "data": asdict(self.data)}
        content |= {"measured_forms": self.measured_forms, "machine": dict(self.machine)}
        return content | {"command": self.command, "started": self.started}

    def write(self, folder: Path) -> None:
        """Write `config.json`, whole or not at all."""
        write_json(folder / NAME, self.to_dict())

    @classmethod
    def read(cls, folder: Path) -> RunRecord:
        """The record in a run's folder.

        Raises:
            GanfoldError: there is no such folder, `train` did not write it, or a newer ganfold did.
        """
        path = folder / NAME
        if not path.is_file():
            what = f"is not a run folder (it has no {NAME})" if folder.exists() else "does not exist"
            raise GanfoldError(f"{folder} {what}: {REMEDY}")
        return cls.from_dict(read_object(path), folder)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], folder: Path) -> RunRecord:
        """The record that a `config.json` of this version or an earlier one holds.

        Raises:
            GanfoldError: something is missing or of the wrong type; names it and the folder.
        """
        content, path = _migrated(content), folder / NAME
        if not isinstance(content["schema"], int):
            raise damaged(path, f"schema is {content['schema']!r:.40}")
        if content["schema"] > SCHEMA:
            raise GanfoldError(
                f"{folder} was written by ganfold {content.get('ganfold')}, which is newer than this one "
                f"({version()}): install that version"
            )
        parts = {"gan": str, "config": dict, "settings": dict, "data": dict}
        if lacks := [name for name, kind in parts.items() if not isinstance(content.get(name), kind)]:
            raise GanfoldError(f"{folder} is not a run folder (its {NAME} lacks {', '.join(lacks)}): {REMEDY}")
        try:
            return cls(
                gan=content["gan"],
                config={name: _tuples(value) for name, value in content["config"].items()},
                settings=known(Settings, content["settings"]),
                data=_data(content["data"]),
                command=str(content.get("command", "")),
                started=str(content.get("started", "")),
                machine=dict(content.get("machine", {})),
                ganfold=str(content.get("ganfold", "")),
                origin=Origin(**content["origin"]) if content.get("origin") else None,
                measured_forms=content.get("measured_forms") is True,
                schema=SCHEMA,
                file=str(path),
            )
        except (TypeError, ValueError, AttributeError, GanfoldError) as error:
            raise damaged(path, error) from error


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a log, up to a last line that a running training has only half written."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_bytes().splitlines():
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError):
            break
    return rows


def known(kind: type[Any], values: Mapping[str, Any]) -> Any:
    """The dataclass with those of the values that it has fields for.

    Raises:
        TypeError: a value is missing or of another type than its field.
    """
    types = _types(kind)
    names = {field.name for field in fields(kind)}
    chosen = {name: _tuples(value) for name, value in values.items() if name in names}
    for name, value in chosen.items():
        if not _fits(value, types.get(name)):
            raise TypeError(f"{name} is {value!r:.40}")
    return kind(**chosen)


def _types(kind: type[Any]) -> dict[str, Any]:
    try:
        return get_type_hints(kind)
    except (NameError, TypeError):  # of a GAN from outside whose types cannot be looked up
        return {}


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value of a JSON file is of the type of a dataclass's field. A type that no JSON has fits everything."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    if origin is tuple and isinstance(value, tuple):
        each = parts[:1] * len(value) if parts and parts[-1] is Ellipsis else parts
        return len(each) == len(value) and all(map(_fits, value, each))
    if kind is float:
        return isinstance(value, int | float)
    kind = origin or kind
    return kind not in (int, str, bool, NoneType, tuple) or isinstance(value, kind)


def _migrated(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content as this version's schema has it. 0.1.0 wrote no number; what it lacked has defaults."""
    return {"schema": 0, **content}


def _data(values: Mapping[str, Any]) -> DataRecord:
    inputs = values.get("inputs")
    data: DataRecord = known(
        DataRecord,
        {**values, "inputs": inputs and known(InputsRecord, inputs), "words": tuple(values.get("words") or ())},
    )
    if data.resolution < 1 or data.channels not in (1, 3, 4):
        raise ValueError(f"images of {data.resolution} px with {data.channels} channels")
    return data


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
