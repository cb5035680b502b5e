"""Real processes of `train`: kill -9 at any moment, signals, nohup, a closed pipe, a disk that fills.

Each point of each verb is tried in test_stops.py, in forks. Here are the things that a fork cannot show: the moment is
the clock's and lies within a step, the exit code is the shell's, and the process starts anew. Looked for in `train`
alone, because only `train` catches signals; all other verbs die by them as Python does.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ganfold.gans import find
from ganfold.runs import checkpoint

SMALL = {"batch": 8, "z_dim": 6, "width": 4, "blocks": 1, "pretrain_kimg": 0.2}
MORE = {"cyclegan": ["--target", "digits"]}
KINDS = ["gan", "dcgan", "cgan", "wgan", "srgan", "cyclegan", "gawwn"]
"""One of each kind of training: plain, with BatchNorm, labels, rounds, phases that end, a pool, captions. That all GANs
go on to the same bits is tested in one process, in tests/training/test_train.py."""


def command(gan: str, data: Path, out: Path, kimg: str = "0.4") -> list[str]:
    known = {field.name for field in fields(find(gan).config_class)}
    flags = [word for k, v in SMALL.items() if k in known for word in (f"--{k.replace('_', '-')}", str(v))]
    flags += ["--resolution", "16", "--kimg", kimg, "--report-kimg", "0.02", "--checkpoint-minutes", "0"]
    start = [sys.executable, "-m", "ganfold", "train", gan, "--data", str(data), "--out", str(out)]
    return [*start, *flags, *MORE.get(gan, [])]


def log(out: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("images/s", "minutes")} for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("gan", KINDS)
def test_kill_and_the_same_command_again(gan: str, squares: Path, captioned: Path, tmp_path: Path) -> None:
    data = captioned if gan == "gawwn" else squares
    subprocess.run(command(gan, data, tmp_path / "whole"), check=True, capture_output=True)
    killed, generator = 0, random.Random(0)
    for _ in range(3):
        before = checkpoint.checkpoints(tmp_path / "killed" / "checkpoints")
        process = subprocess.Popen(command(gan, data, tmp_path / "killed"), stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while checkpoint.checkpoints(tmp_path / "killed" / "checkpoints") == before and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(generator.uniform(0, 0.3))
        killed += process.poll() is None
        for number in (signal.SIGSTOP, signal.SIGCONT, signal.SIGKILL):
            process.send_signal(number)
        process.wait()
    assert killed > 0
    subprocess.run(command(gan, data, tmp_path / "killed"), check=True, capture_output=True)
    assert not list((tmp_path / "killed").rglob(".*"))
    assert log(tmp_path / "killed") == log(tmp_path / "whole")
    one, other = (load_file(checkpoint.checkpoints(tmp_path / n / "checkpoints")[-1]) for n in ("whole", "killed"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def training(squares: Path, out: Path) -> subprocess.Popen[str]:
    """A run without end that has written its first line of figures."""
    words = command("gan", squares, out, kimg="1000")
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert process.stdout
    while "kimg  Loss_D" not in process.stdout.readline():
        assert process.poll() is None
    return process


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_a_signal_saves_and_has_its_exit_code(name: str, code: int, squares: Path, tmp_path: Path) -> None:
    process = training(squares, tmp_path / "run")
    process.send_signal(signal.Signals[name])
    said, _ = process.communicate(timeout=60)
    assert process.returncode == code
    assert f"Stopped by {'Ctrl-C' if name == 'SIGINT' else name} and saved" in said
    checkpoint.load(checkpoint.checkpoints(tmp_path / "run" / "checkpoints")[-1])


@pytest.mark.slow
def test_two_ctrl_c_in_a_row_end_at_once_and_the_same_command_goes_on(squares: Path, tmp_path: Path) -> None:
    process = training(squares, tmp_path / "run")
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    process.communicate(timeout=60)
    assert process.returncode == 130
    step = json.loads((tmp_path / "run" / "state.json").read_text())["step"]
    subprocess.run(command("gan", squares, tmp_path / "run", f"{8 * (step + 20) / 1000}"), check=True)
    assert not list((tmp_path / "run").rglob(".*"))


@pytest.mark.slow
def test_under_nohup_a_hangup_stops_nothing(squares: Path, tmp_path: Path) -> None:
    words = ["nohup", *command("gan", squares, tmp_path / "run")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    while not checkpoint.checkpoints(tmp_path / "run" / "checkpoints"):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGHUP)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Done: 0.4 kimg" in said


@pytest.mark.slow
def test_training_that_nobody_reads_any_more_saves_and_ends(squares: Path, tmp_path: Path) -> None:
    process = training(squares, tmp_path / "run")
    assert process.stdout
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    state = json.loads((tmp_path / "run" / "state.json").read_text())
    assert (state["status"], state["why"]) == ("stopped", "a closed pipe")
    newest = checkpoint.checkpoints(tmp_path / "run" / "checkpoints")[-1]
    assert newest == checkpoint.place(newest.parent, state["step"])
    checkpoint.load(newest)


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
