"""Files written whole or not at all: to a temporary file beside the target, then fsync, then rename."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ganfold.errors import GanfoldError


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file in the same folder, then rename it to `path`.

    Raises:
        GanfoldError: the disk is full or the folder cannot be written; `path` is unchanged, and no file is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
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


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON, whole or not at all; see `write_atomically`."""
    write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


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
        raise GanfoldError(f"{path} is damaged ({error}): restore it from a copy, or begin anew") from error


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
        raise GanfoldError(f"{path} is not the file that published figures use (its SHA-256 differs): {remedy}")


def unwritable(path: Path, error: OSError) -> GanfoldError:
    """The error for a write that failed."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return GanfoldError(f"no space left to write {path}: free some, then give the same command again")
    return GanfoldError(f"cannot write {path}: {error.strerror or error}")


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
