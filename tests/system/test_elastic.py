"""torchrun starts a training again after one of its processes was killed, and it goes on to the same bits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ganfold.runs import checkpoint

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
FLAGS = ["--batch", "8", "--width", "4", "--resolution", "16", "--kimg", "0.4", "--report-kimg", "0.04"]
PATIENCE = 300  # seconds


def begin(squares: Path, out: Path) -> subprocess.Popen[str]:
    words = ["-m", "ganfold", "train", "dcgan", "--data", str(squares), "--out", str(out), "--checkpoint-minutes", "0"]
    return subprocess.Popen(
        [*TORCHRUN, "--max-restarts", "1", *words, "--evaluate-every", "0", *FLAGS],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def children(process: int) -> list[int]:
    """The processes that a process has started, the first rank first."""
    return [int(number) for number in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def tensors(out: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(out / "checkpoints" / "step-000000050.safetensors")[0]


def losses(out: Path) -> list[float]:
    return [json.loads(line)["Loss_D"] for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to find the processes")
def test_a_job_goes_on_to_the_same_bits_when_one_of_its_processes_is_killed(squares: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    job, deadline = begin(squares, killed), time.monotonic() + PATIENCE
    while len(list(killed.glob("checkpoints/*.safetensors"))) < 2:
        assert job.poll() is None, job.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    before = children(job.pid)
    os.kill(before[1], signal.SIGKILL)
    output, errors = job.communicate(timeout=PATIENCE)
    assert job.returncode == 0, errors
    assert "exitcode: -9" in errors  # as torchrun says before it starts all again
    assert output.count("Done:") == 1
    undisturbed = begin(squares, whole)
    undisturbed.communicate(timeout=PATIENCE)
    assert undisturbed.returncode == 0
    assert losses(killed) == losses(whole)
    assert tensors(killed).keys() == tensors(whole).keys()
    assert all(torch.equal(tensor, tensors(whole)[name]) for name, tensor in tensors(killed).items())
