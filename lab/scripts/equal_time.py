"""GANs that are trained for equal computing time and measured alike: what which_default.py and ladder.py share."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import ganfold
from ganfold.gans.contract import GAN


def train(
    gan: str | type[GAN], data: str | Path, out: Path, minutes: float, seed: int, options: dict[str, Any]
) -> ganfold.Run:
    """Train for this many minutes of the process's own computing, at 32 px and without checkups.

    Other work on the machine takes none of these minutes.

    Args:
        options: more of `ganfold.train`'s options; they replace the two above.

    Returns:
        The run with its last checkpoint.
    """
    requested = {"resolution": 32, "evaluate_every": 0} | options
    run = ganfold.train(
        gan, data, out, minutes=minutes, seed=seed, progress=False, clock=time.process_time, **requested
    )
    return ganfold.load(run.path, "last", gan)


def seen(run: ganfold.Run) -> dict[str, float]:
    """How much training the minutes held."""
    return {"kimg": run.state["images"] / 1000, "updates": run.state["step"]}


def measure(run: ganfold.Run, reference: Path | None = None) -> dict[str, float]:
    """The metrics of `ganfold evaluate`."""
    evaluation = ganfold.evaluate(run, reference, progress=False)
    names = ("KID", "FD", "precision", "recall", "density", "coverage")
    return {name: round(evaluation[name].value, 4) for name in names}
