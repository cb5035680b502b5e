"""An output folder belongs to one call: the same call continues in it, and no other call writes there."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ganfold.errors import GanfoldError
from ganfold.files import is_leftover, read_object

IMAGES = ("data", "fingerprint")  # names in a record that stand for the images


def claim(
    out: Path, record: Path, requested: dict[str, Any], own: Collection[str] = (), free: Collection[str] = ()
) -> None:
    """See that a folder is empty, or that this very call began it.

    Args:
        out: the folder.
        record: the JSON file in it that says what was requested when it was begun.
        requested: what is requested now.
        own: names in the folder that may be there without a record.
        free: names in `requested` that may change.

    Raises:
        GanfoldError: the folder holds something else, or was begun with another value.
    """
    if record.exists():
        before = read_object(record)
        content = as_read(requested)
        differing = [name for name in content if name not in free and before.get(name) != content[name]]
        options = [name for name in differing if name not in IMAGES]  # which may be why the images differ
        if options:
            name = options[0]
            raise GanfoldError(
                f"{out} was begun with {name} = {before.get(name)}, and {content[name]} is requested: give the old "
                "value to go on, or another --out"
            )
        if differing:
            raise GanfoldError(
                f"{out} was begun on other images than are there now: restore them to go on, or give another --out"
            )
    elif out.is_file() or (out.is_dir() and not all(p.name in own or is_leftover(p) for p in out.iterdir())):
        raise GanfoldError(f"{out} is not empty: give --out a new folder")


def as_read(content: dict[str, Any]) -> dict[str, Any]:
    """The content as a JSON file gives it back: tuples become lists."""
    read: dict[str, Any] = json.loads(json.dumps(content))
    return read
