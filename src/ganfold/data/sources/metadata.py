"""`metadata.csv`, `.jsonl` and `.parquet`, read like Hugging Face's `imagefolder`; and StyleGAN's `dataset.json`."""

from __future__ import annotations

import csv
import io
import itertools
import json
import posixpath
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ganfold.data.sources.findings import counted, shown
from ganfold.data.sources.source import Listing, class_name, classes_from, sorted_classes
from ganfold.errors import GanfoldError

DATASET = "dataset.json"  # StyleGAN's
PARQUET = "metadata.parquet"
FILES = ("metadata.csv", "metadata.jsonl", PARQUET, DATASET)
LARGEST = 2**28  # bytes of a dataset.json or metadata.parquet: it is read whole
LIKE_LABELS = ("labels", "class", "class_name", "category", "target")  # columns that people name so


class _Places:
    """The places of the images by their names."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names  # sorted
        self.respelled: list[str] = []  # files that were found under another spelling

    def find(self, file: str) -> int | None:
        """The place of an image; if need be, of one that differs only in case, accents or slashes."""
        place = bisect_left(self._names, file)
        if place < len(self._names) and self._names[place] == file:
            return place
        near = self._by_spelling.get(_spelling(file))
        if near is not None:
            self.respelled.append(file)
        return near

    @cached_property
    def _by_spelling(self) -> dict[str, int | None]:
        found: dict[str, int | None] = {}
        for place, name in enumerate(self._names):
            key = _spelling(name)
            found[key] = None if key in found else place
        return found


def _spelling(name: str) -> str:
    return unicodedata.normalize("NFC", posixpath.normpath(name.replace("\\", "/").strip())).casefold()


def read_metadata(listing: Listing, files: Iterable[tuple[str, str, BinaryIO]], scratch: Path) -> None:
    """Add metadata to a listing: classes from the column `label`, and rows from the other columns.

    Args:
        listing: the images, sorted by name.
        files: the metadata files: name in the source, name for errors, content.
        scratch: the folder to write the rows to.

    Raises:
        GanfoldError: a line cannot be read; names its file and number.
    """
    names, images = listing.names, _Places(listing.names)
    places = np.zeros((len(names), 2), np.int64)
    labels = np.full(len(names), -1, np.int64)
    numbers: dict[str, int] = {}
    strict = False  # leave out images without a row
    scopes: list[str] = []
    columns: set[str] = set()
    again = 0  # rows that give an image another label than an earlier row
    with open(scratch / "rows.bin", "wb") as out:
        for name, title, content in files:
            if name.rpartition("/")[2] == DATASET:
                continue
            folder = posixpath.dirname(name)
            scopes.append((folder + "/") if folder else "")
            has_match = False
            for where, row in _numbered(name, title, content):
                row = _named(row)
                columns.update(row)
                column = _file_column(row, f"{title}, {where}")
                # With labels, or with two files a row (such as image and mask), only images with a row are meant.
                strict |= "label" in row or sum(key.endswith("file_name") for key in row) > 1
                file = posixpath.normpath(posixpath.join(folder, str(row.pop(column))))
                label = row.pop("label", None)
                place = images.find(file)
                if place is None:
                    listing.skip(file, f"no such file: named in {name}, {where}")
                    continue
                has_match = True
                if called := _called(label, f"{title}, {where}"):
                    number = numbers.setdefault(called, len(numbers))
                    again += labels[place] not in (-1, number)
                    labels[place] = number
                text = _encoded(row)
                places[place] = out.tell(), len(text)
                out.write(text)
            if not has_match:
                listing.notes.append(f"No row of {title} names a file that is there.")
    _report_spelling(listing, images.respelled, again, columns)
    if not scopes:
        return
    _report_missing(listing, places[:, 1] > 0, labels >= 0, strict, bool(numbers), scopes)
    listing.rows = (scratch / "rows.bin", places)
    if numbers:
        classes = sorted_classes(numbers)
        order = np.array([classes.index(name) for name in numbers] + [-1])  # index -1, no label, finds the last
        _report_folders(listing, order[labels], classes)
        listing.labels, listing.classes = order[labels], classes
    elif strict:
        listing.labels = np.where(places[:, 1] > 0, 0, -1)


def _report_spelling(listing: Listing, respelled: list[str], again: int, columns: set[str]) -> None:
    """Note what was matched in spite of its spelling, what was overruled, and a column that may be meant as labels."""
    if respelled:
        listing.notes.append(
            f"The metadata write {counted(len(respelled), 'name')} in another way than the files, by case, "
            f"accents or slashes: they were matched (such as {shown(respelled[0])})."
        )
    if again:
        listing.notes.append(
            f"The metadata give {counted(again, 'image')} another label than in a row before: the last row counts."
        )
    like = sorted(columns.intersection(LIKE_LABELS))
    if like and "label" not in columns:
        listing.notes.append(
            f"The column {like[0]} of the metadata is not read as labels: name it label if it should be."
        )
    elif like:
        others = ", ".join(like)
        listing.notes.append(f"The labels are those of the metadata's column label, and not of {others}.")


def _report_folders(listing: Listing, labels: np.ndarray, classes: tuple[str, ...]) -> None:
    """Note that labels in the metadata contradict the sub-folders."""
    if listing.labels is None:
        return
    names, folders = np.array([*classes, ""], object), np.array([*listing.classes, ""], object)
    other = (labels >= 0) & (listing.labels >= 0) & (names[labels] != folders[listing.labels])
    if other.any():
        first = int(np.argmax(other))
        listing.notes.append(
            f"The metadata give {counted(int(other.sum()))} another label than the sub-folder says, such as "
            f"{shown(listing.names[first])} ({shown(str(names[labels[first]]))}): the metadata count."
        )


def _report_missing(
    listing: Listing, has_row: np.ndarray, has_label: np.ndarray, strict: bool, classes: bool, scopes: list[str]
) -> None:
    """Add the images without a row or a label to the findings; `scopes` are the folders of the metadata files."""
    if classes or strict:
        for place in np.flatnonzero(~(has_label if classes else has_row)).tolist():
            why = "no label in the metadata" if has_row[place] else "no row in the metadata"
            listing.skip(listing.names[place], why)
    elif not has_row.all():
        outside = [listing.names[i] for i in np.flatnonzero(~has_row).tolist()]
        bare = [name for name in outside if name.startswith(tuple(scopes))]
        if bare:
            listing.notes.append(
                f"{counted(len(bare))} without a row in the metadata, used all the same (such as {shown(bare[0])})."
            )


def _named(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its columns named without spaces around, and `file_name` and `label` in small letters."""
    if all(key == key.strip() for key in row) and ("label" in row or "Label" not in row) and "file_name" in row:
        return row  # as nearly always
    named: dict[str, Any] = {}
    for key, value in row.items():
        plain = key.strip()
        lower = plain.lower()
        own = lower == "label" or lower.endswith("file_name")
        named.setdefault(lower if own and lower not in row else plain, value)
    return named


def _called(label: Any, where: str) -> str:
    """The name of the class that a label stands for; `where` names the line in errors."""
    if isinstance(label, list | dict):
        raise GanfoldError(f"{where}: a label must be a text or a number, not {label!r:.60}")
    return class_name(label)


def _encoded(row: dict[str, Any]) -> bytes:
    """A row as JSON; with escapes only where it holds what UTF-8 cannot. Dates and the like become texts."""
    try:
        return json.dumps(row, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return json.dumps(row, default=str).encode()


def _file_column(row: dict[str, Any], where: str) -> str:
    """The column with the name of the image; `where` names the line in errors."""
    columns = [key for key in row if key == "file_name"] or [key for key in row if key.endswith("_file_name")]
    if not columns or not isinstance(row[columns[0]], str) or not row[columns[0]]:
        raise GanfoldError(
            f"{where}: it needs a column file_name with the name of an image; "
            f"its columns are {', '.join(shown(key) for key in row)[:200]}"
        )
    return columns[0]


def _rows(name: str, title: str, content: BinaryIO) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a metadata file with their line numbers."""
    text = io.TextIOWrapper(content, encoding="utf-8-sig", newline="")
    line = 0
    try:
        if name.endswith(".csv"):
            first = text.readline()
            lines = itertools.chain([first], text)
            table = csv.DictReader(lines, strict=True, delimiter=_delimiter(first), skipinitialspace=True)
            for row in table:
                line = table.line_num
                if None in row or None in row.values():
                    raise GanfoldError(f"{title}, line {line}: it has not as many fields as the first line")
                yield (
                    line,
                    {
                        key: value if key.strip().lower().endswith("file_name") else _value(value)
                        for key, value in row.items()
                    },
                )
        else:
            for line, each in enumerate(text, 1):
                if each.strip():
                    row = json.loads(each)
                    if not isinstance(row, dict):
                        raise GanfoldError(f"{title}, line {line}: it is not a JSON object")
                    yield line, row
    except UnicodeDecodeError as error:
        raise GanfoldError(f"{title}, after line {line}: it is not UTF-8 text") from error
    except RecursionError as error:
        raise GanfoldError(f"{title}, line {line}: it is nested too deep") from error
    except (csv.Error, ValueError) as error:
        raise GanfoldError(f"{title}, line {line}: {error}") from error


def _numbered(name: str, title: str, content: BinaryIO) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a metadata file of any kind, with their places for errors."""
    if name.endswith(PARQUET):
        yield from ((f"row {number}", row) for number, row in _parquet_rows(title, content))
    else:
        yield from ((f"line {number}", row) for number, row in _rows(name, title, content))


def _parquet_rows(title: str, content: BinaryIO) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a metadata.parquet with their numbers. Numbers of classes become names where its schema has these."""
    try:
        from pyarrow import BufferReader, parquet
    except ImportError as error:
        raise GanfoldError(
            f"{title} is read with pyarrow, which is not installed: pip install 'ganfold[hub]'"
        ) from error
    with content:
        packed = content.read(LARGEST + 1)
    if len(packed) > LARGEST:
        raise GanfoldError(f"{title} is larger than {LARGEST:,} bytes: save the metadata as metadata.csv")
    number = 0
    try:
        table = parquet.ParquetFile(BufferReader(packed))
        columns = [
            field.name for field in table.schema_arrow if not re.search("binary|struct.*binary", str(field.type))
        ]
        names = _class_names(table.schema_arrow.metadata or {})
        for batch in table.iter_batches(4096, columns=columns):
            for row in batch.to_pylist():
                number += 1
                label = row.get("label")
                if names and isinstance(label, int):
                    row["label"] = names[label] if 0 <= label < len(names) else None
                yield number, row
    except GanfoldError:
        raise
    except Exception as error:  # ArrowInvalid, OSError, MemoryError and others of a damaged file
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise GanfoldError(f"{title}, after row {number}: it cannot be read as parquet ({first:.120})") from error


def _class_names(schema: dict[bytes, bytes]) -> list[str]:
    """The names of the classes that Hugging Face datasets notes in a schema for the column `label`; [] without any."""
    try:
        features = json.loads(schema[b"huggingface"])["info"]["features"]
        return [str(name) for name in features["label"]["names"]]
    except (KeyError, ValueError, TypeError, RecursionError):
        return []


def _delimiter(header: str) -> str:
    """What parts the fields: a comma; or, where the first line has none, a semicolon or tab, as spreadsheets write."""
    return next((mark for mark in ",;\t" if mark in header), ",")


def _value(text: str) -> str | int | float | None:
    """A field of a CSV file as a number if it is one and loses nothing: "007" stays text."""
    text = text.strip()
    if not text:
        return None
    if re.fullmatch(r"-?(0|[1-9]\d{0,17})", text):
        return int(text)
    return float(text) if re.fullmatch(r"-?(0|[1-9]\d*)\.\d+", text) else text


def read_dataset(listing: Listing, name: str, title: str, content: BinaryIO) -> bool:
    """Add the labels of StyleGAN's dataset.json: {"labels": [[file, class], ...]}, or null for none.

    Returns:
        Whether this is such a file. The folders beside it, of a thousand images each, are then no classes.
    """
    with content:
        text = content.read(LARGEST + 1)
    try:
        whole = json.loads(text) if len(text) <= LARGEST else None
    except (ValueError, RecursionError):
        whole = None
    if not isinstance(whole, dict) or "labels" not in whole:
        listing.skip(name, "not StyleGAN's: it holds no labels")
        return False
    pairs = whole["labels"] or []
    of_pairs = isinstance(pairs, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)
    if not of_pairs or not all(isinstance(file, str) for file, _ in pairs):
        raise GanfoldError(f'{title}: its labels are not of the form [["file.png", 3], ...]')
    if any(isinstance(label, list | dict) for _, label in pairs):
        listing.notes.append(f"The labels of {name} are lists and no classes, so they are not read.")
        return True
    if not pairs:
        listing.notes.append(f"{name} holds no labels, so there are no classes.")
        return True
    images, folder = _Places(listing.names), posixpath.dirname(name)
    found: list[Any] = [None] * len(listing.names)
    for file, label in pairs:
        file = posixpath.normpath(posixpath.join(folder, file))
        place = images.find(file)
        if place is None:
            listing.skip(file, f"no such file: named in {name}")
        else:
            found[place] = label
    listing.labels, listing.classes = classes_from(found)
    for place in np.flatnonzero(listing.labels < 0).tolist():
        listing.skip(listing.names[place], f"no label in {name}")
    return True
