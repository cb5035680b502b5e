"""`load`: any source of pictures, by its path or name, as one memory-mapped array."""

from __future__ import annotations

import contextlib
import importlib.resources
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ganfold.data import sheet
from ganfold.data.cache import default_cache
from ganfold.data.captions import Captions
from ganfold.data.prepare import Wanted, check_resolution, prepare
from ganfold.data.sources import arrays, hub, scenes, tree
from ganfold.data.sources.decode import Fit
from ganfold.data.sources.findings import Findings
from ganfold.data.sources.source import Source, of_class
from ganfold.data.sources.strings import Rows
from ganfold.errors import GanfoldError, did_you_mean

BUNDLED = {"avatars": "avatars.zip", "digits": "digits.npz", "scenes": ""}  # that without a file is derived
_KINDS = [".zip", ".npz", ".npy", ".gz", ".parquet", ".tar", ".bin", ".png", ".jpg", ".jpeg", ".webp", ".csv", ".jsonl"]


@dataclass(frozen=True)
class ImageSet:
    """Pictures ready for training: every image that is used, training and held-out part together."""

    images: np.ndarray  # uint8 memory map (N, C, H, W)
    labels: np.ndarray | None  # int64 memory map (N,), numbers into `classes`; None where there are no classes
    classes: tuple[str, ...]  # () where there are none
    attributes: Sequence[dict[str, Any]] | None  # metadata of image i, read from disk when asked; None: no metadata
    names: Sequence[str]  # where image i came from: the file below the source, or "images[17]"
    train: np.ndarray  # int64, ascending: the images to train on
    held_out: np.ndarray  # int64, ascending: the images that never enter training; may be empty
    fingerprint: str  # hex digest of pixels, labels, classes and held-out part
    source: str  # as the user gave it
    findings: Findings  # the data doctor's report
    inputs: ImageSet | None = None  # what these images are to be made from: see `pairs` and `domains`
    partner: np.ndarray | None = None  # int64 (N,): the row of `inputs` that belongs to image i; None: unpaired
    captions: Captions | None = None  # texts and places: see `captioned`

    @property
    def resolution(self) -> int:
        return int(self.images.shape[2])

    @property
    def channels(self) -> int:
        return int(self.images.shape[1])

    @property
    def class_counts(self) -> list[int]:
        """How many training images each class has; [] where there are no classes."""
        return [] if self.labels is None else np.bincount(self.labels[self.train], minlength=len(self.classes)).tolist()

    def __len__(self) -> int:
        return len(self.images)


def load(
    source: str | Path | Source,
    *,
    name: str | None = None,
    resolution: int | Callable[[int], int] | None = None,
    channels: int | None = None,
    fit: Fit = "crop",
    held_out: float | None = None,
    keep_duplicates: bool = False,
    cache: Path | None = None,
    progress: bool = True,
) -> ImageSet:
    """The pictures of `source`, prepared once and found in the cache afterwards.

    Args:
        source: a folder or zip of pictures, an `.npz` or `.npy`, MNIST's, CIFAR-10's or STL-10's own files,
            parquet or webdataset files, a hub id `owner/name`, or as a `str` a bundled set (avatars, digits, scenes),
            or one class of it (avatars/toon-head).
        name: what to call it [as it was given].
        resolution: side in px, 8 to 1024; a function from the data's own (its median shorter side) to the one
            wanted; None for the data's own.
        channels: 1, 3 or 4; None: 1 if all pictures are grey, else 3.
        fit: what becomes of pictures that are not square.
        held_out: fraction kept out of training, 0 to 0.5; None: 10 % up to 5,000 images, none of under 500.
        keep_duplicates: use images of equal pixels as often as they come: generated ones, where repetition tells.
        cache: folder for prepared sets; None: `$GANFOLD_CACHE`, else `~/.cache/ganfold`.
        progress: show a bar while preparing, if stderr is a terminal.

    Raises:
        GanfoldError: the source is not there or holds no usable picture, or an argument is out of range.
    """
    if isinstance(resolution, int):
        check_resolution(resolution)
    if channels not in (None, 1, 3, 4):
        raise GanfoldError(f"channels {channels} is none of 1 (grey), 3 (colour), 4 (colour and transparency)")
    if fit not in ("crop", "pad", "stretch"):
        raise GanfoldError(f"fit {fit!r} is none of crop, pad, stretch{did_you_mean(fit, ['crop', 'pad', 'stretch'])}")
    if held_out is not None and not 0 <= held_out <= 0.5:
        raise GanfoldError(f"held-out {held_out} is out of range: a fraction from 0 to 0.5")
    name = name or str(source)
    wanted = Wanted(resolution, channels, fit, held_out, keep_duplicates)
    made = prepare(
        source if isinstance(source, Source) else find(source),
        name,
        wanted,
        cache or default_cache(),
        progress=progress,
    )
    inside = np.ones(len(made.images), bool)
    inside[made.held_out] = False
    made.findings.source = name  # the entry may have been made under another spelling
    return ImageSet(
        images=made.images,
        labels=made.labels,
        classes=tuple(made.findings.classes),
        attributes=Rows(made.rows) if made.rows else None,
        names=made.names,
        train=np.flatnonzero(inside),
        held_out=made.held_out,
        fingerprint=made.fingerprint,
        source=name,
        findings=made.findings,
    )


def native(source: str | Path, *, cache: Path | None = None, progress: bool = True) -> int:
    """The median shorter side of the pictures, in px, before any is decoded; see `load`."""
    sides: list[int] = []

    def look(side: int) -> int:
        sides.append(side)
        raise _Seen

    with contextlib.suppress(_Seen):
        load(source, resolution=look, cache=cache, progress=progress)
    return sides[0]


class _Seen(Exception):
    pass


def drawn(indices: np.ndarray, count: int, seed: int) -> np.ndarray:
    """So many of these images at most, drawn by the seed, in ascending order."""
    return np.sort(np.random.default_rng(seed).permutation(indices)[:count])


def check(
    source: str | Path,
    *,
    resolution: int | Callable[[int], int] | None = None,
    channels: int | None = None,
    fit: Fit = "crop",
    held_out: float | None = None,
    cache: Path | None = None,
    progress: bool = True,
    contact_sheet: Path | None = None,
) -> Findings:
    """What is in `source`, what would be used and what is wrong with which file; see `load` for the arguments.

    `contact_sheet` names a PNG to write with a sample of the images.
    """
    images = load(
        source,
        resolution=resolution,
        channels=channels,
        fit=fit,
        held_out=held_out,
        cache=cache,
        progress=progress,
    )
    if contact_sheet:
        sheet.contact_sheet(images, contact_sheet)
    return images.findings


def find(source: str | Path) -> Source:
    """Which kind of source this is.

    Raises:
        GanfoldError: there is no such thing.
    """
    if source == "scenes":
        return scenes.scenes()
    if isinstance(source, str) and source in BUNDLED:
        path = Path(str(importlib.resources.files("ganfold.data") / "bundled" / BUNDLED[source]))
    else:
        path = Path(source).expanduser()
    try:
        path.stat()
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not path.is_symlink():
            bundled, _, label = str(source).partition("/")
            if label and bundled in BUNDLED:
                return of_class(find(bundled), label, bundled)
            return _absent(str(source), path)
        raise GanfoldError(f"cannot read {source}: {_why(path, error)}") from error
    try:
        return _folder(path) if path.is_dir() else _file(path)
    except OSError as error:
        raise GanfoldError(f"cannot read {source}: {error.strerror or error}") from error


def _why(path: Path, error: OSError) -> str:
    if path.is_symlink() and isinstance(error, FileNotFoundError):
        return f"it is a broken link to {os.readlink(path)}"
    return error.strerror or str(error)


def _absent(source: str, path: Path) -> Source:
    like = re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", source)
    if like and not path.parent.exists() and path.suffix.lower() not in _KINDS:
        return hub.hub(source)
    beside = os.listdir(path.parent) if path.parent.is_dir() else []
    near = did_you_mean(path.name, beside) or did_you_mean(source, BUNDLED)
    raise GanfoldError(f"no such file or folder: {source}{near}")


def _folder(path: Path) -> Source:
    inner = path
    while len(names := _visible(inner)) == 1 and (inner / names[0]).is_dir() and not (inner / names[0]).is_symlink():
        inner /= names[0]
    # of a set in parts the training part; another is had by giving its own path
    if found := _matching(inner, names, arrays.IDX.pattern):
        return arrays.idx(_training(found)[0])
    if found := _matching(inner, names, r"^data_batch_\d+\.bin$"):
        return arrays.cifar(found)
    if found := _matching(inner, names, r"_X\.bin$"):
        return arrays.stl(_training(found)[0])
    for kind, suffix in (("parquet", r"\.parquet$"), ("webdataset", r"\.tar$")):
        found = _matching(inner, names, suffix)
        if not found and "data" in names and (inner / "data").is_dir():  # as the hub lays its sets out
            found = _matching(inner / "data", _visible(inner / "data"), suffix)
        if found:
            return hub.files(kind, _training(found))
    del names  # there may be millions
    return tree.folder(path)


def _visible(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))


def _matching(folder: Path, names: list[str], pattern: str) -> list[Path]:
    return [folder / name for name in names if re.search(pattern, name)]


def _training(found: list[Path]) -> list[Path]:
    return [path for path in found if path.name.startswith("train")] or found


def _file(path: Path) -> Source:
    with open(path, "rb") as file:
        start = file.read(8)
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return arrays.npz(path)
    if start.startswith(b"\x93NUMPY"):
        return arrays.npy(path)
    if start.startswith((b"PK\3\4", b"PK\5\6")) or suffix == ".zip":
        return tree.zipped(path)
    if suffix == ".parquet" or start.startswith(b"PAR1"):
        return hub.files("parquet", [path])
    if suffix == ".tar":
        return hub.files("webdataset", [path])
    if arrays.IDX.search(path.name) or start[:4] == b"\0\0\x08\x03":
        return arrays.idx(path)
    if path.name.endswith("_X.bin"):
        return arrays.stl(path)
    if re.fullmatch(r"(data|test)_batch(_\d+)?\.bin", path.name):
        return arrays.cifar([path])
    raise GanfoldError(
        f"{path} is none of the files that can be read: a folder or zip of images, .npz, .npy, IDX, .parquet, .tar"
    )
