"""An output folder belongs to one call: the same call continues in it, and no other call writes there."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from ganfold.errors import GanfoldError
from ganfold.files import read_json


def claim(
    out: Path, record: Path, requested: dict[str, Any], is_own: Callable[[Path], bool], free: Collection[str] = ()
) -> None:
    """See that a folder is empty, or that this very call began it.

    Args:
        out: the folder.
        record: the JSON file in it that says what was requested when it was begun.
        requested: what is requested now.
        is_own: whether a path in the folder may be there without a record.
        free: names in `requested` that may change.

    Raises:
        GanfoldError: the folder holds something else, or was begun with another value.
    """
    if record.exists():
        before = read_json(record)
        for name, value in requested.items():
            if name not in free and before.get(name) != value:
                raise GanfoldError(
                    f"{out} was begun with {name} = {before.get(name)} and you ask for {value}: give the old value to "
                    "go on, or another --out"
                )
    elif out.is_file() or (out.is_dir() and not all(is_own(path) for path in out.iterdir())):
        raise GanfoldError(f"{out} is not empty: give --out a new folder")
