"""The share of the bare step in the time of `ganfold train`. The rest is data, logging, grids and checkpoints.

Both are measured inside one run, and other work on the machine favours neither: seconds in the phases and averages,
over seconds from the first step to the end.

    python benchmarks/whole_program.py [--minutes 2] [--resolution 64] [--width 64] [--batch 128]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import ganfold
from ganfold.files import read_json
from ganfold.training.batches import Batches
from ganfold.training.trainer import Trainer


def main() -> None:
    parser = argparse.ArgumentParser(description="share of the bare step in the whole program")
    parser.add_argument("--minutes", type=float, default=2.0)
    for name, default in {"resolution": 64, "width": 64, "batch": 128}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    spent = {"step": 0.0, "draw": 0.0}

    def timed(owner: Any, method: str, name: str) -> None:
        original = getattr(owner, method)

        def wrapped(*arguments: Any) -> Any:
            begun = time.perf_counter()
            try:
                return original(*arguments)
            finally:
                spent[name] += time.perf_counter() - begun

        setattr(owner, method, wrapped)

    timed(Trainer, "step", "step")
    timed(Batches, "draw", "draw")
    run = ganfold.train("dcgan", "avatars", Path(tempfile.mkdtemp()) / "run", progress=False, **vars(options))
    state = read_json(run.path / "state.json")
    whole = state["minutes"] * 60
    print(
        f"{state['images'] / whole:.1f} images/s, {whole:.1f} s in all, {spent['draw']:.2f} s of them drawing batches"
    )
    print(f"bare step's share of the whole: {(spent['step'] - spent['draw']) / whole:.1%}")


if __name__ == "__main__":
    main()
