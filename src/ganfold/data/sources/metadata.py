"""`metadata.csv` and `metadata.jsonl`, as Hugging Face's imagefolder reads them."""

from __future__ import annotations

import csv
import io
import json
import posixpath
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ganfold.data.sources.findings import counted, shown
from ganfold.data.sources.source import Listing, sorted_classes
from ganfold.errors import GanfoldError

FILES = ("metadata.csv", "metadata.jsonl")


def read_metadata(listing: Listing, files: Iterable[tuple[str, str, BinaryIO]], scratch: Path) -> None:
    """Give the pictures of `listing` (names sorted) the rows of `files`: (name in the source, name for errors,
    content). A column `label` gives the classes; the other columns are written to `scratch` as JSON rows.

    Raises:
        GanfoldError: a line that cannot be read, with its file and number.
    """
    names = listing.names
    places = np.zeros((len(names), 2), np.int64)
    labels = np.full(len(names), -1, np.int64)
    numbers: dict[str, int] = {}
    strict = False  # pictures without a row are left out
    scopes = []
    with open(scratch / "rows.bin", "wb") as out:
        for name, title, content in files:
            folder = posixpath.dirname(name)
            scopes.append((folder + "/") if folder else "")
            seen_files = False
            for line, row in _rows(name, title, content):
                column = _file_column(row, f"{title}, line {line}")
                strict |= "label" in row or sum(key.endswith("file_name") for key in row) > 1
                file = posixpath.normpath(posixpath.join(folder, str(row.pop(column))))
                label = row.pop("label", None)
                place = bisect_left(names, file)
                if place == len(names) or names[place] != file:
                    listing.skip(file, f"no such file: named in {name}, line {line}")
                    continue
                seen_files = True
                if isinstance(label, (list, dict)):
                    raise GanfoldError(f"{title}, line {line}: a label must be a text or a number, not {label!r:.60}")
                if label is not None and label != "":
                    labels[place] = numbers.setdefault(str(label), len(numbers))
                text = json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass")
                places[place] = out.tell(), len(text)
                out.write(text)
            if not seen_files:
                listing.notes.append(f"No row of {title} names a file that is there.")
    _report_missing(listing, places[:, 1] > 0, labels >= 0, strict, bool(numbers), scopes)
    listing.rows = (scratch / "rows.bin", places)
    if numbers:
        listing.classes = sorted_classes(numbers)
        order = np.array([listing.classes.index(name) for name in numbers] + [-1])  # the last serves label -1
        listing.labels = order[labels]
    elif strict:
        listing.labels = np.where(places[:, 1] > 0, 0, -1)


def _report_missing(
    listing: Listing, rows: np.ndarray, labelled: np.ndarray, strict: bool, classes: bool, scopes: list[str]
) -> None:
    if classes or strict:
        for place in np.flatnonzero(~(labelled if classes else rows)).tolist():
            listing.skip(listing.names[place], "no label in the metadata" if rows[place] else "no row in the metadata")
    elif not rows.all():
        outside = [listing.names[i] for i in np.flatnonzero(~rows).tolist()]
        bare = [name for name in outside if name.startswith(tuple(scopes))]
        if bare:
            listing.notes.append(
                f"{counted(len(bare))} without a row in the metadata, used all the same (such as {shown(bare[0])})."
            )


def _file_column(row: dict[str, Any], where: str) -> str:
    columns = [key for key in row if key == "file_name"] or [key for key in row if key.endswith("_file_name")]
    if not columns or not isinstance(row[columns[0]], str) or not row[columns[0]]:
        raise GanfoldError(f"{where}: it needs a column file_name with the name of an image")
    return columns[0]


def _rows(name: str, title: str, content: BinaryIO) -> Iterator[tuple[int, dict[str, Any]]]:
    text = io.TextIOWrapper(content, encoding="utf-8-sig", newline="")
    line = 0
    try:
        if name.endswith(".csv"):
            table = csv.DictReader(text, strict=True)
            for row in table:
                line = table.line_num
                if None in row or None in row.values():
                    raise GanfoldError(f"{title}, line {line}: it has not as many fields as the first line")
                yield (
                    line,
                    {key: value if key.endswith("file_name") else _value(value) for key, value in row.items()},
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
    except (csv.Error, ValueError) as error:
        raise GanfoldError(f"{title}, line {line}: {error}") from error


def _value(text: str) -> str | int | float | None:
    """A field of a csv as the number it is, if nothing is lost by that (not 007)."""
    if not text:
        return None
    if re.fullmatch(r"-?(0|[1-9]\d{0,17})", text):
        return int(text)
    return float(text) if re.fullmatch(r"-?(0|[1-9]\d*)\.\d+", text) else text
