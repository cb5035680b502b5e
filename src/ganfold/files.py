"""Files written whole or not at all: to a temporary file beside the target, then fsync, then rename.

One process at a time writes a folder: `locked` holds it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from ganfold.errors import GanfoldError

SYNCS = 16  # files that are brought to the disk at the same time
LOCK = ".ganfold.lock"  # in a folder that is being written; it names the process that writes
TEMPORARY = re.compile(r"\.(.+)\.(\d+)\.tmp")  # with the name of the file and the number of its writer
UNFINISHED = re.compile(r"\.tmp\w{6}")  # a checkpoint that safetensors has not finished


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file in the same folder, then rename it to `path`.

    Raises:
        GanfoldError: the disk is full or the folder cannot be written; `path` is unchanged, and no file is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for earlier in (*_unfinished(path.parent.absolute()).get(path.name, ()), temporary):
            earlier.unlink(missing_ok=True)
        temporary.touch()
        mode = temporary.stat().st_mode & 0o777  # as the umask says; some libraries make private files instead
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(mode)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all; see `write_atomically`."""
    write_atomically(path, lambda temporary: _write(temporary, content))


def sync_files(paths: Sequence[Path]) -> None:
    """Bring files to the disk. Many at once take hardly longer than one."""
    from concurrent.futures import ThreadPoolExecutor

    def sync(path: Path) -> None:
        with open(path, "rb+") as file:
            os.fsync(file.fileno())

    with ThreadPoolExecutor(SYNCS) as pool:
        list(pool.map(sync, paths))


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON, whole or not at all; see `write_atomically`."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_bytes(path, text.encode("utf-8", "backslashreplace"))  # of a name that is not UTF-8 JSON's escapes


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        GanfoldError: the file cannot be read or is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise GanfoldError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise damaged(path, error) from error
    except RecursionError as error:
        raise damaged(path, "it is nested too deeply") from error


def read_object(path: Path) -> dict[str, Any]:
    """The content of a JSON file that holds an object.

    Raises:
        GanfoldError: the file cannot be read, is not JSON, or holds something else.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise damaged(path, "it holds no JSON object")
    return content


@contextlib.contextmanager
def locked(folder: Path, doing: str) -> Iterator[None]:
    """Hold a folder while it is written, and remove the temporary files that killed processes left in it.

    The folder is made, and removed again if nothing was written. The system frees the lock of a process that dies.
    Windows and file systems without locks hold nothing.

    Args:
        folder: where to write.
        doing: names what goes on, for the process that comes second.

    Raises:
        GanfoldError: another process holds the folder.
    """
    missing = [path for path in (folder, *folder.parents) if not os.path.exists(path)]
    with contextlib.suppress(OSError):  # the first write in it says what is wrong
        folder.mkdir(parents=True, exist_ok=True)
    handle = _lock(folder / LOCK, doing)
    try:
        sweep(folder)
        yield
    finally:
        if handle is not None:
            with contextlib.suppress(OSError):
                (folder / LOCK).unlink()
            os.close(handle)
        with contextlib.suppress(OSError):  # a folder that holds something stays
            for path in missing:
                path.rmdir()


def sweep(folder: Path) -> None:
    """Remove the temporary files in a folder and below whose processes have ended."""
    for place, _, names in os.walk(folder):
        for name in names:
            found = TEMPORARY.fullmatch(name)
            is_dead = found and not _is_running(int(found[2]))
            if is_dead or (UNFINISHED.fullmatch(name) and Path(place).name == "checkpoints"):
                with contextlib.suppress(OSError):
                    Path(place, name).unlink()


def is_leftover(path: Path) -> bool:
    """Whether this is what a killed process leaves in a folder: a lock, or a file that was not finished."""
    return path.name == LOCK or any(pattern.fullmatch(path.name) for pattern in (TEMPORARY, UNFINISHED))


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(path: Path, expected: str, remedy: str) -> None:
    """Check that a file of published weights is the original.

    Args:
        path: the file.
        expected: the SHA-256 of the original, as hexadecimal digits.
        remedy: what the user can do, for the error.

    Raises:
        GanfoldError: the file is another one, or is not there.
    """
    if not path.is_file():
        raise GanfoldError(f"{path} does not exist: {remedy}")
    if sha256(path) != expected:
        raise GanfoldError(f"{path} is not the file that published metrics use (its SHA-256 differs): {remedy}")


def damaged(path: Path, why: object, remedy: str = "restore it from a copy, or begin anew") -> GanfoldError:
    """The error for a file whose content is not what was written."""
    return GanfoldError(f"{path} is damaged ({why}): {remedy}")


def unwritable(path: Path | str, error: OSError) -> GanfoldError:
    """The error for a write that failed."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return GanfoldError(f"no space left to write {path}: free some, then give the same command again")
    return GanfoldError(f"cannot write {path}: {error.strerror or error}")


def _lock(path: Path, doing: str) -> int | None:
    """The open and locked file; None where there are no locks."""
    if sys.platform == "win32":
        return None
    import fcntl

    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except OSError:  # the first write in the folder says what is wrong
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(handle, 200).decode(errors="replace")
            os.close(handle)
            holder = holder if holder.isprintable() and holder else "another call"
            raise GanfoldError(
                f"{holder} is going on in {path.parent}: wait for it, stop it, or give another --out"
            ) from error
        except OSError:  # a file system without locks
            os.close(handle)
            return None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(path), os.fstat(handle)):
                with contextlib.suppress(OSError):  # a full disk: the lock holds without the holder's name
                    os.truncate(handle, 0)
                    os.write(handle, f"{doing} (process {os.getpid()} on {socket.gethostname()})".encode())
                return handle
        os.close(handle)  # its last holder has just removed it


def _is_running(process: int) -> bool:
    """Whether another process of this machine has this number. This one's number is that of an earlier process."""
    if sys.platform == "win32":  # where signal 0 would end it
        return process != os.getpid()
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return process != os.getpid()


@lru_cache(maxsize=64)
def _unfinished(folder: Path) -> dict[str, list[Path]]:
    """What killed processes left of the files of a folder, by the file's name; the folder is read once a process.

    Only a file that is written again loses it: in a folder of the user's, all else may belong to other programs.
    """
    found: dict[str, list[Path]] = {}
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            unfinished = TEMPORARY.fullmatch(name)
            if unfinished and not _is_running(int(unfinished[2])):
                found.setdefault(unfinished[1], []).append(folder / name)
    return found


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _sync_folder(folder: Path) -> None:
    """Let the rename survive a power cut, on systems that can sync a folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
