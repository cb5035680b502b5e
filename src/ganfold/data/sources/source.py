"""What every kind of source becomes before its images are prepared."""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ganfold.data.sources.findings import Finding, shown
from ganfold.data.sources.readers import Chosen, Reader
from ganfold.errors import GanfoldError, did_you_mean


@dataclass
class Listing:
    """The images of a source, in their final order."""

    reader: Reader
    names: Sequence[str]  # where image i came from
    labels: np.ndarray | None = None  # int64 (N,), numbers into `classes`; -1: no label, the image is not usable
    classes: tuple[str, ...] = ()
    rows: tuple[Path, np.ndarray] | None = None  # metadata: a file of JSON texts; start and length of each, (N, 2)
    size: int = 0  # bytes to read, roughly
    skipped: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    groups: np.ndarray | None = None  # int64 (N,): images of one number are held out together; None: each alone
    in_use: Any = None  # an open file whose lock lasts as long as this listing: its reader needs what is locked

    def skip(self, name: str, why: str) -> None:
        """Add a file that is not among the images to the findings."""
        self.skipped.append(Finding(shown(name), why))


@dataclass(frozen=True)
class Source:
    """Where images come from."""

    key: str  # changes when the content may have changed: the cache finds prepared sets by it
    list: Callable[[Path], Listing]  # lists the images; is given an empty folder for what must be unpacked
    has_levels: bool = False  # its classes are folders, and can be those of another level


def key_of(kind: str, path: Path | str, *what: Any) -> str:
    """A key made of a path and of all that tells two states of it apart."""
    return hashlib.sha256(repr((kind, str(path), what)).encode("utf-8", "surrogateescape")).hexdigest()


def states(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Name, size in bytes and time of last change in nanoseconds of each file."""
    return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]


def bundled_file(name: str) -> Path:
    """A file that the package carries."""
    return Path(__file__).parents[1] / "bundled" / name


def noted(source: Source, note: str) -> Source:
    """The source, with a note in its findings."""

    def listing(scratch: Path) -> Listing:
        listed = source.list(scratch)
        listed.notes.insert(0, note)
        return listed

    return replace(source, key=key_of("noted", source.key, note), list=listing)


def class_name(value: Any) -> str:
    """The name of the class that a label stands for; "" if it stands for none.

    One class may be written in several ways: with spaces around, as 1 and 1.0, or with letters in other forms.
    """
    if value is None or value != value:  # NaN, which is how pandas writes nothing
        return ""
    text = unicodedata.normalize("NFC", str(value)).strip()
    return text.partition(".")[0] if re.fullmatch(r"-?[0-9]+\.0+", text) else text


def classes_from(values: Sequence[Any]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels of any type as int64 (N,) numbers, -1 for None, and the names of the classes in order."""
    known: dict[tuple[type, Any], str] = {}  # a million labels share the few texts that they stand for

    def called_of(value: Any) -> str:
        if isinstance(value, int | str | float):
            return known.get((type(value), value)) or known.setdefault((type(value), value), class_name(value))
        return class_name(value)

    called = [called_of(value) for value in values]
    names = sorted_classes(set(filter(None, called)))
    number = {name: i for i, name in enumerate(names)}
    return np.array([number.get(name, -1) for name in called], np.int64), names


def sorted_classes(names: Iterable[str]) -> tuple[str, ...]:
    """Class names in order: by number if all are numbers, by letter if not."""
    names = list(names)
    for kind in (int, float):
        try:
            numbers = {name: kind(name) for name in names}
        except ValueError:
            continue
        if kind is int or all(math.isfinite(number) for number in numbers.values()):
            return tuple(sorted(names, key=numbers.__getitem__))
    return tuple(sorted(names))


def of_class(source: Source, label: str, name: str) -> Source:
    """The images of one class of a source.

    Args:
        source: a source with classes.
        label: the name of the class.
        name: what the user calls the source, for the error.

    Raises:
        GanfoldError: when listed, if there is no such class.
    """

    def listing(scratch: Path) -> Listing:
        whole = source.list(scratch)
        if whole.labels is None or label not in whole.classes:
            raise GanfoldError(
                f"{name} has no class {label!r}{did_you_mean(label, whole.classes)} (known: {', '.join(whole.classes)})"
            )
        places = np.flatnonzero(whole.labels == whole.classes.index(label))
        return replace(
            whole,
            reader=Chosen(whole.reader, places),
            names=[str(whole.names[place]) for place in places.tolist()],
            labels=None,
            classes=(),
            rows=whole.rows and (whole.rows[0], whole.rows[1][places]),
            skipped=[],
        )

    return Source(f"{source.key}-{hashlib.sha256(label.encode()).hexdigest()[:16]}", listing)
