"""`load`: any source of pictures, by its path or name, as one memory-mapped array."""

from __future__ import annotations

import importlib.resources
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ganfold.data import arrays, hub, sheet, tree
from ganfold.data.decode import Fit
from ganfold.data.doctor import Findings
from ganfold.data.prepare import Wanted, _check_resolution, prepare
from ganfold.data.source import Source
from ganfold.data.strings import Rows
from ganfold.errors import GanfoldError, did_you_mean

BUNDLED = {"avatars": "avatars.zip", "digits": "digits.npz"}
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

    @property
    def resolution(self) -> int:
        return int(self.images.shape[2])

    @property
    def channels(self) -> int:
        return int(self.images.shape[1])

    def __len__(self) -> int:
        return len(self.images)


def load(
    source: str | Path,
    *,
    resolution: int | Callable[[int], int] | None = None,
    channels: int | None = None,
    fit: Fit = "crop",
    held_out: float | None = None,
    cache: Path | None = None,
    progress: bool = True,
) -> ImageSet:
    """The pictures of `source`, prepared once and found in the cache afterwards.

    Args:
        source: a folder or zip of pictures, an `.npz` or `.npy`, MNIST's, CIFAR-10's or STL-10's own files,
            parquet or webdataset files, a hub id `owner/name`, or as a `str` a bundled set: avatars, digits.
        resolution: side in px, 8 to 1024; a function from the data's own (its median shorter side) to the one
            wanted; None for the data's own.
        channels: 1, 3 or 4; None: 1 if all pictures are grey, else 3.
        fit: what becomes of pictures that are not square.
        held_out: fraction kept out of training, 0 to 0.5; None: 10 % up to 5,000 images, none of under 500.
        cache: folder for prepared sets; None: `$GANFOLD_CACHE`, else `~/.cache/ganfold`.
        progress: show a bar while preparing, if stderr is a terminal.

    Raises:
        GanfoldError: the source is not there or holds no usable picture, or an argument is out of range.
    """
    if isinstance(resolution, int):
        _check_resolution(resolution)
    if channels not in (None, 1, 3, 4):
        raise GanfoldError(f"channels {channels} is none of 1 (grey), 3 (colour), 4 (colour and transparency)")
    if fit not in ("crop", "pad", "stretch"):
        raise GanfoldError(f"fit {fit!r} is none of crop, pad, stretch{did_you_mean(fit, ['crop', 'pad', 'stretch'])}")
    if held_out is not None and not 0 <= held_out <= 0.5:
        raise GanfoldError(f"held-out {held_out} is out of range: a fraction from 0 to 0.5")
    name = str(source)
    wanted = Wanted(resolution, channels, fit, held_out)
    made = prepare(find(source), name, wanted, cache or default_cache(), progress=progress)
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


def default_cache() -> Path:
    """`$GANFOLD_CACHE`, else `ganfold` in the user's cache folder."""
    if given := os.environ.get("GANFOLD_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ganfold"


def find(source: str | Path) -> Source:
    """Which kind of source this is.

    Raises:
        GanfoldError: there is no such thing.
    """
    if isinstance(source, str) and source in BUNDLED:
        path = Path(str(importlib.resources.files("ganfold.data") / "bundled" / BUNDLED[source]))
    else:
        path = Path(source).expanduser()
    try:
        path.stat()
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not path.is_symlink():
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
    while len(inside := [p for p in path.iterdir() if not p.name.startswith(".")]) == 1 and inside[0].is_dir():
        path = inside[0]
    inside.sort()
    names = [p.name for p in inside]
    # of a set in parts the training part; another is had by giving its own path
    if found := [p for p in inside if arrays.IDX.search(p.name)]:
        return arrays.idx(next((p for p in found if p.name.startswith("train")), found[0]))
    if found := [p for p in inside if re.fullmatch(r"data_batch_\d+\.bin", p.name)]:
        return arrays.cifar(found)
    if found := [p for p in inside if p.name.endswith("_X.bin")]:
        return arrays.stl(next((p for p in found if p.name.startswith("train")), found[0]))
    for kind, suffix in (("parquet", ".parquet"), ("webdataset", ".tar")):
        found = [p for p in inside if p.name.endswith(suffix)]
        found = found or (sorted((path / "data").glob("*" + suffix)) if "data" in names else [])
        if found:
            return hub.files(kind, [p for p in found if p.name.startswith("train")] or found)
    return tree.folder(path)


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
