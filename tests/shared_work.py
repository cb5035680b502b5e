"""A script for torchrun: sample, evaluate and copies, shared by all processes. Then one that fails in one of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch

import ganfold
from ganfold.errors import GanfoldError
from ganfold.runs import writers


def work(run: str, out: Path, shared: bool) -> None:
    writers.BLOCK = 32
    for name in ("folder", "a.npz", "a.tar"):
        ganfold.sample(run, out / name, count=80, start=3, shared=shared)
    options: dict[str, Any] = {"features": "pixels", "count": 50, "progress": False, "shared": shared}
    evaluation = ganfold.evaluate(run, out=out / "evaluation.json", **options)
    copies = ganfold.copies(run, out=out / "copies", **options)
    (out / f"rank-{os.environ.get('RANK', 'none')}.txt").write_text(f"{evaluation}\n{copies.verdict}\n")


def fail(run: str, out: Path) -> None:
    """Let one process find a full disk, and all of them end with the sentence."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    if os.environ["RANK"] == "1":
        writers.Folder.write = full  # type: ignore[assignment]
    try:
        ganfold.sample(run, out / "full", count=80, shared=True)
    except GanfoldError as error:
        (out / f"refused-{os.environ['RANK']}.txt").write_text(f"{error.is_told} {error}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    work(sys.argv[1], Path(sys.argv[2]), shared=True)
    fail(sys.argv[1], Path(sys.argv[2]))
