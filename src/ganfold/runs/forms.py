"""Which forms of layers are the faster ones here: measured once on a machine, and kept in each run.

A run's bits depend on them. A run that goes on, and samples of it, therefore take the forms of its own file.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path

import torch

from ganfold import device
from ganfold.data.cache import default_cache
from ganfold.errors import GanfoldError
from ganfold.files import damaged, read_object, write_json
from ganfold.networks.strided import Forms

FORMS = "forms.json"
REMEDY = "delete it: the forms are then measured anew, which changes the last bits of what follows"


def forms_of(run: Path) -> Forms:
    """The forms that a run was trained with. Nothing is measured; a run of 0.1.0 has none."""
    return Forms(_read(run / FORMS))


def measured_forms(run: Path) -> Forms:
    """The forms of a run that is trained: its own, then those of this machine, then measured ones.

    All are written into the run's folder, and new ones into the cache.
    """
    machine = _machine_file()
    known: dict[str, bool] = {}
    with suppress(GanfoldError):  # whatever is wrong with it, it can be measured anew
        known = _read(machine)
    table = known | _read(run / FORMS)
    write_json(run / FORMS, table)

    def note(shape: str, is_faster: bool) -> None:
        write_json(run / FORMS, table)
        with suppress(GanfoldError, OSError):  # a cache that cannot be written costs the measuring again
            machine.parent.mkdir(parents=True, exist_ok=True)
            write_json(machine, known | {shape: is_faster})
        known[shape] = is_faster

    return Forms(table, note)


def _machine_file() -> Path:
    """The file of the cache for this CPU, this number of threads and this PyTorch."""
    machine = device.describe(torch.device("cpu"))
    key = json.dumps([machine["cpu"], machine["threads"], machine["torch"]])
    return default_cache() / "forms" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"


def _read(path: Path) -> dict[str, bool]:
    if not path.exists():
        return {}
    table = read_object(path)
    if wrong := [shape for shape, is_faster in table.items() if not isinstance(is_faster, bool)]:
        raise damaged(path, f"{wrong[0]!r:.40} is neither true nor false", REMEDY)
    return table
