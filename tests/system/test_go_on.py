"""The same command goes on, one process at a time, whatever a kill, a full disk or a damaged file has left.

Looked for in every folder that is written over several calls: run, study, augmentation; a run inside the latter two
goes through the same code. Points of a kill: before, at and after the first file of each folder. Damage: the log (lost,
short, cut, zeros, a bad line), `state.json`, the best checkpoint. A full disk: TensorBoard's file and the log here,
checkpoints in test_kill.py. Locks: run, study, augmentation; Windows and disks without locks hold nothing. Wrong types
in the record of a run: tests/runs/test_record.py.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter

import ganfold
from blobs import saved
from ganfold import GanfoldError
from ganfold.cli import main
from ganfold.data import load
from ganfold.files import LOCK, locked, read_json, sweep, write_atomically, write_json
from ganfold.runs import checkpoint
from ganfold.studies import folder as studies_folder
from ganfold.studies.claim import claim
from ganfold.studies.design import StudySettings, begin_study, open_study
from ganfold.training import journal, loop
from ganfold.training.trainer import Trainer

OPTIONS: dict[str, Any] = {"batch": 8, "z_dim": 6, "resolution": 16, "report_kimg": 0.016, "progress": False}
NOBODY = 4_000_000  # above the highest number of a process


def train(data: Path, out: Path, kimg: float = 0.064, **options: Any) -> ganfold.Run:
    return ganfold.train("gan", data, out, **OPTIONS | {"kimg": kimg} | options)


@pytest.fixture(scope="module")
def whole(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    out = tmp_path_factory.mktemp("whole") / "run"
    train(squares, out)
    return out


@pytest.fixture
def half(squares: Path, tmp_path: Path) -> Path:
    """A run that has come half-way."""
    train(squares, tmp_path / "run", 0.032)
    return tmp_path / "run"


def rows(out: Path) -> list[dict[str, float]]:
    lines = (out / "log.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in ("images/s", "minutes")} for line in lines]


def assert_same_weights(one: Path, other: Path) -> None:
    first, second = (load_file(checkpoint.checkpoints(out / "checkpoints")[-1]) for out in (one, other))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


# What a kill leaves before the record is written.


def test_a_folder_with_only_what_a_kill_left_is_no_obstacle_and_is_cleaned(
    squares: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    for name in ("samples", "checkpoints"):
        (out / name).mkdir(parents=True)
    for name in (f".config.json.{NOBODY}.tmp", f"samples/.reals.png.{NOBODY}.tmp", LOCK):
        (out / name).write_text("half")
    train(squares, out)
    assert_same_weights(out, whole)
    assert not list(out.rglob(".*"))


@pytest.mark.parametrize("name", ["samples/mine.png", "mine.tmp", ".mine.tmp", "checkpoints/mine", "tensorboard/x"])
def test_a_folder_with_anything_else_is_refused_and_not_touched(name: str, squares: Path, tmp_path: Path) -> None:
    (tmp_path / "run" / name).parent.mkdir(parents=True)
    (tmp_path / "run" / name).write_text("mine")
    with pytest.raises(GanfoldError, match="exists and is not a run"):
        train(squares, tmp_path / "run")
    assert (tmp_path / "run" / name).read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize("call", ["replace", "fsync"])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_training_killed_at_one_of_its_first_files_goes_on(
    call: str, number: int, squares: Path, whole: Path, tmp_path: Path
) -> None:
    code = (
        "import os, ganfold\n"
        f"calls, real = [], os.{call}\n"
        "def killed(*arguments):\n"
        "    calls.append(1)\n"
        f"    return os._exit(9) if len(calls) == {number} else real(*arguments)\n"
        f"os.{call} = killed\n"
        f"ganfold.train('gan', {str(squares)!r}, {str(tmp_path / 'run')!r}, kimg=0.064, **{OPTIONS!r})\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    train(squares, tmp_path / "run")
    assert_same_weights(tmp_path / "run", whole)
    assert not list((tmp_path / "run").rglob(".*"))


def test_a_study_or_augmentation_killed_before_its_record_goes_on(tmp_path: Path) -> None:
    (tmp_path / ".work").mkdir()
    for name in (f".settings.json.{NOBODY}.tmp", LOCK):
        (tmp_path / name).write_text("half")
    claim(tmp_path, tmp_path / "settings.json", {}, own=(".work",))
    (tmp_path / "mine.tmp").write_text("mine")
    with pytest.raises(GanfoldError, match="is not empty"):
        claim(tmp_path, tmp_path / "settings.json", {}, own=(".work",))


def test_options_that_are_tuples_go_on(tmp_path: Path) -> None:
    requested = {"options": {"betas": (0.5, 0.9)}, "small": ("a",)}
    write_json(tmp_path / "asked.json", requested)
    claim(tmp_path, tmp_path / "asked.json", requested)
    with pytest.raises(GanfoldError, match="was begun with options"):
        claim(tmp_path, tmp_path / "asked.json", requested | {"options": {"betas": (0.5, 0.99)}})
    (tmp_path / "asked.json").write_text("[]")
    with pytest.raises(GanfoldError, match="asked.json is damaged"):
        claim(tmp_path, tmp_path / "asked.json", requested)


# Damage.


def cut(content: bytes) -> bytes:
    return content[: len(content) - 20]


LOGS: dict[str, tuple[Callable[[bytes], bytes | None], str, list[int]]] = {  # damage, sentence, steps that are left
    "lost": (lambda _: None, "ends before the checkpoint: its rows after 0 kimg are lost", []),
    "empty": (lambda _: b"", "ends before the checkpoint: its rows after 0 kimg are lost", []),
    "cut": (cut, "ends before the checkpoint: its rows after 0.016 kimg are lost", [2]),
    "zeros": (lambda log: cut(log) + bytes(20), "ends before the checkpoint: its rows after 0.016 kimg are lost", [2]),
    "a bad line": (lambda log: b"\xff" + log, "is damaged: 1 of its lines is left out", [4]),
    "an absurd line": (lambda log: b"[" * 200_000 + b"\n" + log[log.index(b"\n") + 1 :], "1 of its lines", [4]),
    "no row": (lambda log: b'{"step": 2, "kimg": "x"}\n' + log[log.index(b"\n") + 1 :], "1 of its lines", [4]),
    "longer": (lambda log: log + b'{"step": 6, "kimg": 0.048}\n{"step', "", [2, 4]),
}


@pytest.mark.parametrize("kind", LOGS)
def test_a_damaged_log_is_said_and_the_training_has_the_same_bits(
    kind: str, squares: Path, whole: Path, half: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, sentence, left = LOGS[kind]
    log = half / "log.jsonl"
    content = damage(log.read_bytes())
    log.unlink()
    if content is not None:
        log.write_bytes(content)
    train(squares, half, progress=True)
    said = capsys.readouterr().out
    assert sentence in said
    assert said.count("log.jsonl") == (1 if sentence else 0)
    assert [row["step"] for row in rows(half)] == [*left, 6, 8]
    assert rows(half)[-2:] == rows(whole)[-2:]
    assert_same_weights(half, whole)
    train(squares, half, 0.08, progress=True)  # which finds a whole log
    assert "log.jsonl" not in capsys.readouterr().out


def test_a_try_that_fails_does_not_change_the_log(squares: Path, half: Path) -> None:
    (half / "log.jsonl").write_bytes(cut((half / "log.jsonl").read_bytes()))
    before = (half / "log.jsonl").read_bytes()
    newest = checkpoint.checkpoints(half / "checkpoints")[-1]
    newest.write_bytes(cut(newest.read_bytes()))
    with pytest.raises(GanfoldError, match="is damaged"):
        train(squares, half)
    assert (half / "log.jsonl").read_bytes() == before


@pytest.mark.parametrize("text", ["[]", "{}", '"x"', '{"images": "x"}', "[" * 200_000, "\0" * 300, ""])
def test_a_damaged_state_is_one_sentence_and_going_on_needs_it_not(
    text: str, squares: Path, whole: Path, half: Path
) -> None:
    (half / "state.json").write_text(text)
    with pytest.raises(GanfoldError, match=r"state\.json is damaged \(.*\): (delete it|restore it)"):
        train(squares, half)
    (half / "state.json").unlink()
    train(squares, half)
    assert_same_weights(half, whole)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"none")])
def test_a_rescue_without_its_best_checkpoint_goes_back_to_another(
    damage: Callable[[Path], object], squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, losses = tmp_path / "run", iter(["KID rose"])

    def examined(self: loop.Loop) -> str:
        self.checkups += 1
        best = out / "checkpoints" / checkpoint.BEST
        best.write_bytes(b"")
        damage(best)
        return next(losses, "")

    monkeypatch.setattr(loop, "FEWEST", 1)
    monkeypatch.setattr(loop, "Checkup", lambda *_: True)
    monkeypatch.setattr(loop.Loop, "_examine", examined)
    train(squares, out, evaluate_every=0.032, checkpoint_minutes=0)
    state = read_json(out / "state.json")
    assert state["status"] == "done"
    assert [rescue["to"] for rescue in state["rescues"]] == [0.024]


# A full disk.


def test_a_full_disk_takes_tensorboard_away_and_nothing_else(
    squares: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(EventsWriter, "flush", full)
    train(squares, tmp_path / "run", progress=True)
    said = capsys.readouterr()
    assert said.out.count("TensorBoard's files are left out from here on: no space left") == 1
    assert said.err == ""
    assert rows(tmp_path / "run") == rows(whole)
    assert_same_weights(tmp_path / "run", whole)


@contextmanager
def limited_files() -> Iterator[Callable[[int], None]]:
    """Limits the size of files, as a full disk would.

    Not a fixture: pytest writes a test's dot before it ends the test's fixtures, and its own output may be a file.
    """
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_of_tensorboard_that_cannot_grow_is_said_once(tmp_path: Path) -> None:
    said: list[str] = []
    board = journal._Board(tmp_path, 0, said.append)
    with limited_files() as limit:
        limit(4096)
        for step in range(100):
            board.add(step, summary.scalar("Loss", 1.0))
        board.close()
    assert len(said) == 1
    assert "no space left to write" in said[0]


def test_a_log_that_cannot_grow_ends_in_a_sentence_and_goes_on_later(
    squares: Path, whole: Path, half: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = journal.Journal._write
    with limited_files() as limit:

        def filled(self: journal.Journal, row: dict[str, Any]) -> None:
            limit((half / "log.jsonl").stat().st_size + 10)
            write(self, row)

        monkeypatch.setattr(journal.Journal, "_write", filled)
        with pytest.raises(GanfoldError, match=r"no space left to write .*log\.jsonl"):
            train(squares, half)
    monkeypatch.undo()
    train(squares, half)
    assert rows(half) == rows(whole)
    assert_same_weights(half, whole)


# One at a time.


def test_a_second_training_in_a_folder_is_refused(squares: Path, half: Path) -> None:
    before = {path: path.read_bytes() for path in half.rglob("*") if path.is_file()}
    with locked(half, "a training"):
        for options in ({}, {"restart": True}, {"seed": 1, "restart": True}):
            with pytest.raises(
                GanfoldError, match=rf"a training \(process {os.getpid()} on {socket.gethostname()}\) is going on"
            ):
                train(squares, half, **options)
        assert ganfold.load(half).sample(1).shape == (1, 16, 16, 3)  # a reader is free
    assert {path: path.read_bytes() for path in half.rglob("*") if path.is_file()} == before


def test_a_training_that_began_meanwhile_is_not_written_over(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init = Trainer.__init__

    def meanwhile(self: Trainer, *arguments: Any, **options: Any) -> None:
        monkeypatch.setattr(Trainer, "__init__", init)
        train(squares, tmp_path / "run", 0.016)
        init(self, *arguments, **options)

    monkeypatch.setattr(Trainer, "__init__", meanwhile)
    with pytest.raises(GanfoldError, match="another training has just written"):
        train(squares, tmp_path / "run", 0.032)


def test_a_full_disk_does_not_keep_a_folder_from_being_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with locked(tmp_path / "run", "a training"):
            patch.undo()
            with pytest.raises(GanfoldError, match="is going on in"), locked(tmp_path / "run", "a study"):
                pass


def test_a_copy_that_is_cut_short_leaves_no_half_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = load(saved(tmp_path / "images.npz", (4, 4, 4)), progress=False)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.png").write_bytes(b"whole")
    images = replace(images, source=str(tmp_path / "set"), names=["a.png"])

    def half(_: Path, target: Path) -> None:
        Path(target).write_bytes(b"wh")
        raise OSError(errno.ENOSPC, "No space left on device")

    def no_links(*_: Any) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "link", no_links)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", half)
        with pytest.raises(GanfoldError, match="no space left"):
            studies_folder._write_real(images, 0, tmp_path / "out" / "a.png")
    assert list((tmp_path / "out").iterdir()) == []
    studies_folder._write_real(images, 0, tmp_path / "out" / "a.png")
    assert (tmp_path / "out" / "a.png").read_bytes() == b"whole"


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    code = (
        "import time; from pathlib import Path; from ganfold.files import locked\n"
        f"with locked(Path({str(tmp_path / 'run')!r}), 'a training'):\n"
        "    print(flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    process.stdout.readline()
    second = locked(tmp_path / "run", "a study")
    with pytest.raises(GanfoldError, match=rf"a training \(process {process.pid} on .*\) is going on in .*run"), second:
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (tmp_path / "run" / LOCK).exists()
    with locked(tmp_path / "run", "a training"):
        pass
    assert not list((tmp_path / "run").iterdir())


def test_a_second_study_or_augmentation_in_a_folder_is_refused(tmp_path: Path) -> None:
    data = saved(tmp_path / "many.npz", (80, 80, 60))
    calls: list[Callable[[Path], object]] = [
        lambda out: ganfold.study(data, out, resolution=16, progress=False),
        lambda out: ganfold.augment(data, out, resolution=16, progress=False),
    ]
    for number, call in enumerate(calls):
        out = tmp_path / str(number)
        with locked(out, "a study"), pytest.raises(GanfoldError, match=r"a study \(process .*is going on in"):
            call(out)
        assert not out.exists()


# Is it the same?


def test_a_run_that_is_done_is_not_done_for_other_images(squares: Path, whole: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.npz"
    np.savez(other, images=np.load(squares)["images"][::-1][:64] + 1)
    with pytest.raises(GanfoldError, match=r"was trained on other images than .*other\.npz holds now"):
        train(other, whole)
    with pytest.raises(GanfoldError, match=r"nowhere"):
        train(tmp_path / "nowhere.npz", whole)


def test_a_run_is_done_though_its_images_are_gone(
    squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "mine.npz"
    shutil.copy(squares, data)
    train(data, tmp_path / "run", 0.016)
    data.unlink()
    assert not train(data, tmp_path / "run", 0.016, progress=True).stopped_by
    assert "is done" in capsys.readouterr().out


def test_a_gan_file_that_changed_is_said_once(
    squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.py"
    text = "from ganfold.gans.gan import MLPGAN\n\n\nclass Mine(MLPGAN):\n    pass\n"
    for kimg, ending, notes in ((0.016, "", 0), (0.016, "", 0), (0.016, "# new\n", 1), (0.032, "# newer\n", 1)):
        file.write_text(text + ending)
        ganfold.train(f"{file}:Mine", squares, tmp_path / "run", **OPTIONS | {"kimg": kimg})
        assert capsys.readouterr().err.count("has changed since this run was trained") == notes


def test_a_run_that_was_stopped_once_and_is_now_done_ends_with_zero(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainer.step

    def interrupted(self: Trainer) -> None:
        step(self)
        os.kill(os.getpid(), signal.SIGINT)

    words = ["train", "gan", "--data", str(squares), "--out", str(tmp_path / "run"), "--batch", "8", "--kimg"]
    monkeypatch.setattr(Trainer, "step", interrupted)
    assert main([*words, "1"]) == 130
    monkeypatch.setattr(Trainer, "step", step)
    assert main([*words, "0.008"]) == 0
    assert ganfold.load(tmp_path / "run").stopped_by == "Ctrl-C"  # of the longer training


# Files.


def test_only_what_dead_processes_left_is_swept(tmp_path: Path) -> None:
    alive = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    names = [f".a.json.{NOBODY}.tmp", f".a.json.{os.getpid()}.tmp"]
    kept = [f".a.json.{alive.pid}.tmp", "a.json", ".a.tmp", f"a.json.{NOBODY}.tmp"]
    (tmp_path / "below").mkdir()
    for folder in (tmp_path, tmp_path / "below"):
        for name in (*names, *kept):
            (folder / name).write_text("")
    sweep(tmp_path)
    for folder in (tmp_path, tmp_path / "below"):
        assert sorted(path.name for path in folder.iterdir() if path.is_file()) == sorted(kept)
    alive.communicate(b"\n")


def test_files_can_be_read_as_the_umask_says(squares: Path, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        train(squares, tmp_path / "run", 0.016)
        write_atomically(tmp_path / "private", lambda path: os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)))
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 8
    assert {path.stat().st_mode & 0o777 for path in files} == {0o640}


def test_a_name_that_is_not_utf_8_survives_json(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9") + "é\\"
    write_json(tmp_path / "a.json", {name: name})
    assert read_json(tmp_path / "a.json") == {name: name}
    (tmp_path / "a.json").read_text(encoding="utf-8")


def test_a_study_with_options_that_are_tuples_goes_on(tmp_path: Path) -> None:
    data = saved(tmp_path / "many.npz", (80, 80, 60))
    images = load(data, resolution=16, progress=False)
    settings = StudySettings(
        data=str(data), resolution=16, gan="rsgan", kimg=1, minutes=None, replicates=1, share=0.5, small=(), few=None,
        withhold=None, ratio=1.0, factor=2.0, augmentation="classical", flips=False, steps=4, group=None, seed=0,
        device="cpu", options={"betas": (0.0, 0.9)},
    )  # fmt: skip
    out = tmp_path / "out"
    first, again = (begin_study(out, settings, images, ["cnn"]) for _ in range(2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert open_study(out)[0] == settings
    open_study.cache_clear()
    for name, content in (("parts.npz", b"none"), ("settings.json", b"{}")):
        (out / name).write_bytes(content)
        with pytest.raises(GanfoldError, match=f"{name} is damaged"):
            open_study(out)
