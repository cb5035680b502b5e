"""Files that are whole or not there: a temporary file beside the target, fsync, rename."""

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
    """Let `write` fill a temporary file in the same folder, then put it in the place of `path`.

    Raises:
        GanfoldError: the disk is full or the folder cannot be written; nothing is left behind, and what
            stood at `path` stands there still.
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
    write_atomically(path, lambda temporary: _write(temporary, content))


def write_json(path: Path, content: Any) -> None:
    write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """What the JSON file holds.

    Raises:
        GanfoldError: it cannot be read or is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise GanfoldError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise GanfoldError(f"{path} is damaged ({error}): restore it from a copy, or begin anew") from error


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(path: Path, expected: str, remedy: str) -> None:
    """See that a file of published weights is that very file.

    Raises:
        GanfoldError: it is another, or not there.
    """
    if not path.is_file():
        raise GanfoldError(f"{path} does not exist: {remedy}")
    if sha256(path) != expected:
        raise GanfoldError(f"{path} is not the file that published figures use (its SHA-256 differs): {remedy}")


def read_run(folder: Path) -> dict[str, Any]:
    """The `config.json` of a run's folder.

    Raises:
        GanfoldError: there is no such folder, or it is not one that `train` wrote.
    """
    path, remedy = folder / "config.json", "give the folder that `ganfold train --out` wrote"
    if not path.is_file():
        what = "is not a run folder (it has no config.json)" if folder.exists() else "does not exist"
        raise GanfoldError(f"{folder} {what}: {remedy}")
    content = read_json(path)
    config: dict[str, Any] = content if isinstance(content, dict) else {}
    parts = {"gan": str, "config": dict, "settings": dict, "data": dict}
    if lacks := [name for name, kind in parts.items() if not isinstance(config.get(name), kind)]:
        raise GanfoldError(f"{folder} is not a run folder (its config.json lacks {', '.join(lacks)}): {remedy}")
    return config


def unwritable(path: Path, error: OSError) -> GanfoldError:
    """The sentence for a write that failed."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return GanfoldError(f"no space left to write {path}: free some, then give the same command again")
    return GanfoldError(f"cannot write {path}: {error.strerror or error}")


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself outlast a power cut, where the system lets a folder be synced."""
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
