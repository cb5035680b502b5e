"""`metadata.csv` and `metadata.jsonl`, read like Hugging Face's `imagefolder`."""

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
    """Add metadata to a listing: classes from the column `label`, and rows from the other columns.

    Args:
        listing: the images, sorted by name.
        files: the metadata files: name in the source, name for errors, content.
        scratch: the folder to write the rows to.

    Raises:
        GanfoldError: a line cannot be read; names its file and number.
    """
    names = listing.names
    places = np.zeros((len(names), 2), np.int64)
    labels = np.full(len(names), -1, np.int64)
    numbers: dict[str, int] = {}
    strict = False  # leave out images without a row
    scopes = []
    with open(scratch / "rows.bin", "wb") as out:
        for name, title, content in files:
            folder = posixpath.dirname(name)
            scopes.append((folder + "/") if folder else "")
            has_match = False
            for line, row in _rows(name, title, content):
                column = _file_column(row, f"{title}, line {line}")
                # With labels, or with two files a row (such as image and mask), only images with a row are meant.
                strict |= "label" in row or sum(key.endswith("file_name") for key in row) > 1
                file = posixpath.normpath(posixpath.join(folder, str(row.pop(column))))
                label = row.pop("label", None)
                place = bisect_left(names, file)
                if place == len(names) or names[place] != file:
                    listing.skip(file, f"no such file: named in {name}, line {line}")
                    continue
                has_match = True
                if isinstance(label, (list, dict)):
                    raise GanfoldError(f"{title}, line {line}: a label must be a text or a number, not {label!r:.60}")
                if label is not None and label != "":
                    labels[place] = numbers.setdefault(str(label), len(numbers))
                text = json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass")
                places[place] = out.tell(), len(text)
                out.write(text)
            if not has_match:
                listing.notes.append(f"No row of {title} names a file that is there.")
    _report_missing(listing, places[:, 1] > 0, labels >= 0, strict, bool(numbers), scopes)
    listing.rows = (scratch / "rows.bin", places)
    if numbers:
        listing.classes = sorted_classes(numbers)
        order = np.array([listing.classes.index(name) for name in numbers] + [-1])  # index -1, no label, finds the last
        listing.labels = order[labels]
    elif strict:
        listing.labels = np.where(places[:, 1] > 0, 0, -1)


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


def _file_column(row: dict[str, Any], where: str) -> str:
    """The column with the name of the image; `where` names the line in errors."""
    columns = [key for key in row if key == "file_name"] or [key for key in row if key.endswith("_file_name")]
    if not columns or not isinstance(row[columns[0]], str) or not row[columns[0]]:
        raise GanfoldError(f"{where}: it needs a column file_name with the name of an image")
    return columns[0]


def _rows(name: str, title: str, content: BinaryIO) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a metadata file with their line numbers."""
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
    """A field of a CSV file as a number if it is one and loses nothing: "007" stays text."""
    if not text:
        return None
    if re.fullmatch(r"-?(0|[1-9]\d{0,17})", text):
        return int(text)
    return float(text) if re.fullmatch(r"-?(0|[1-9]\d*)\.\d+", text) else text
