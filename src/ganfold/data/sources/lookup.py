"""Which source a path or a name stands for."""

from __future__ import annotations

import importlib.metadata
import os
import re
import stat
import zipfile
from pathlib import Path

from ganfold.data.sources import arrays, hub, photos, scenes, tree
from ganfold.data.sources.findings import shown
from ganfold.data.sources.source import Source, bundled_file, key_of, noted, of_class
from ganfold.errors import GanfoldError, did_you_mean
from ganfold.files import write_bytes
from ganfold.interface.unsaved import refusal

PICKLED = (
    "{} holds pickled Python objects, which could run code: download the binary version of CIFAR-10 "
    "(cifar-10-binary.tar.gz), or save the images and labels with numpy.savez"
)
GROUP = "ganfold.sources"  # the entry points by which an installed package adds sources
BUNDLED = {"avatars": "avatars.zip", "digits": "digits.npz", "photos": "photos.zip", "scenes": ""}  # "": has no file
_DERIVED = {"photos": photos.photos, "scenes": scenes.scenes}  # made of a bundled file when first loaded
# What people type who have no file yet, without spaces and dashes, and how to get it.
_KNOWN = {
    "mnist": "`digits` is bundled, 5,000 images of MNIST; for all of them download its IDX files into a folder",
    "fashionmnist": "download its IDX files (train-images-idx3-ubyte.gz and its labels) into a folder",
    "emnist": "download its IDX files into a folder",
    "kmnist": "download its IDX files into a folder",
    "cifar10": "download its binary version (cifar-10-binary.tar.gz) and unpack it into a folder",
    "cifar100": "give a hub id, such as uoft-cs/cifar100",
    "stl10": "download its binary version (stl10_binary.tar.gz) and unpack it into a folder",
    "celeba": "`avatars` is bundled, 64 px drawings; for CelebA download img_align_celeba.zip",
    "celebahq": "download its images into a folder",
    "ffhq": "`avatars` is bundled, 64 px drawings; for FFHQ download thumbnails128x128, a folder of images",
    "imagenet": "download its class folders, and take a few classes: a folder for each",
    "lsun": "export one of its categories into a folder of images",
    "afhq": "download its images; its class folders are read as they are",
    "anime": "`avatars` is bundled, 64 px drawings; for others put the images into a folder",
    "faces": "`avatars` is bundled, 64 px drawings of faces; for photos put them into a folder",
    "flowers": "download Oxford's 102flowers.tgz and unpack it into a folder",
}
_SUFFIXES = (  # a hub id never ends like this
    ".zip", ".npz", ".npy", ".gz", ".parquet", ".tar", ".bin", ".png", ".jpg", ".jpeg", ".webp", ".csv", ".jsonl",
)  # fmt: skip


def find_source(source: str | Path, classes_from: int = 1) -> Source:
    """The source that a path or a name stands for, with classes from this level of its folders.

    Raises:
        GanfoldError: there is no such source, it cannot be read, or its classes are no folders and the level is not 1.
    """
    if not isinstance(source, str | Path):
        raise GanfoldError(refusal("data", source))
    found = _find(source, classes_from)
    if classes_from > 1 and not found.has_levels:
        raise GanfoldError(f"--classes-from {classes_from} chooses class folders, and {source} has none: leave it out")
    return found


def unpack(name: str | Path, folder: str | Path) -> Path:
    """Write the files that a bundled set is made of: of `photos` the whole photographs.

    Args:
        name: of the set.
        folder: where to write them. A file that is there already with the same content stays.

    Returns:
        The folder.

    Raises:
        GanfoldError: the set has no files, another file has the name of one, or the folder cannot be written.
    """
    folder, archive = Path(folder), BUNDLED.get(str(name), "")
    if not archive.endswith(".zip"):
        having = " and ".join(known for known, file in BUNDLED.items() if file.endswith(".zip"))
        raise GanfoldError(f"{name} has no files to unpack: of the bundled sets only {having} have")
    with zipfile.ZipFile(bundled_file(archive)) as packed:
        contents = {folder / entry: packed.read(entry) for entry in packed.namelist() if not entry.endswith("/")}
    new = {path: content for path, content in contents.items() if not path.exists()}
    for path in contents.keys() - new.keys():
        if not path.is_file() or path.read_bytes() != contents[path]:
            raise GanfoldError(f"{path} exists and is another file: give an empty folder")
    for path, content in new.items():
        write_bytes(path, content)
    return folder


def _find(source: str | Path, level: int) -> Source:
    """The source that a path or a name stands for.

    A name goes before a path: "digits" is the bundled set, "./digits" a folder. Where both are there, a note says
    which one is read. The folder does not win: a run named like its data would then change what its command means.

    Args:
        source: a path; or, as a `str`, a bundled set ("avatars"), one class of it ("avatars/toon-head"), a source of
            an installed package (NAME:REST, where NAME is an entry point of the group "ganfold.sources": a function of
            REST that returns a `Source`), or a hub id ("owner/name").

    Raises:
        GanfoldError: there is no such source, or it cannot be read.
    """
    if isinstance(source, str) and source in BUNDLED:
        bundled = _DERIVED[source]() if source in _DERIVED else _file(bundled_file(BUNDLED[source]), level)
        beside = Path(source).exists()
        own = f"This is the bundled set {source}, not what lies in {source} here: give ./{source} for that."
        return noted(bundled, own) if beside else bundled
    if isinstance(source, str) and (from_package := _from_package(source)):
        return from_package
    path = Path(source)
    try:
        path = path.expanduser()
        mode = path.stat().st_mode
    except (RuntimeError, ValueError) as error:  # no such user, or a null byte
        raise GanfoldError(f"no such file or folder: {shown(str(source))}") from error
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not path.is_symlink():
            return _without_path(str(source), path)
        raise GanfoldError(f"cannot read {source}: {_reason(path, error)}") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # opening one may wait for ever
        raise GanfoldError(f"{source} is a pipe, socket or device: give a file or a folder")
    try:
        return _folder(path, level) if stat.S_ISDIR(mode) else _file(path, level)
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
    if label and bundled in BUNDLED.keys() - _DERIVED:
        return of_class(find_source(bundled), label, bundled)
    like_hub_id = re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", source)
    if like_hub_id and not path.parent.exists() and path.suffix.lower() not in _SUFFIXES:
        return hub.hub(source)
    beside = os.listdir(path.parent) if path.parent.is_dir() else []
    near = did_you_mean(path.name, beside) or (
        "" if "/" in source.removeprefix("./") else did_you_mean(source, BUNDLED)
    )
    if advice := _KNOWN.get(re.sub(r"[\s_.-]", "", source.lower())):
        raise GanfoldError(f"there is no file or folder {source} here: {advice}")
    raise GanfoldError(f"no such file or folder: {source}{near}")


def _reason(path: Path, error: OSError) -> str:
    if path.is_symlink() and isinstance(error, FileNotFoundError):
        return f"it is a broken link to {os.readlink(path)}"
    return error.strerror or str(error)


def _folder(path: Path, level: int) -> Source:
    """The source that a folder holds: files of a known data set, or images."""
    inner = path
    while len(names := _visible(inner)) == 1 and (inner / names[0]).is_dir() and not (inner / names[0]).is_symlink():
        inner /= names[0]
    # Of a data set in parts, the folder stands for the training part. Other parts can be given by their own paths.
    if files := _matching(inner, names, arrays.IDX.pattern) or _nested(inner, names, arrays.IDX.pattern):
        first = _training(files)[0]
        return _with_rest(arrays.idx(first), files, [first])
    if files := _matching(inner, names, r"^data_batch_\d+\.bin$"):
        return _with_rest(arrays.cifar(files), files + _matching(inner, names, r"^test_batch\.bin$"), files)
    if files := _matching(inner, names, r"_X\.bin$"):
        first = _training(files)[0]
        return _with_rest(arrays.stl(first), files, [first])
    if files := _matching(inner, names, r"^data_batch_\d+$|^(train|test|meta)$"):
        _refuse_pickles(inner, files)
    for kind, suffix in (("parquet", r"\.parquet$"), ("webdataset", r"\.tar$")):
        place, files = inner, _matching(inner, names, suffix)
        if not files and "data" in names and (inner / "data").is_dir():  # the layout of the hub
            place = inner / "data"
            files = _matching(place, _visible(place), suffix)
        if files and not _holds_images(place):  # or the files are leftovers, such as the archive of these images
            chosen = _training(files)
            read = hub.files(kind, chosen)
            read = tree.tarred(chosen[0], read, level) if kind == "webdataset" and len(chosen) == 1 else read
            return _with_rest(read, files, chosen)
    del names  # there may be millions
    return tree.folder(path, level)


def _visible(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if not tree.is_hidden(name))


def _matching(folder: Path, names: list[str], pattern: str) -> list[Path]:
    """The regular files with such a name: a folder or a pipe may have one too."""
    return [folder / name for name in names if re.search(pattern, name) and (folder / name).is_file()]


def _nested(folder: Path, names: list[str], pattern: str) -> list[Path]:
    """The files that lie in a folder of their own name, as some unpackers leave them."""
    inside = [folder / name / name for name in names if re.search(pattern, name)]
    return [path for path in inside if path.is_file()]


def _training(files: list[Path]) -> list[Path]:
    """The files of the training part, or all where none says that it is."""
    return [path for path in files if path.name.startswith("train")] or files


def _with_rest(source: Source, files: list[Path], chosen: list[Path]) -> Source:
    """The source, with a note on those files of the data set that it does not read."""
    rest = [shown(file.name) for file in files if file not in chosen]
    more = f" and {len(rest) - 3:,} more" if len(rest) > 3 else ""
    left_out = f"Not read: {', '.join(rest[:3])}{more}; give the path of such a part to use it."
    return noted(source, left_out) if rest else source


def _holds_images(folder: Path) -> bool:
    """Whether image files, known by their suffix, lie in the folder or below it."""
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not tree.is_hidden(name)]
        if any(Path(name).suffix.lower().lstrip(".") in tree.SUFFIXES - {""} for name in files):
            return True
    return False


def _refuse_pickles(folder: Path, files: list[Path]) -> None:
    """Raise a GanfoldError if these are the Python version of CIFAR."""
    batches = [file for file in files if file.name not in ("train", "test", "meta")]
    if (batches or len(files) == 3) and _is_pickle(files[0]):
        raise GanfoldError(PICKLED.format(folder))


def _is_pickle(path: Path) -> bool:
    with open(path, "rb") as file:
        return re.match(rb"\x80[\x02-\x05]", file.read(2)) is not None


def _file(path: Path, level: int) -> Source:
    """The source that a file holds, by its first bytes or its name."""
    with open(path, "rb") as file:
        start = file.read(8)
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return arrays.npz(path)
    if start.startswith(b"\x93NUMPY"):
        return arrays.npy(path)
    if start.startswith((b"PK\3\4", b"PK\5\6")) or suffix == ".zip":
        return tree.zipped(path, level)
    if suffix == ".parquet" or start.startswith(b"PAR1"):
        return hub.files("parquet", [path])
    if suffix == ".tar":
        return tree.tarred(path, hub.files("webdataset", [path]), level)
    if re.search(r"\.(tgz|tar\.\w+)$", path.name, re.IGNORECASE):
        raise GanfoldError(f"{path} is a packed tar: unpack it first, with tar -xf {path.name}")
    if arrays.IDX.search(path.name) or start[:4] == b"\0\0\x08\x03":
        return arrays.idx(path)
    if path.name.endswith("_X.bin"):
        return arrays.stl(path)
    if re.fullmatch(r"(data|test)_batch(_\d+)?\.bin", path.name):
        return arrays.cifar([path])
    if _is_pickle(path):
        raise GanfoldError(PICKLED.format(path))
    raise GanfoldError(
        f"{path} is none of the files that can be read: a folder or zip of images, .npz, .npy, IDX, .parquet, .tar"
    )
