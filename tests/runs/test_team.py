"""Two processes of torchrun do what one does, and share the work.

Looked for: `sample`, `evaluate` and `copies`; an error in the second process. Other verbs share nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import ganfold
import shared_work
from ganfold.runs.team import Team

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def files(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".txt"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.mark.slow
def test_two_processes_make_the_files_of_one(squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"batch": 8, "width": 4, "z_dim": 6, "kimg": 0.008, "held_out": 0.3, "evaluate_every": 0}
    images, labels = (np.load(squares)[name] for name in ("images", "labels"))
    np.savez(tmp_path / "more.npz", images=np.concatenate([images, 255 - images]), labels=np.tile(labels, 2))
    run = ganfold.train("cgan", tmp_path / "more.npz", tmp_path / "run", progress=False, **small)
    one, two = tmp_path / "one", tmp_path / "two"
    for out in (one, two):
        out.mkdir()
    script = Path(__file__).parents[1] / "shared_work.py"
    done = subprocess.run(
        [*TORCHRUN, str(script), str(run.path), str(two)],
        env={**ENVIRONMENT, "GANFOLD_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    sentence = f"no space left to write {two / 'full'}: free some, then give the same command again"
    assert (two / "refused-0.txt").read_text() == f"False {sentence}"
    assert (two / "refused-1.txt").read_text() == f"True {sentence}"

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr("ganfold.runs.writers.BLOCK", 32)
    shared_work.work(str(run.path), one, shared=False)
    torch.set_num_threads(threads)
    told = {(out / f"rank-{rank}.txt").read_text() for out, rank in ((one, "none"), (two, 0), (two, 1))}
    assert len(told) == 1
    assert files(one) == files(two)
    assert len(files(one)) == 80 + 2 + 1 + 2


@pytest.mark.parametrize("shared", [False, True])
def test_a_process_shares_only_where_it_is_told_to(shared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script may evaluate in its first process alone."""
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    team = Team(shared)
    assert (team.world, team.rank, team.local, team.first) == ((2, 1, 1, False) if shared else (1, 0, 0, True))
