"""Images in object storage: `s3://bucket/photos.zip`, `s3://bucket/shards/*.tar`, read through fsspec.

What an address names is copied into the cache whole, and read there like a local file or folder. The copy is found
again by the address and by the state (size, tag, time) of every object: a changed object is copied anew.

An address is written into the record of a run. One that holds a password or a signature is refused: fsspec takes
credentials from the environment and from its own configuration.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qsl, urlsplit

from ganfold.data.cache import building, lock
from ganfold.data.pruning import shown_size
from ganfold.data.sources.findings import counted, shown
from ganfold.data.sources.lookup import find_source
from ganfold.data.sources.source import Listing, Source, key_of
from ganfold.errors import GanfoldError, printable

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]*://.+", re.DOTALL)
BACKENDS = {  # scheme -> the package that fsspec reads it with
    "s3": "s3fs", "s3a": "s3fs", "http": "aiohttp", "https": "aiohttp", "memory": "fsspec",
    "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs", "hf": "huggingface_hub",
}  # fmt: skip
EXTRA = ("s3fs", "aiohttp", "fsspec")  # what ganfold[remote] installs
SECRET = re.compile(r"sig|token|key|secret|passw|credential|auth", re.IGNORECASE)
STATE = ("ETag", "etag", "Last-Modified", "LastModified", "last_modified", "mtime", "updated", "created", "md5Hash")
AT_ONCE = 64  # objects that are copied beside each other, where the backend can
COPY = "files"  # the part of a download's folder that holds the objects


def open_source(source: str | Path, classes_from: int, cache: Path) -> Source:
    """The source that a path, a name or an address stands for; see `find_source`.

    Raises:
        GanfoldError: there is no such source, it cannot be read, or the address holds a secret.
    """
    if not isinstance(source, str) or not ADDRESS.fullmatch(source):
        return find_source(source, classes_from)
    _check(source)
    return _Remote.at(source).source(cache, classes_from)


def _check(address: str) -> None:
    """See that an address has a known scheme and no secret in it."""
    scheme = address.partition("://")[0].lower()
    if scheme not in BACKENDS or "::" in address:
        raise GanfoldError(
            f"cannot read {_masked(address)}: an address begins with one of {', '.join(f'{s}://' for s in BACKENDS)}"
        )
    parts = urlsplit(address)
    user = parts.netloc.rpartition("@")[0]
    names_container = scheme.startswith("abfs") and ":" not in user
    secrets = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True) if SECRET.search(name)]
    if (user and not names_container) or secrets:
        raise GanfoldError(
            f"the address {_masked(address)} holds a password or a signature, and the record of a run would keep it: "
            "leave it out, and give credentials by the environment, as fsspec reads them"
        )


def _masked(address: str) -> str:
    """The address without what may be secret in it."""
    return shown(re.sub(r"//[^/@]*@", "//...@", address.partition("?")[0]))


@dataclass(frozen=True)
class _Object:
    """One object that an address names."""

    path: str  # as fsspec has it
    name: str  # below the folder that they share
    size: int | None
    state: str


@dataclass(frozen=True)
class _Remote:
    """All objects that an address names."""

    address: str
    system: Any  # of fsspec
    objects: tuple[_Object, ...]
    is_folder: bool

    @classmethod
    def at(cls, address: str) -> _Remote:
        """Look up what an address names."""
        with _said(address):
            import fsspec

            system, path = fsspec.core.url_to_fs(address)
            system.invalidate_cache()
            found, root = _found(system, path, is_web=address.lower().startswith("http"))
        if not found:
            raise GanfoldError(f"there is no file or folder {address}")
        objects = (
            _Object(name, name[len(root) :].lstrip("/"), info.get("size"), _state(info))
            for name, info in sorted(found.items())
        )
        return cls(address, system, tuple(objects), is_folder=[*found] != [path])

    def source(self, cache: Path, level: int) -> Source:
        """The source that reads the copy in this cache."""
        states = [(each.name, each.size, each.state) for each in self.objects]
        key = key_of("remote", self.address, states)
        folder = cache / "downloads" / key[:32]

        def listing(scratch: Path) -> Listing:
            in_use = self._held(folder, cache)
            place = folder / COPY if self.is_folder else folder / COPY / self.objects[0].name
            try:
                listed = find_source(place, level).list(scratch)
            except GanfoldError as error:
                raise GanfoldError(str(error).replace(str(place), self.address)) from error
            notes = [note.replace(str(place), self.address) for note in listed.notes]
            return replace(listed, notes=notes, in_use=in_use)

        return Source(key if level == 1 else key_of("classes from", key, level), listing, has_levels=True)

    def _held(self, folder: Path, cache: Path) -> IO[bytes]:
        """An open file that keeps the copy from being removed. The copy is made if it is not there."""
        while True:
            with suppress(OSError):
                file = open(folder / "address", "rb")  # noqa: SIM115  its lock lasts as long as it is open
                lock(file.fileno(), "shared", wait=True)
                if (folder / "address").exists():  # or it was removed while this waited
                    os.utime(folder)
                    return file
                file.close()
            self._copy(folder, cache)

    def _copy(self, folder: Path, cache: Path) -> None:
        """Copy all objects, then rename the whole into its place."""
        size = sum(each.size or 0 for each in self.objects)
        folder.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder.parent).free
        if size > free:
            raise GanfoldError(
                f"no space left for the cache {cache}: {self.address} holds {shown_size(size)}, and {shown_size(free)} "
                "are free; free some (`ganfold cache` lists what can go), or set GANFOLD_CACHE to another disk"
            )
        if sys.stderr.isatty():
            what = f"{counted(len(self.objects), 'object')}, {shown_size(size)}"
            print(printable(f"Copying {self.address} into the cache ({what})"), file=sys.stderr)
        with building(cache) as place:
            made = place / "made"
            for start in range(0, len(self.objects), AT_ONCE):
                self._copy_some(self.objects[start : start + AT_ONCE], made / COPY)
            (made / "address").write_text(self.address, encoding="utf-8")
            with suppress(OSError):  # another process was faster
                os.replace(made, folder)

    def _copy_some(self, objects: Sequence[_Object], place: Path) -> None:
        targets = [place / each.name for each in objects]
        for target in targets:
            target.parent.mkdir(parents=True, exist_ok=True)
        with _said(self.address):
            self.system.get([each.path for each in objects], [str(target) for target in targets])
        for each, target in zip(objects, targets, strict=True):
            if not target.is_file() or each.size not in (None, target.stat().st_size):
                raise GanfoldError(f"{self.address} changed or broke off while it was copied: give the command again")


def _found(system: Any, path: str, *, is_web: bool) -> tuple[dict[str, dict[str, Any]], str]:
    """The objects that a path names, with what the store says of each, and the folder that they share."""
    if any(mark in path for mark in ("*[" if is_web else "*?[")):
        root = re.split(r"[*?\[]", path)[0].rpartition("/")[0]
        found = system.glob(path, detail=True)
    elif (info := system.info(path))["type"] == "directory":
        root, found = path, system.find(path, detail=True)
    else:
        return {path: info}, path.partition("?")[0].rpartition("/")[0]
    files = {name: info for name, info in found.items() if info["type"] == "file" and not name.endswith("/")}
    return {name: info for name, info in files.items() if ".." not in name.split("/")}, root


def _state(info: dict[str, Any]) -> str:
    """What tells two states of an object apart, as far as its store says it."""
    return repr([str(info[name]) for name in STATE if info.get(name)])


@contextmanager
def _said(address: str) -> Iterator[None]:
    """Turn what fsspec and its backends raise into one sentence."""
    package = BACKENDS[address.partition("://")[0].lower()]
    try:
        yield
    except (GanfoldError, MemoryError):
        raise
    except ImportError as error:
        remedy = "'ganfold[remote]'" if package in EXTRA else f"fsspec {package}"
        raise GanfoldError(
            f"{address} is read with fsspec and {package}, which are not installed: pip install {remedy}"
        ) from error
    except FileNotFoundError as error:
        raise GanfoldError(f"there is no file or folder {address}") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        reason = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
        raise GanfoldError(f"cannot read {address}: {reason}") from error
