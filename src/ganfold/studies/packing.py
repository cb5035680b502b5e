"""The class folders of an augmented set as one file, for trainers that read parquet or webdataset."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from PIL import Image, ImageOps

from ganfold.errors import GanfoldError
from ganfold.files import write_atomically
from ganfold.studies.folder import out_of_cell

Format = Literal["folder", "parquet", "webdataset"]
FILES = {"parquet": "train.parquet", "webdataset": "train.tar"}
ROWS = 1000  # of parquet in memory at once


def check_format(format: Format) -> None:
    """See that a format can be written.

    Raises:
        GanfoldError: there is no such format, or its package is not installed.
    """
    if format not in ("folder", *FILES):
        raise GanfoldError(f"there is no format {format!r} (known: folder, parquet, webdataset)")
    if format == "parquet":
        try:
            import datasets  # noqa: F401
        except ImportError as error:
            raise GanfoldError("--format parquet needs Hugging Face datasets: pip install 'ganfold[hub]'") from error


def pack_folder(folder: Path, classes: tuple[str, ...], format: Format, out: Path) -> None:
    """Write `train.parquet` or `train.tar` into `out`, with a row for each line of the folder's manifest.

    Parquet has `image`, `label` with the names of the classes, and the other columns of the manifest. Webdataset has a
    `.png` (any other image becomes an upright one), `.cls`, the number of the class, and `.json`, the manifest's line.
    """
    write = {"parquet": _write_parquet, "webdataset": _write_tar}[format]
    write_atomically(out / FILES[format], lambda temporary: write(folder, classes, temporary))


def _manifest(folder: Path) -> Iterator[dict[str, str]]:
    with open(folder / "manifest.csv", encoding="utf-8", errors="surrogateescape", newline="") as file:
        for line in csv.DictReader(file):
            yield {name: out_of_cell(value) for name, value in line.items()}


def _write_parquet(folder: Path, classes: tuple[str, ...], path: Path) -> None:
    import datasets
    import pyarrow
    import pyarrow.parquet

    features: dict[str, Any] = {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(classes))}
    features |= {name: datasets.Value("string") for name in ("file", "kind", "origin", "seed", "agreement", "distance")}
    schema = datasets.Features(features).arrow_schema
    lines = _manifest(folder)
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        while some := list(islice(lines, ROWS)):
            rows = [
                line
                | {"image": {"bytes": (folder / line["file"]).read_bytes(), "path": Path(line["file"]).name}}
                | {"label": classes.index(line["class"])}
                for line in some
            ]
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))


def _write_tar(folder: Path, classes: tuple[str, ...], path: Path) -> None:
    with tarfile.open(path, "w") as tar:
        for number, line in enumerate(_manifest(folder)):
            members = {
                "png": _png(folder / line["file"]),
                "cls": str(classes.index(line["class"])).encode(),
                "json": json.dumps(line).encode(),
            }
            for suffix, content in members.items():
                info = tarfile.TarInfo(f"{number:08d}.{suffix}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def _png(path: Path) -> bytes:
    with Image.open(path) as image:
        if image.format == "PNG":
            return path.read_bytes()
        file = io.BytesIO()
        ImageOps.exif_transpose(image).save(file, "PNG")
        return file.getvalue()
