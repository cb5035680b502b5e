"""The record of the lab: each run of a script appends one row to lab/results/NAME.jsonl.

`render_tables.py` reads the rows.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from ganfold import device as devices
from ganfold.interface.result import version
from ganfold.runs.record import DataRecord
from ganfold.runs.run import Run
from ganfold.training.request import changed

ROOT = Path(__file__).resolve().parents[2]
RESULTS = "GANFOLD_LAB_RESULTS"  # an environment variable: another folder than lab/results
CODE = ("src", "lab/scripts")  # the folders whose changes can change a result


def commit(root: Path = ROOT) -> str:
    """The short hash of the commit in a working tree, with "+" where its code is changed; "" outside of git."""
    try:
        short, changes = (
            subprocess.run(["git", "-C", root, *words], capture_output=True, text=True, check=True).stdout.strip()
            for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--", *CODE))
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"{short}+" if changes else short


COMMIT = commit()  # read when the script begins: the tree may change while the script runs


def record(
    name: str,
    metrics: Mapping[str, Any],
    *,
    seed: int,
    data: DataRecord | str | None = None,
    device: torch.device | None = None,
    **protocol: Any,
) -> dict[str, Any]:
    """Append what one run measured to the results of an experiment, and return the row.

    Args:
        name: of the experiment, and of its file.
        metrics: the measured values, by name.
        seed: of the run; tables give means and deviations over seeds.
        data: what the run was trained on or measured with; it becomes part of the protocol.
        device: where it ran [the CPU].
        protocol: all else that must be equal for two rows to be comparable; None: does not apply.
    """
    if isinstance(data, DataRecord):
        images = data.images + data.held_out
        data = f"{data.source}, {images:,} images of {data.resolution} px, {data.fingerprint[:12]}"
    machine = devices.describe(device or torch.device("cpu"))
    script = Path(sys.argv[0]).resolve()
    words = [str(script.relative_to(ROOT)) if script.is_relative_to(ROOT) else sys.argv[0], *sys.argv[1:]]
    row: dict[str, Any] = {
        "experiment": name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", *words]),
        "commit": COMMIT,
        "seed": seed,
        "machine": machine,
        "versions": {"ganfold": version(), "torch": machine.pop("torch"), "python": machine.pop("python")},
        "protocol": {key: value for key, value in {"data": data, **protocol}.items() if value is not None},
        "metrics": dict(metrics),
    }
    line = json.dumps(row, ensure_ascii=False, default=lambda v: v.item() if hasattr(v, "item") else str(v))
    path = Path(os.environ.get(RESULTS) or ROOT / "lab" / "results") / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(file, f"{line}\n".encode())  # one call: rows of scripts that run at the same time do not mix
    finally:
        os.close(file)
    return row


def protocol_of(run: Run) -> dict[str, Any]:
    """What a run is: its GAN, all options that are not at their defaults, and the checkpoint in use."""
    options = changed(run.record.gan_config(run.gan_class)) | changed(run.record.settings)
    options = {option: value for option, value in options.items() if option not in ("seed", "device")}
    return {"gan": run.record.gan, **options, "checkpoint": run.checkpoint.split(",")[0]}
