"""Sources that are arrays: npz, npy, MNIST's IDX, and the binary files of CIFAR-10 and STL-10."""

from __future__ import annotations

import errno
import gzip
import math
import re
import shutil
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np

from ganfold.data.sources.findings import shown
from ganfold.data.sources.readers import Records
from ganfold.data.sources.source import Listing, Source, classes_from, key_of, states
from ganfold.errors import GanfoldError

IMAGES = ("images", "image", "x", "x_train", "train_images", "data")
LABELS = ("labels", "label", "y", "y_train", "train_labels", "targets")
CLASSES = ("classes", "class_names", "label_names")
LARGEST_LABELS = 2**30  # bytes of an array of labels
IDX = re.compile(r"images[-.]idx3[-.]ubyte(\.gz)?$")
Shapes = dict[str, tuple[tuple[int, ...], np.dtype[Any]]]


def npz(path: Path) -> Source:
    """The images of an `.npz`. They are unpacked to the scratch folder, not to memory."""

    def listing(scratch: Path) -> Listing:
        with _readable(path), zipfile.ZipFile(path) as archive:
            members = {name.removesuffix(".npy"): name for name in archive.namelist()}
            shapes = {}
            for key, name in members.items():
                with archive.open(name) as file:
                    shapes[key] = _header(file)[:2]
            chosen = _pick(shapes, IMAGES) or _only(key for key, (shape, _) in shapes.items() if len(shape) in (3, 4))
            if not chosen:
                raise GanfoldError(f"{path} has no array named images or x; it holds {_held(shapes, shapes)}")
            _axes(*shapes[chosen], f"the array {chosen} of {path}")  # before it is unpacked
            with archive.open(members[chosen]) as packed, open(scratch / "images.npy", "wb") as out:
                shutil.copyfileobj(packed, out, 2**20)
        listed = _array(scratch / "images.npy", f"the array {chosen} of {path}", scratch)
        fitting = (key for key, array in shapes.items() if key != chosen and _fits(*array, len(listed.names)))
        labels = _pick(shapes, LABELS) or _only(fitting)
        names = _pick(shapes, CLASSES) if labels else None
        if labels:
            _label(listed, path, labels, names, shapes)
            if labels.lower() not in LABELS:
                listed.notes.append(f"The array {shown(labels)} fits the images, and is read as their labels.")
        if others := [key for key in shapes if key not in (chosen, labels, names)]:
            listed.notes.append(f"Not read of {path.name}: {_held(others, shapes)}.")
        return listed

    return Source(key_of("npz", path.resolve(), states([path])), listing)


def _held(keys: Iterable[str], shapes: Shapes) -> str:
    """Names, types and shapes of arrays, in words."""
    return ", ".join(f"{shown(key)} {shapes[key][1]} {shapes[key][0]}" for key in keys) or "nothing"


def _fits(shape: tuple[int, ...], dtype: np.dtype[Any], count: int) -> bool:
    """Whether an array without a usual name can be only labels: one whole number or text for each image."""
    return shape in ((count,), (count, 1)) and dtype.kind in "iubSU"


def _label(listed: Listing, path: Path, labels: str, names: str | None, shapes: Shapes) -> None:
    """Give the images the labels of an `.npz`. What its headers promise is compared before memory is taken for it."""
    for key in filter(None, (labels, names)):
        shape, dtype = shapes[key]
        _no_objects(dtype, f"{key} of {path}")
        if math.prod(shape) * dtype.itemsize > LARGEST_LABELS:
            raise GanfoldError(f"{key} of {path} has the shape {shape} of {dtype}, which is too large for labels")
    if names and len(shapes[names][0]) != 1:
        raise GanfoldError(f"{names} of {path} has the shape {shapes[names][0]}; a list of names is needed")
    _as_many(shapes[labels][0], len(listed.names), f"{labels} of {path}")
    with _readable(path), np.load(path, allow_pickle=False) as arrays:
        listed.labels, listed.classes = _labels(arrays[labels], len(listed.names), f"{labels} of {path}")
        if names:
            known = [_text(name) for name in arrays[names].tolist()]
            if all(name.isdecimal() and int(name) < len(known) for name in listed.classes):
                listed.classes = tuple(known[int(name)] for name in listed.classes)


def npy(path: Path) -> Source:
    """The images of an `.npy`, read where the file lies."""
    return Source(
        key_of("npy", path.resolve(), states([path])),
        lambda scratch: _array(path.resolve(), str(path), scratch),
    )


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of files that Python 2 wrote
        shape, fortran, dtype = read(file)
    return shape, dtype, fortran


def _no_objects(dtype: np.dtype[Any], what: str) -> None:
    if dtype.hasobject:
        raise GanfoldError(f"{what} holds pickled Python objects, which could run code: save it as plain numbers")


def _pick(keys: Iterable[str], candidates: Sequence[str]) -> str | None:
    """The first candidate that is a key in any case, as the key is written."""
    lower = {key.lower(): key for key in keys}
    return next((lower[name] for name in candidates if name in lower), None)


def _only(keys: Iterable[str]) -> str | None:
    """The key if there is exactly one."""
    every = list(keys)
    return every[0] if len(every) == 1 else None


def _array(path: Path, what: str, scratch: Path) -> Listing:
    """The images of an `.npy` file; `what` names it in errors."""
    with _readable(what), open(path, "rb") as file:
        shape, dtype, fortran = _header(file)
        offset = file.tell()
    axes = _axes(shape, dtype, what)
    if path.stat().st_size - offset < math.prod(shape):  # of Python's integers, which do not overflow
        raise GanfoldError(f"{what} is cut short: it holds less than its shape {shape} says")
    if fortran:
        return _array(_in_rows(path, shape, scratch / "in_rows.npy"), what, scratch)
    return _listed(Records(((path, offset, shape[0]),), math.prod(shape[1:]), shape[1:], axes))


def _axes(shape: tuple[int, ...], dtype: np.dtype[Any], what: str) -> tuple[int, ...]:
    """The order of an image's axes that gives (H, W) or (H, W, C); see `Records`.

    Raises:
        GanfoldError: an array of this shape and type holds no images.
    """
    _no_objects(dtype, what)
    if dtype.kind in "iu" and dtype != np.uint8:
        raise GanfoldError(
            f"{what} is {dtype}, not uint8 from 0 to 255: save x.astype('uint8') if it runs from 0 to 255, "
            "(x // 257).astype('uint8') if to 65535"
        )
    if dtype != np.uint8:
        raise GanfoldError(
            f"{what} is {dtype}, not uint8 from 0 to 255: save (x * 255).round().astype('uint8') if it runs "
            "from 0 to 1, ((x + 1) * 127.5).round().astype('uint8') if from -1 to 1"
        )
    if 0 in shape or min(shape, default=0) < 0:
        raise GanfoldError(f"{what} has the shape {shape}: it holds no images")
    if len(shape) == 3:
        return 0, 1
    if len(shape) == 4 and shape[3] in (1, 3, 4):
        return 0, 1, 2
    if len(shape) == 4 and shape[1] in (1, 3, 4):
        return 1, 2, 0
    raise GanfoldError(f"{what} has the shape {shape}; (N, H, W), (N, H, W, C) or (N, C, H, W) is needed")


def _in_rows(path: Path, shape: tuple[int, ...], target: Path) -> Path:
    """Write an `.npy` that is stored column by column once more, row by row.

    Plain writes, not a memory map: there a full disk kills the process.
    """
    columns = np.load(path, mmap_mode="r", allow_pickle=False)
    at_once = max(1, 2**26 // math.prod(shape[1:]))
    with open(target, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": columns.dtype.str, "fortran_order": False, "shape": shape})
        for start in range(0, shape[0], at_once):
            file.write(columns[start : start + at_once].tobytes())
    return target


def _listed(reader: Records) -> Listing:
    count = sum(count for _, _, count in reader.files)
    return Listing(reader, [f"images[{i}]" for i in range(count)], size=count * reader.stride)


def _labels(values: np.ndarray, count: int, what: str) -> tuple[np.ndarray, tuple[str, ...]]:
    _as_many(values.shape, count, what)
    if values.dtype.kind not in "iufbSU":
        raise GanfoldError(f"{what} is {values.dtype}; whole numbers or names are needed")
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and (values == np.round(values)).all()):
        raise GanfoldError(f"{what} holds fractions; classes are needed")
    flat = (values.astype(np.int64) if values.dtype.kind in "fb" else values).ravel().tolist()
    return classes_from([_text(value) for value in flat] if values.dtype.kind == "S" else flat)


def _as_many(shape: tuple[int, ...], count: int, what: str) -> None:
    if math.prod(shape) != count:
        raise GanfoldError(f"{what} has the shape {shape}; one label for each of the {count:,} images is needed")


def _text(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def idx(path: Path) -> Source:
    """MNIST's format: an IDX file of images, plain or gzipped, with the file of its labels beside it."""
    beside = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    stem = beside.name.removesuffix(".gz")
    near = (beside.with_name(stem), beside.with_name(stem + ".gz"), path.parent.parent / stem / stem)
    labels = next((file for file in near if file.is_file() and file != path), None)

    def listing(scratch: Path) -> Listing:
        content, (count, height, width) = _idx(path, 3, scratch / "images")
        listed = _listed(Records(((content.resolve(), 16, count),), height * width, (height, width), (0, 1)))
        if labels:
            file, (many,) = _idx(labels, 1, scratch / "labels")
            listed.labels, listed.classes = _labels(np.fromfile(file, np.uint8, many, offset=8), count, str(labels))
        return listed

    return Source(key_of("idx", path.resolve(), states([path, labels] if labels else [path])), listing)


def _idx(path: Path, dimensions: int, scratch: Path) -> tuple[Path, tuple[int, ...]]:
    """An IDX file that is not compressed, and the shape in its header; one in `.gz` is unpacked to `scratch`."""
    with _readable(path), _plain(path) as file:
        head = file.read(4 + 4 * dimensions)
        if head[:4] != bytes((0, 0, 8, dimensions)) or len(head) < 4 + 4 * dimensions:
            raise GanfoldError(f"{path} is not an IDX file of 1-byte {'images' if dimensions == 3 else 'labels'}")
        shape = tuple(int(size) for size in np.frombuffer(head, ">u4")[1:])
        if 0 in shape:
            raise GanfoldError(f"{path} has the shape {shape} in its header: it holds nothing")
        size = len(head) + math.prod(shape)
        if path.name.endswith(".gz") and size < 1100 * path.stat().st_size:  # gzip packs no better than this
            file.seek(0)
            with open(scratch, "wb") as out:
                while size > out.tell() and (part := file.read(min(2**20, size - out.tell()))):
                    out.write(part)
            path_read = scratch
        else:
            path_read = path  # of a larger size than its gzip can hold: this is cut short
    if path_read.stat().st_size < size:
        raise GanfoldError(f"{path} is cut short: its header promises {shape[0]:,} and it holds fewer")
    return path_read, shape


def _plain(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path)) if path.name.endswith(".gz") else open(path, "rb")


def cifar(paths: list[Path]) -> Source:
    """CIFAR-10's binary batches: records of a label byte and 3 x 32 x 32 values."""

    def listing(scratch: Path) -> Listing:
        files = tuple((path.resolve(), 1, _records(path, 3073)) for path in paths)
        listed = _listed(Records(files, 3073, (3, 32, 32), (1, 2, 0)))
        labels = np.concatenate([np.memmap(path, np.uint8, "r")[::3073] for path in paths])
        meta = paths[0].with_name("batches.meta.txt")
        names = meta.read_text(encoding="utf-8", errors="replace").split() if meta.is_file() else []
        listed.labels, listed.classes = _labels(labels, len(labels), str(paths[0].parent))
        if names and int(listed.classes[-1]) < len(names):
            listed.classes = tuple(names[int(name)] for name in listed.classes)
        return listed

    return Source(key_of("cifar", paths[0].resolve(), states(paths)), listing)


def stl(path: Path) -> Source:
    """STL-10's `*_X.bin`: 3 x 96 x 96 values, column by column. Labels, from 1, are in `*_y.bin` beside it."""
    labels, class_names = path.with_name(path.name.replace("_X", "_y")), path.with_name("class_names.txt")
    beside = [file for file in (labels, class_names) if file.is_file()]

    def listing(scratch: Path) -> Listing:
        count = _records(path, 27648)
        listed = _listed(Records(((path.resolve(), 0, count),), 27648, (3, 96, 96), (2, 1, 0)))
        if labels.is_file():
            listed.labels, listed.classes = _labels(np.fromfile(labels, np.uint8), count, str(labels))
            names = class_names.read_text(encoding="utf-8", errors="replace").split() if class_names.is_file() else []
            if names and int(listed.classes[-1]) <= len(names):
                listed.classes = tuple(names[int(name) - 1] for name in listed.classes)
        return listed

    return Source(key_of("stl", path.resolve(), states([path, *beside])), listing)


def _records(path: Path, size: int) -> int:
    """How many records of `size` bytes the file holds."""
    count, rest = divmod(path.stat().st_size, size)
    if rest or not count:
        raise GanfoldError(f"{path} is damaged: its length is not a multiple of {size:,} bytes")
    return count


@contextmanager
def _readable(what: Path | str) -> Iterator[None]:
    """Turn what NumPy, zipfile and gzip raise on a damaged file into one sentence."""
    try:
        yield
    except GanfoldError:
        raise
    except NotImplementedError as error:
        raise GanfoldError(f"{what} is packed in a way that cannot be read: save it again with numpy.savez") from error
    except Exception as error:  # hostile headers raise nearly anything: TokenError, struct.error, MemoryError, ...
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # of the disk, not of the content
        if "encrypted" in str(error):
            raise GanfoldError(f"{what} is encrypted: unpack it with its password first") from error
        raise GanfoldError(
            f"{what} is damaged: {str(error).splitlines()[0] if str(error) else 'it ends early'}"
        ) from error
