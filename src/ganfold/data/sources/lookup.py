"""Which source a path or a name stands for."""

from __future__ import annotations

import importlib.metadata
import os
import re
from pathlib import Path

from ganfold.data.sources import arrays, hub, scenes, tree
from ganfold.data.sources.source import Source, bundled_file, key_of, of_class
from ganfold.errors import GanfoldError, did_you_mean

GROUP = "ganfold.sources"  # the entry points by which an installed package adds sources
BUNDLED = {"avatars": "avatars.zip", "digits": "digits.npz", "scenes": ""}  # `scenes` has no file: it is derived
_SUFFIXES = (  # a hub id never ends like this
    ".zip", ".npz", ".npy", ".gz", ".parquet", ".tar", ".bin", ".png", ".jpg", ".jpeg", ".webp", ".csv", ".jsonl",
)  # fmt: skip


def find_source(source: str | Path) -> Source:
    """The source that a path or a name stands for.

    A name goes before a path: "digits" is the bundled set, "./digits" a folder.

    Args:
        source: a path; or, as a `str`, a bundled set ("avatars"), one class of it ("avatars/toon-head"), a source of
            an installed package (NAME:REST, where NAME is an entry point of the group "ganfold.sources": a function of
            REST that returns a `Source`), or a hub id ("owner/name").

    Raises:
        GanfoldError: there is no such source, or it cannot be read.
    """
    if source == "scenes":
        return scenes.scenes()
    if isinstance(source, str) and (from_package := _from_package(source)):
        return from_package
    path = bundled_file(BUNDLED[source]) if isinstance(source, str) and source in BUNDLED else Path(source).expanduser()
    try:
        path.stat()
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not path.is_symlink():
            return _without_path(str(source), path)
        raise GanfoldError(f"cannot read {source}: {_reason(path, error)}") from error
    try:
        return _folder(path) if path.is_dir() else _file(path)
    except OSError as error:
        raise GanfoldError(f"cannot read {source}: {error.strerror or error}") from error


def _from_package(source: str) -> Source | None:
    """The source NAME:REST of an installed package; None where no package adds that name."""
    name, colon, rest = source.partition(":")
    points = importlib.metadata.entry_points(group=GROUP) if colon else ()
    point = next((point for point in points if point.name == name), None)
    if point is None:
        return None
    try:
        made = point.load()(rest)
    except GanfoldError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise GanfoldError(
            f"cannot read {source}: {point.value}, which an installed package adds, fails with "
            f"{type(error).__name__}: {reason}"
        ) from error
    if not isinstance(made, Source):
        raise GanfoldError(
            f"cannot read {source}: {point.value}, which an installed package adds, returns a {type(made).__name__} "
            "and no Source"
        )
    return Source(key_of(GROUP, name, made.key), made.list)  # no package can take the key of another source


def _without_path(source: str, path: Path) -> Source:
    """What a text stands for that is no path: one class of a bundled set, or a set of the hub."""
    bundled, _, label = source.partition("/")
    if label and bundled in BUNDLED:
        return of_class(find_source(bundled), label, bundled)
    like_hub_id = re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", source)
    if like_hub_id and not path.parent.exists() and path.suffix.lower() not in _SUFFIXES:
        return hub.hub(source)
    beside = os.listdir(path.parent) if path.parent.is_dir() else []
    near = did_you_mean(path.name, beside) or did_you_mean(source, BUNDLED)
    raise GanfoldError(f"no such file or folder: {source}{near}")


def _reason(path: Path, error: OSError) -> str:
    if path.is_symlink() and isinstance(error, FileNotFoundError):
        return f"it is a broken link to {os.readlink(path)}"
    return error.strerror or str(error)


def _folder(path: Path) -> Source:
    """The source that a folder holds: files of a known data set, or images."""
    inner = path
    while len(names := _visible(inner)) == 1 and (inner / names[0]).is_dir() and not (inner / names[0]).is_symlink():
        inner /= names[0]
    # Of a data set in parts, the folder stands for the training part. Other parts can be given by their own paths.
    if files := _matching(inner, names, arrays.IDX.pattern):
        return arrays.idx(_training(files)[0])
    if files := _matching(inner, names, r"^data_batch_\d+\.bin$"):
        return arrays.cifar(files)
    if files := _matching(inner, names, r"_X\.bin$"):
        return arrays.stl(_training(files)[0])
    for kind, suffix in (("parquet", r"\.parquet$"), ("webdataset", r"\.tar$")):
        files = _matching(inner, names, suffix)
        if not files and "data" in names and (inner / "data").is_dir():  # the layout of the hub
            files = _matching(inner / "data", _visible(inner / "data"), suffix)
        if files:
            return hub.files(kind, _training(files))
    del names  # there may be millions
    return tree.folder(path)


def _visible(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))


def _matching(folder: Path, names: list[str], pattern: str) -> list[Path]:
    return [folder / name for name in names if re.search(pattern, name)]


def _training(files: list[Path]) -> list[Path]:
    """The files of the training part, or all where none says that it is."""
    return [path for path in files if path.name.startswith("train")] or files


def _file(path: Path) -> Source:
    """The source that a file holds, by its first bytes or its name."""
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
