"""The experiments of docs/learn at their full budget: python lab/scripts/learn.py first-weights the-optimizer

Draws the figures of the pages, and appends a row for each run to lab/results/learn.jsonl. Without names: all of them.
"""

from __future__ import annotations

import argparse

import torch

from ganfold.interface.options import AT_LEAST_ONE
from ganfold.lessons import LESSONS
from ganfold.lessons.catalogue import EXPERIMENTS
from ganfold.lessons.experiment import run
from harness import ROOT, record

FIGURES = ROOT / "docs" / "learn" / "pictures"
TIME = "the whole lesson"  # the variant of the row that says how long it took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *LESSONS], help="[all]")
    parser.add_argument("--threads", type=int, default=1, help=f"of PyTorch ({AT_LEAST_ONE})")
    requested = parser.parse_args()
    torch.set_num_threads(requested.threads)
    for name in requested.names or LESSONS:
        lesson = run(name, LESSONS[name], EXPERIMENTS[name], 1.0, FIGURES, progress=True)
        (FIGURES / f"{name}.json").unlink()  # the rows are in the lab
        for row in lesson.rows:
            record("learn", row.values, seed=row.seed, lesson=name, variant=row.variant)
        times = {key: lesson.protocol[key] for key in ("seconds", "CPU seconds")}
        held = f"{sum(claim.holds for claim in lesson.claims)} of {len(lesson.claims)}"
        record("learn", times | {"claims that held": held}, seed=0, lesson=name, variant=TIME)
        print(lesson, flush=True)


if __name__ == "__main__":
    main()
