"""Parquet files, webdataset tars and sets of the Hugging Face hub, read by its own library `datasets`."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ganfold.data.sources.readers import Packed
from ganfold.data.sources.source import Listing, Source, classes_from, key_of, states
from ganfold.errors import GanfoldError

IMAGES = ("image", "img", "images", "jpg", "jpeg", "png", "webp", "picture", "pixel_values")
LABELS = ("label", "labels", "cls", "class", "fine_label", "target")


def files(kind: str, paths: list[Path]) -> Source:
    """Parquet files (`kind` "parquet") or tars ("webdataset"), read in order as one set."""
    where = paths[0] if len(paths) == 1 else paths[0].parent
    given = [str(path.resolve()) for path in paths]
    return Source(key_of(kind, where.resolve(), states(paths)), _listing(lambda d: _stream(d, kind, given), str(where)))


def hub(name: str) -> Source:
    """A set of the hub: its part `train`, or the first. The key is the name, so a cached set needs no network."""
    return Source(key_of("hub", name), _listing(lambda datasets: _stream(datasets, name, None), name))


def _stream(datasets: Any, name: str, given: list[str] | None) -> Any:
    parts = datasets.load_dataset(name, data_files=given, streaming=True)
    return parts.get("train") or next(iter(parts.values()))


def _listing(stream: Callable[[Any], Any], source: str) -> Callable[[Path], Listing]:
    def listing(scratch: Path) -> Listing:
        try:
            import datasets
        except ImportError as error:
            raise GanfoldError(
                f"{source} is read with Hugging Face datasets, which is not installed: pip install 'ganfold[hub]'"
            ) from error
        datasets.disable_progress_bars()
        try:
            return _spool(datasets, stream(datasets), source, scratch)
        except (GanfoldError, MemoryError):
            raise
        except Exception as error:  # anything from a missing network to a damaged file
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise GanfoldError(f"cannot read {source} with Hugging Face datasets: {first}") from error

    return listing


def _spool(datasets: Any, stream: Any, source: str, scratch: Path) -> Listing:
    """Write the encoded images end to end into one file of `scratch`, the other columns as rows of JSON."""
    features = stream.features or stream._resolve_features().features
    image = _column(features, IMAGES, datasets.Image)
    if image is None:
        raise GanfoldError(f"{source} has no column of images; its columns are {', '.join(features)}")
    label = _column(features, LABELS, datasets.ClassLabel)
    stream = stream.cast_column(image, datasets.Image(decode=False))
    table, places, labels, names = array("q"), array("q"), [], []
    with open(scratch / "images.bin", "wb") as images, open(scratch / "rows.bin", "wb") as rows:
        for number, row in enumerate(stream):
            held = row.pop(image) or {}
            content = held.get("bytes")
            if content is None:
                content = Path(held["path"]).read_bytes() if held.get("path") else b""
            table.extend((images.tell(), len(content), len(content), -1, -1))
            images.write(content)
            names.append(f"{image}[{number}]")
            labels.append(row.pop(label) if label else None)
            text = json.dumps(dict(_plain(row)), ensure_ascii=False).encode("utf-8", "replace")
            places.extend((rows.tell(), len(text)))
            rows.write(text)
    np.save(scratch / "table.npy", np.frombuffer(table, np.int64).reshape(-1, 5))
    found = Listing(Packed(scratch / "images.bin", scratch / "table.npy"), names)
    found.size = (scratch / "images.bin").stat().st_size
    if len(features) > 1 + (label is not None):
        found.rows = (scratch / "rows.bin", np.frombuffer(places, np.int64).reshape(-1, 2))
    if label:
        called = getattr(features[label], "names", None)
        known = [v if v != -1 or not called else None for v in labels]  # -1 stands for "no label" in hidden test sets
        found.labels, found.classes = classes_from(known)
        if called and all(name.isdigit() and int(name) < len(called) for name in found.classes):
            found.classes = tuple(str(called[int(name)]) for name in found.classes)
        for place in np.flatnonzero(found.labels < 0).tolist():
            found.skip(names[place], "no label")
    return found


def _column(features: Any, names: tuple[str, ...], kind: type) -> str | None:
    typed = [name for name, feature in features.items() if isinstance(feature, kind)]
    named = [name for name in names if name in features]
    return next(iter([name for name in named if name in typed] + typed + named), None)


def _plain(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The columns that JSON can hold: pictures, sounds and raw bytes are left out."""
    for key, value in row.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            continue
        yield key, value
