"""A command that is stopped goes on when it is given again, and ends as if nothing had happened.

Looked for in every verb that writes: train with each GAN, by plan, with checkups, going on and restarted; preparation;
check, sample, evaluate, copies, report, probe, upscale, inpaint, translate, augment, study. `plan`, `env` and `gans`
write nothing. Points: every open for writing, mkdir, rename, link, unlink, rmdir, truncate, chmod, utime and fsync, and
safetensors' writer. What strikes there: see stops.py. Here are a few points of most verbs; it tries all with `--all`.
Not looked for: decoding children and joblib's, which write into files that their parent has made, and power cuts.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ganfold
from ganfold import GanfoldError
from ganfold.cli import main
from ganfold.data import cache, load
from ganfold.errors import tell
from ganfold.files import LOCK, read_json, write_json
from ganfold.gans.registry import installed
from ganfold.training import session
from ganfold.training.journal import Journal
from ganfold.training.trainer import Trainer

pytest.importorskip("resource")
from system.stops import commands

OPTIONS: dict[str, Any] = {"batch": 8, "z_dim": 6, "resolution": 16, "report_kimg": 0.016, "progress": False}
NOBODY = 4_000_000  # above the highest number of a process
FEW = 1  # cases of each command: another point and another way for each
GANS = ("rsgan", "cyclegan", "srgan")  # plain, with a pool and two generators, with phases that end
SLOW = {"train, with checkups", "probe"}
OTHERS = {f"train {gan}" for gan in installed() if gan not in GANS}
NAMES = [name for name in commands() if name not in OTHERS | SLOW]


@pytest.fixture(scope="module")
def results() -> dict[str, dict[str, Any]]:
    """What stops.py finds, in a process of its own: it forks."""
    words = [sys.executable, str(Path(__file__).with_name("stops.py")), "--json", "--cases", str(FEW), "--only", *NAMES]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return {row["verb"]: row for row in json.loads(done.stdout)}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_stopped_command_goes_on(name: str, results: dict[str, dict[str, Any]]) -> None:
    row = results[name]
    assert row["faults"] == []
    assert row["kills"] + row["full"] + row["signals"] == FEW
    assert row["points"] > 5


class Killed(BaseException):
    """Stands for SIGKILL."""


def killed(*_: object, **__: object) -> None:
    raise Killed


def test_a_training_killed_at_its_very_end_is_ended_by_the_same_command(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = Journal.state
    monkeypatch.setattr(Journal, "state", lambda s, row: killed() if row["status"] == "done" else state(s, row))
    with pytest.raises(Killed):
        ganfold.train("gan", squares, tmp_path, kimg=0.04, **OPTIONS)
    for name in ("progress.webp", "newest.png"):
        (tmp_path / name).unlink()
    monkeypatch.undo()
    for _ in range(2):
        ganfold.train("gan", squares, tmp_path, kimg=0.04, **OPTIONS)
        assert read_json(tmp_path / "state.json")["status"] == "done"
        assert (tmp_path / "progress.webp").exists()
        assert (tmp_path / "newest.png").exists()


def test_a_signal_in_the_last_step_leaves_a_run_that_is_done(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainer.step

    def interrupted(self: Trainer) -> None:
        step(self)
        if self.steps == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Trainer, "step", interrupted)
    run = ganfold.train("gan", squares, tmp_path, kimg=0.04, **OPTIONS)
    assert (run.state["status"], run.state["step"], run.stopped_by) == ("done", 5, None)
    assert (tmp_path / "newest.png").exists()


@pytest.mark.parametrize("call", ["_delete_run", "_write_record"])
def test_a_restart_that_was_killed_restarts_beside_files_of_the_user(
    call: str, squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ganfold.train("gan", squares, tmp_path, kimg=0.016, **OPTIONS)
    (tmp_path / "mine.txt").write_text("mine")
    real = getattr(session, call)
    monkeypatch.setattr(session, call, lambda *a: (real(*a) if call == "_delete_run" else None, killed()))
    with pytest.raises(Killed):
        ganfold.train("gan", squares, tmp_path, kimg=0.016, seed=1, restart=True, **OPTIONS)
    monkeypatch.undo()
    run = ganfold.train("gan", squares, tmp_path, kimg=0.016, seed=1, restart=True, **OPTIONS)
    assert run.record.settings.seed == 1
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_file_that_is_written_again_loses_what_a_kill_left_and_no_other_does(tmp_path: Path) -> None:
    unfinished, others = tmp_path / f".a.json.{NOBODY}.tmp", [f".b.json.{NOBODY}.tmp", ".a.json.tmp", ".a.json.x.tmp"]
    for name in (unfinished.name, *others):
        (tmp_path / name).write_text("half")
    write_json(tmp_path / "a.json", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, "a.json"])


def test_samples_that_are_in_their_place_leave_nothing_beside(squares: Path, tmp_path: Path) -> None:
    ganfold.train("gan", squares, tmp_path / "run", kimg=0.016, **OPTIONS)
    ganfold.sample(tmp_path / "run", tmp_path / "made", count=2)
    partial = tmp_path / ".made.partial"
    (partial / "content").mkdir(parents=True)
    (partial / LOCK).write_text("half")
    with pytest.raises(GanfoldError, match="exists: give --out"):
        ganfold.sample(tmp_path / "run", tmp_path / "made", count=2)
    assert not partial.exists()
    assert len(list((tmp_path / "made").iterdir())) == 2


def test_what_a_killed_preparation_left_is_removed_though_its_entry_is_there(squares: Path, tmp_path: Path) -> None:
    load(squares, cache=tmp_path, progress=False)
    dead = tmp_path / "building" / "tmpdead"
    (dead / "scratch").mkdir(parents=True)
    (tmp_path / "building" / "tmpdead.lock").touch()
    with cache.building(tmp_path) as alive:
        load(squares, cache=tmp_path, progress=False)
        assert alive.exists()
        assert not dead.exists()
    assert list((tmp_path / "building").iterdir()) == []


# What is printed.


@pytest.mark.slow
@pytest.mark.parametrize("buffered", ["", "1"])
def test_an_output_that_is_full_is_no_fault_of_the_run_folder(buffered: str, squares: Path, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    words = [sys.executable, "-m", "ganfold", "train", "gan", "--data", str(squares), "--out", str(tmp_path / "run")]
    words += ["--batch", "8", "--kimg", "0.016"]
    with open("/dev/full", "w") as full:
        environment = {**os.environ, "PYTHONUNBUFFERED": buffered}
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (2, "ganfold: cannot print: No space left on device\n")
    assert main([*words[3:], "--quiet"]) == 0


def test_a_verb_s_file_without_a_name_is_not_taken_for_the_output(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ganfold.data.load", full)
    assert main(["check", str(squares)]) == 2
    assert capsys.readouterr().err == (
        "ganfold: no space left to write a file: free some, then give the same command again\n"
    )


def test_python_on_an_ascii_output_prints_escapes(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", output)
    journal = Journal(tmp_path, progress=True)
    journal.say("KID 1 ± 2")
    tell("café")
    ganfold.train("gan", squares, tmp_path / "é", kimg=0.016, **OPTIONS | {"progress": True})
    output.flush()
    text = output.buffer.getvalue().decode("ascii")
    assert text.startswith("KID 1 \\xb1 2\ncaf\\xe9\n")
    assert "Done: 0.0 kimg" in text
