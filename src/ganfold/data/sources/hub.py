"""Parquet files, webdataset tars and sets of the Hugging Face hub, read by the library `datasets`."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import tarfile
import zlib
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from ganfold.data.sources.decode import Unusable
from ganfold.data.sources.readers import LARGEST, Packed, content_below
from ganfold.data.sources.source import Listing, Source, classes_from, key_of, states
from ganfold.data.sources.strings import Numbered
from ganfold.errors import GanfoldError

IMAGES = ("image", "img", "images", "jpg", "jpeg", "png", "webp", "picture", "pixel_values")
PACKED: dict[str, Callable[[IO[bytes]], Any]] = {  # members of a tar that `datasets` unpacks
    ".gz": gzip.open, ".gzip": gzip.open, ".bz2": bz2.open, ".xz": lzma.open,
}  # fmt: skip
PLAIN = ("binary", "large_binary", "string", "large_string")  # types of a column of contents, or of names of files
ROWS = 64  # of a parquet file that are in memory at once
LABELS = ("label", "labels", "cls", "class", "fine_label", "target")


def files(kind: str, paths: list[Path]) -> Source:
    """Parquet files (`kind` "parquet") or tars ("webdataset"), read in order as one set."""
    path = paths[0] if len(paths) == 1 else paths[0].parent
    data_files = [str(file.resolve()) for file in paths]
    return Source(
        key_of(kind, path.resolve(), states(paths)),
        _listing(lambda datasets: _stream(datasets, kind, data_files), str(path), paths[0].parent),
    )


def hub(name: str) -> Source:
    """The part `train` of a set of the hub, or its first part.

    The key is made of the name alone: a set in the cache needs no network.
    """
    return Source(key_of("hub", name), _listing(lambda datasets: _stream(datasets, name, None), name, None))


def _stream(datasets: Any, name: str, data_files: list[str] | None) -> Any:
    if name == "webdataset":
        for path in data_files or ():
            _refuse_large_members(Path(path))
    if name == "parquet" and data_files and (rows := _ParquetRows.of(datasets, data_files)):
        return rows
    parts = datasets.load_dataset(name, data_files=data_files, streaming=True)
    return parts.get("train") or next(iter(parts.values()))


@dataclass(frozen=True)
class _ParquetRows:
    """The rows of parquet files, some at a time. `datasets` reads a whole group of rows: it may hold a million images.

    Nothing is decoded: a row's image is what the file holds of it.
    """

    files: list[str]
    features: Any  # of `datasets`

    @classmethod
    def of(cls, datasets: Any, files: list[str]) -> _ParquetRows | None:
        """The rows; None if the files differ in their columns, or hold images as lists: `datasets` converts these."""
        import pyarrow
        from pyarrow import parquet

        schemas = [parquet.read_schema(file) for file in files]
        features = datasets.Features.from_arrow_schema(schemas[0])
        image = _column(features, IMAGES, datasets.Image)
        if image is None or any(
            schema.types != schemas[0].types or schema.names != schemas[0].names for schema in schemas
        ):
            return None
        kind = schemas[0].field(image).type
        is_plain = any(getattr(pyarrow.types, f"is_{name}")(kind) for name in PLAIN)
        is_pair = pyarrow.types.is_struct(kind) and {field.name for field in kind} == {"bytes", "path"}
        return cls(files, features) if is_plain or is_pair else None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        from pyarrow import parquet

        for path in self.files:
            with parquet.ParquetFile(path, buffer_size=2**20, pre_buffer=False) as file:
                for rows in file.iter_batches(ROWS):
                    yield from rows.to_pylist()


def _refuse_large_members(path: Path) -> None:
    """See that no member of a tar is too large. `datasets` reads each into memory, and a sparse one takes no space.

    Raises:
        GanfoldError: one is.
    """
    try:
        with tarfile.open(path) as tar:
            while member := tar.next():
                tar.members = []  # type: ignore[attr-defined]  # a million of them take a gigabyte
                if (size := _unpacked_size(tar, member)) > LARGEST:
                    raise GanfoldError(
                        f"{path} is refused: its member {member.name!r} unpacks to {size:,} bytes, "
                        f"and {LARGEST:,} are the most for one"
                    )
    except (tarfile.TarError, EOFError):  # `datasets` says what is wrong
        pass


def _unpacked_size(tar: tarfile.TarFile, member: tarfile.TarInfo) -> int:
    """The bytes that `datasets` reads of a member: it unpacks one that is packed. Counting ends at `LARGEST`."""
    suffix = Path(member.name).suffix.lower()
    content = tar.extractfile(member) if suffix in PACKED and member.size <= LARGEST else None
    if content is None:
        return member.size
    size = 0
    with suppress(OSError, EOFError, zlib.error, lzma.LZMAError), PACKED[suffix](content) as unpacked:
        while size <= LARGEST and (part := unpacked.read(2**20)):
            size += len(part)
    return max(size, member.size)


def _listing(stream: Callable[[Any], Any], source: str, folder: Path | None) -> Callable[[Path], Listing]:
    def listing(scratch: Path) -> Listing:
        try:
            import datasets
        except ImportError as error:
            raise GanfoldError(
                f"{source} is read with Hugging Face datasets, which is not installed: pip install 'ganfold[hub]'"
            ) from error
        datasets.disable_progress_bars()
        datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # what matters comes as an exception too
        try:
            return _spool(datasets, stream(datasets), source, folder, scratch)
        except (GanfoldError, MemoryError):
            raise
        except Exception as error:  # no network, a damaged file, ...
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise GanfoldError(f"cannot read {source} with Hugging Face datasets: {first}") from error

    return listing


def _spool(datasets: Any, stream: Any, source: str, folder: Path | None, scratch: Path) -> Listing:
    """Write the encoded images end to end into one file of `scratch`, and the other columns as JSON into another.

    A row may name a file below `folder` in place of an image. One that names any other file is left out.
    """
    if not isinstance(stream, _ParquetRows):
        stream = stream if stream.features else stream._resolve_features()
    features = stream.features
    image = _column(features, IMAGES, datasets.Image)
    if image is None:
        raise GanfoldError(f"{source} has no column of images; its columns are {', '.join(features)}")
    label = _column(features, LABELS, datasets.ClassLabel)
    if not isinstance(stream, _ParquetRows):
        stream = _undecoded(datasets, stream, image)
    others = [name for name in features if name not in (image, label) and "decode=" in repr(features[name])]
    table, places, numbers, labels, refused = array("q"), array("q"), array("q"), [], []
    with open(scratch / "images.bin", "wb") as images, open(scratch / "rows.bin", "wb") as rows:
        for number, row in enumerate(stream):
            encoded = row.pop(image) or {}
            if not isinstance(encoded, dict):  # a plain column of contents, or of names of files
                encoded = {"bytes" if isinstance(encoded, bytes) else "path": encoded}
            for name in others:  # more images, sounds, films
                row.pop(name)
            content = encoded.get("bytes")
            if content is None:
                try:
                    content = content_below(folder, encoded["path"]) if encoded.get("path") else b""
                except Unusable as error:
                    refused.append((f"{image}[{number}]", str(error)))
                    continue
            table.extend((images.tell(), len(content), len(content), -1, -1))
            images.write(content)
            numbers.append(number)
            labels.append(row.pop(label) if label else None)
            text = json.dumps(dict(_serializable(row)), ensure_ascii=False).encode("utf-8", "replace")
            places.extend((rows.tell(), len(text)))
            rows.write(text)
    np.save(scratch / "table.npy", np.frombuffer(table, np.int64).reshape(-1, 5))
    names = Numbered(image, np.frombuffer(numbers, np.int64))
    listed = Listing(Packed(scratch / "images.bin", scratch / "table.npy"), names)
    listed.size = (scratch / "images.bin").stat().st_size
    for name, why in refused:
        listed.skip(name, why)
    if len(features) > 1 + (label is not None):
        listed.rows = (scratch / "rows.bin", np.frombuffer(places, np.int64).reshape(-1, 2))
    if label:
        _label(listed, labels, getattr(features[label], "names", None))
        if others := [name for name in features if name != label and name.lower() in (*LABELS, "coarse_label")]:
            listed.notes.append(f"The labels are those of the column {label}, and not of {', '.join(others)}.")
    return listed


def _undecoded(datasets: Any, stream: Any, image: str) -> Any:
    """The stream with nothing decoded in any column: `datasets` would open whatever file a row names."""
    stream = stream.cast_column(image, datasets.Image(decode=False))
    if hasattr(stream, "decode"):
        return stream.decode(False)
    for name, feature in stream.features.items():  # datasets before 3.6
        if hasattr(feature, "decode"):
            stream = stream.cast_column(name, type(feature)(decode=False))
    return stream


def _label(listing: Listing, values: list[Any], class_names: list[str] | None) -> None:
    """Give the images their labels. Where classes have names, -1 means that an image has no label."""
    known = [value if value != -1 or not class_names else None for value in values]
    listing.labels, listing.classes = classes_from(known)
    if class_names and all(name.isdigit() and int(name) < len(class_names) for name in listing.classes):
        listing.classes = tuple(str(class_names[int(name)]) for name in listing.classes)
    for place in np.flatnonzero(listing.labels < 0).tolist():
        listing.skip(listing.names[place], "no label")


def _column(features: Any, names: tuple[str, ...], kind: type) -> str | None:
    """The best column: a usual name of the right type, then any of that type, then a usual name."""
    typed = [name for name, feature in features.items() if isinstance(feature, kind)]
    named = [name for name in names if name in features]
    return next(iter([name for name in named if name in typed] + typed + named), None)


def _serializable(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The columns that JSON can hold; images, sounds and raw bytes are left out."""
    for key, value in row.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            continue
        yield key, value
