"""What every kind of source becomes before its images are prepared."""

from __future__ import annotations

import hashlib
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

    def skip(self, name: str, why: str) -> None:
        """Add a file that is not among the images to the findings."""
        self.skipped.append(Finding(shown(name), why))


@dataclass(frozen=True)
class Source:
    """Where images come from."""

    key: str  # changes when the content may have changed: the cache finds prepared sets by it
    list: Callable[[Path], Listing]  # lists the images; is given an empty folder for what must be unpacked


def key_of(kind: str, path: Path | str, *what: Any) -> str:
    """A key made of a path and of all that tells two states of it apart."""
    return hashlib.sha256(repr((kind, str(path), what)).encode("utf-8", "surrogateescape")).hexdigest()


def states(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Name, size in bytes and time of last change in nanoseconds of each file."""
    return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]


def bundled_file(name: str) -> Path:
    """A file that the package carries."""
    return Path(__file__).parents[1] / "bundled" / name


def classes_from(values: Sequence[Any]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels of any type as int64 (N,) numbers, -1 for None, and the names of the classes in order."""
    names = sorted_classes({str(value) for value in values if value is not None})
    number = {name: i for i, name in enumerate(names)}
    return np.array([-1 if v is None else number[str(v)] for v in values], np.int64), names


def sorted_classes(names: Iterable[str]) -> tuple[str, ...]:
    """Class names in order: by number if all are whole numbers, by letter if not."""
    names = list(names)
    try:
        return tuple(sorted(names, key=int))
    except ValueError:
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
