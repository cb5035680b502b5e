"""An output folder is one call's: the same call goes on in it, and no other."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from ganfold.errors import GanfoldError
from ganfold.files import read_json


def claim(
    out: Path, record: Path, asked: dict[str, Any], ours: Callable[[Path], bool], more: Collection[str] = ()
) -> None:
    """Raises GanfoldError: the folder holds what is not `ours`, or `record` says that it was begun otherwise, apart
    from the names in `more`."""
    if record.exists():
        before = read_json(record)
        for name, value in asked.items():
            if name not in more and before.get(name) != value:
                raise GanfoldError(
                    f"{out} was begun with {name} = {before.get(name)} and you ask for {value}: give the old value to "
                    "go on, or another --out"
                )
    elif out.is_file() or (out.is_dir() and not all(ours(path) for path in out.iterdir())):
        raise GanfoldError(f"{out} is not empty: give --out a new folder")
