"""kill -9 at any moment, the same command again: the same bits as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ganfold import checkpoint
from ganfold.gans import GANS


def command(gan: str, data: Path, out: Path) -> list[str]:
    flags = [
        "--batch",
        "8",
        "--z-dim",
        "6",
        "--resolution",
        "16",
        "--kimg",
        "0.4",
        "--report-kimg",
        "0.02",
        "--checkpoint-minutes",
        "0",
    ]
    width = ["--width", "4"] if gan == "dcgan" else []
    return [
        sys.executable,
        "-m",
        "ganfold",
        "train",
        gan,
        "--data",
        str(data),
        "--out",
        str(out),
        *flags,
        *width,
    ]


def log(out: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("images/s", "minutes")} for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("gan", GANS)
def test_kill_and_the_same_command_again(gan: str, squares: Path, tmp_path: Path) -> None:
    subprocess.run(command(gan, squares, tmp_path / "whole"), check=True, capture_output=True)
    killed, generator = 0, random.Random(0)
    for _ in range(3):
        before = checkpoint.checkpoints(tmp_path / "killed" / "checkpoints")
        process = subprocess.Popen(command(gan, squares, tmp_path / "killed"), stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while checkpoint.checkpoints(tmp_path / "killed" / "checkpoints") == before and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(generator.uniform(0, 0.3))
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert killed > 0
    subprocess.run(command(gan, squares, tmp_path / "killed"), check=True, capture_output=True)
    assert log(tmp_path / "killed") == log(tmp_path / "whole")
    one, other = (load_file(checkpoint.checkpoints(tmp_path / n / "checkpoints")[-1]) for n in ("whole", "killed"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_sigterm_saves_and_exits_with_143(squares: Path, tmp_path: Path) -> None:
    words = [word if word != "0.4" else "1000" for word in command("gan", squares, tmp_path / "run")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert process.stdout
    while "kimg  Loss_D" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "Stopped by SIGTERM and saved" in said
    checkpoint.load(checkpoint.checkpoints(tmp_path / "run" / "checkpoints")[-1])


@pytest.mark.slow
def test_a_disk_that_fills_is_one_sentence_and_the_earlier_checkpoint_loads(squares: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands in for a full disk: the write fails half-way all the same."""
    words = command("gan", squares, tmp_path / "run")
    words[words.index("0.4")] = "0.04"
    subprocess.run(words, check=True, capture_output=True)
    good = checkpoint.checkpoints(tmp_path / "run" / "checkpoints")[-1]
    words[words.index("0.04")] = "0.4"
    limited = f"ulimit -f 200; exec {' '.join(words)}"
    done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "no space left to write" in done.stderr
    checkpoint.load(good)
    assert not list((tmp_path / "run").rglob("*.tmp"))
    subprocess.run(words, check=True, capture_output=True)
