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

Pack = Literal["folder", "parquet", "webdataset"]
NAMES = {"parquet": "train.parquet", "webdataset": "train.tar"}
AT_ONCE = 1000  # rows of parquet that are held in memory


def refuse(form: Pack) -> None:
    """Raises GanfoldError: what this form needs is not installed, or there is no such form."""
    if form not in ("folder", *NAMES):
        raise GanfoldError(f"there is no format {form!r} (known: folder, parquet, webdataset)")
    if form == "parquet":
        try:
            import datasets  # noqa: F401
        except ImportError as error:
            raise GanfoldError("--format parquet needs Hugging Face datasets: pip install 'ganfold[hub]'") from error


def pack(folder: Path, classes: tuple[str, ...], form: Pack, out: Path) -> None:
    """Write `train.parquet` or `train.tar` into `out`, a row for each line of the folder's manifest.

    Parquet: `image`, `label` with the classes' names, and the manifest's other columns. Webdataset: a `.png` (what is
    none becomes one, upright), `.cls`, the number of the class, and `.json`, its line of the manifest.
    """
    write = {"parquet": _parquet, "webdataset": _tar}[form]
    write_atomically(out / NAMES[form], lambda temporary: write(folder, classes, temporary))


def _lines(folder: Path) -> Iterator[dict[str, str]]:
    with open(folder / "manifest.csv", encoding="utf-8", errors="surrogateescape", newline="") as file:
        yield from csv.DictReader(file)


def _parquet(folder: Path, classes: tuple[str, ...], path: Path) -> None:
    import datasets
    import pyarrow
    import pyarrow.parquet

    features: dict[str, Any] = {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(classes))}
    features |= {name: datasets.Value("string") for name in ("file", "kind", "origin", "seed", "agreement", "distance")}
    schema = datasets.Features(features).arrow_schema
    lines = _lines(folder)
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        while some := list(islice(lines, AT_ONCE)):
            rows = [
                line
                | {"image": {"bytes": (folder / line["file"]).read_bytes(), "path": Path(line["file"]).name}}
                | {"label": classes.index(line["class"])}
                for line in some
            ]
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))


def _tar(folder: Path, classes: tuple[str, ...], path: Path) -> None:
    with tarfile.open(path, "w") as tar:
        for number, line in enumerate(_lines(folder)):
            parts = {
                "png": _png(folder / line["file"]),
                "cls": str(classes.index(line["class"])).encode(),
                "json": json.dumps(line).encode(),
            }
            for suffix, content in parts.items():
                about = tarfile.TarInfo(f"{number:08d}.{suffix}")
                about.size = len(content)
                tar.addfile(about, io.BytesIO(content))


def _png(path: Path) -> bytes:
    with Image.open(path) as picture:
        if picture.format == "PNG":
            return path.read_bytes()
        file = io.BytesIO()
        ImageOps.exif_transpose(picture).save(file, "PNG")
        return file.getvalue()
