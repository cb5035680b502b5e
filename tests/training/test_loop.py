"""What a training shows while it runs and at its end, and the default batch that few images cannot fill.

A batch that is too large was looked for in: `train` in Python and on the command line, a run that goes on, a run that
is done, `--restart`, other numbers of ranks (the batch follows from the images alone).
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import ganfold
from ganfold import GanfoldError
from ganfold.cli import main
from ganfold.interface.settings import Settings
from ganfold.runs import checkpoint
from ganfold.training import loop
from ganfold.training.journal import YOUNG, Journal
from ganfold.training.request import Request
from ganfold.training.trainer import Trainer

SMALL: dict[str, Any] = {"width": 4, "z_dim": 6, "resolution": 16, "evaluate_every": 0}
EIGHT = SMALL | {"batch": 8}


def rows(out: Path) -> list[dict[str, float]]:
    lines = (out / "log.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in ("images/s", "minutes")} for line in lines]


def assert_same_run(one: Path, other: Path) -> None:
    assert rows(one) == rows(other)
    first, second = (load_file(checkpoint.checkpoints(out / "checkpoints")[-1]) for out in (one, other))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    names = sorted(path.name for path in (one / "samples").iterdir())
    assert names == sorted(path.name for path in (other / "samples").iterdir())
    assert all((one / "samples" / n).read_bytes() == (other / "samples" / n).read_bytes() for n in names)


# The batch.


def test_a_default_batch_that_the_images_cannot_fill_is_lowered_and_the_run_goes_on(
    squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    small = SMALL | {"report_kimg": 0.064}
    ganfold.train("dcgan", squares, tmp_path / "whole", **small, kimg=0.192, progress=False)
    run = ganfold.train("dcgan", squares, out, **small, kimg=0.064)
    sentence = "The default batch of dcgan is 128, and there are only 96 images to train on: the batch is 64."
    assert capsys.readouterr().out.count(sentence) == 1
    assert run.record.batch == 64
    assert "--batch" not in run.record.command
    words = [*shlex.split(run.record.command)[1:], "--kimg", "0.192"]
    assert main(words) == 0
    assert_same_run(tmp_path / "whole", out)
    assert main(words) == 0
    assert "is done" in capsys.readouterr().out
    assert main([*words, "--restart"]) == 0
    assert_same_run(tmp_path / "whole", out)


def test_a_batch_that_the_user_named_is_refused(
    squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    flags = ["--width", "4", "--z-dim", "6", "--resolution", "16", "--kimg", "0.064"]
    words = ["train", "dcgan", "--data", str(squares), "--out", str(out), *flags]
    assert main([*words, "--batch", "128"]) == 2  # its default, but named
    assert "a batch of 128 is larger than the 96 training images" in capsys.readouterr().err
    assert not out.exists()
    assert main(words) == 0
    with pytest.raises(GanfoldError, match="was trained with batch = 64, and 128 is requested"):
        ganfold.train("dcgan", squares, out, **SMALL, batch=128, kimg=1, progress=False)
    ganfold.train("dcgan", squares, tmp_path / "named", **SMALL, batch=32, kimg=0.032, progress=False)
    with pytest.raises(GanfoldError, match="was trained with batch = 32, and 64 is requested"):
        ganfold.train("dcgan", squares, tmp_path / "named", **SMALL, kimg=1, progress=False)


def test_the_batch_follows_from_the_number_of_images_alone() -> None:
    request = Request.of("dcgan", "photos")
    assert [request.fitted(count).config.batch for count in (1000, 128, 127, 64, 63, 3, 2)] == [
        128, 128, 64, 64, 32, 2, 2,
    ]  # fmt: skip
    assert request.fitted(70).fitted(70) == request.fitted(70)
    assert Request.of("dcgan", "photos", options={"batch": 128}).fitted(20).config.batch == 128


# Looks between reports.


def trained_slowly(
    squares: Path, out: Path, patch: pytest.MonkeyPatch, seconds: float, **options: Any
) -> tuple[list[float], ganfold.Run]:
    """The kimg of the looks of a run whose steps take so long."""
    now, looks = [0.0], []
    step, newest = Trainer.step, Journal.newest

    def slow(self: Trainer) -> None:
        step(self)
        now[0] += seconds

    def noted(self: Journal, samples: Any, kimg: float, columns: int | None = None) -> None:
        looks.append(kimg)
        newest(self, samples, kimg, columns)

    with patch.context() as inner:
        inner.setattr(Trainer, "step", slow)
        inner.setattr(Journal, "newest", noted)
        run = ganfold.train("dcgan", squares, out, **EIGHT | {"kimg": 0.12} | options, clock=lambda: now[0])
    return looks, run


def test_a_slow_training_is_seen_after_twenty_seconds(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    looks, run = trained_slowly(squares, out, monkeypatch, 6.0, report_kimg=1)
    assert looks == [0.032, 0.088, 0.12]  # after 24 s, 42 s later, and at the end
    assert (out / "log.jsonl").read_bytes() == b""
    said = capsys.readouterr().out
    assert said.count("Loss_D") == 2
    assert said.count(f"The newest samples are in {out / 'newest.png'}.") == 1
    assert run.image_files() == [out / "newest.png"]
    assert f"Newest samples: {out / 'newest.png'}" in said
    with Image.open(out / "newest.png") as image:
        assert image.info["kimg"] == "0.12"
    assert "Generated, at 0.12 kimg" in ganfold.report(out).read_text()


def test_looks_change_nothing_that_is_kept(squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"report_kimg": 0.08, "kimg": 0.16, "progress": False}
    some, _ = trained_slowly(squares, tmp_path / "slow", monkeypatch, 9.0, **options)
    none, run = trained_slowly(squares, tmp_path / "quick", monkeypatch, 0.1, **options)
    assert some == [0.024, 0.064, 0.152]  # 20, 40 and 80 s without a report; there is one at 0.08
    assert none == []
    assert_same_run(tmp_path / "slow", tmp_path / "quick")
    assert len(rows(tmp_path / "slow")) == 2
    assert not (tmp_path / "slow" / "newest.png").exists()  # the last report is newer
    assert run.image_files() == [tmp_path / "quick" / "samples" / "000000.160.png"]


# The bar.


def test_the_bar_moves_with_each_step_and_ends_at_the_end(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shares: list[float] = []
    tick = Journal.tick

    def noted(self: Journal, share: float, kimg: float, images_per_second: float) -> None:
        shares.append(round(share, 3))
        tick(self, share, kimg, images_per_second)

    monkeypatch.setattr(Journal, "tick", noted)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    trained_slowly(squares, tmp_path / "run", monkeypatch, 1.0, report_kimg=1)
    assert shares == [round(step / 15, 3) for step in range(1, 16)] + [1.0]
    said = capsys.readouterr().out
    bar, _, end = said.rpartition("Done:")
    assert "100 %" in bar.rpartition("kimg")[2]
    assert "elapsed 0:00:0" in bar
    assert ", left 0:00:00" in bar
    assert "━" not in end  # what a run leaves stands below the bar


def test_where_there_is_no_terminal_there_is_no_bar(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained_slowly(squares, tmp_path / "run", monkeypatch, 1.0, report_kimg=0.04)
    said = capsys.readouterr().out
    assert "elapsed" not in said
    assert said.count("Loss_D") == 3


# Checkups, and the end.


class FakeCheckup:
    """Gives these values of KID, one after the other."""

    values = iter((3.0,))
    shares = 0.0

    def __init__(self, *_: Any) -> None:
        pass

    def __call__(self, trainer: Trainer) -> dict[str, float]:
        row = {"KID": next(self.values), "KID/error": 0.1, "repeats": 0.0, "density": 0.0}
        return row | dict.fromkeys(("precision", "recall", "coverage"), self.shares)


def test_the_kid_while_training_is_named_quick_and_the_best_checkpoint_at_the_end(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loop, "Checkup", FakeCheckup)
    monkeypatch.setattr(FakeCheckup, "values", iter((3.0, 2.5, 2.7)))
    options = EIGHT | {"evaluate_every": 0.024, "kimg": 0.08, "report_kimg": 0.04}
    run = ganfold.train("dcgan", squares, tmp_path / "run", **options)
    said = capsys.readouterr().out
    assert "quick KID 2.500 ± 0.100 (the best so far)\n" in said
    assert said.count("± is the standard error of the sample") == said.count(YOUNG) == 1
    assert "0.00 " not in said.replace(YOUNG, "")  # no row of zeros
    assert "Best checkpoint: quick KID 2.500 at 0.0 kimg; sample and evaluate use it (--checkpoint last takes" in said
    assert f"Newest samples: {tmp_path / 'run' / 'samples' / '000000.080.png'}" in said
    assert run.state["best"] == {"KID": 2.5, "kimg": 0.048}  # the stored name is that of older runs
    assert "quick KID 2.5" in "\n".join(run.lines())
    assert [row["KID"] for row in rows(tmp_path / "run") if "KID" in row] == [3.0, 2.5, 2.7]


def test_shares_above_zero_are_shown(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loop, "Checkup", FakeCheckup)
    monkeypatch.setattr(FakeCheckup, "values", iter((3.0,)))
    monkeypatch.setattr(FakeCheckup, "shares", 0.12)
    ganfold.train("dcgan", squares, tmp_path / "run", **EIGHT | {"evaluate_every": 0.024, "kimg": 0.032})
    said = capsys.readouterr().out
    assert "(the best so far)  precision 0.12  recall 0.12  coverage 0.12\n" in said
    assert YOUNG not in said


def test_without_a_checkup_the_newest_checkpoint_is_named(
    squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ganfold.train("dcgan", squares, tmp_path / "run", **EIGHT, kimg=0.016)
    assert "No checkup has measured it, so the newest checkpoint is used." in capsys.readouterr().out


def test_a_budget_that_a_step_overran_is_said(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained_slowly(squares, tmp_path / "run", monkeypatch, 30.0, kimg=None, minutes=0.2)
    over = "Done: 0.0 kimg in 0.5 minutes. The budget of 0.2 ended within a step or a checkup, and that was finished"
    assert over in capsys.readouterr().out
    trained_slowly(squares, tmp_path / "other", monkeypatch, 6.0, kimg=None, minutes=0.2)
    assert "Done: 0.0 kimg in 0.2 minutes.\n" in capsys.readouterr().out


def test_a_phase_that_never_began_is_said_with_what_to_do(
    squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"width": 4, "blocks": 1, "batch": 8, "resolution": 16, "content": "pixels", "evaluate_every": 0}
    out = tmp_path / "run"
    ganfold.train("srgan", squares, out, **small, kimg=0.032, pretrain_kimg=0.1)
    told = "Training ended before its phases discriminator and generator began"
    said = capsys.readouterr().out
    assert f"Doctor: {told} (they begin at 0.1 kimg, and training ended at 0.032)." in said
    assert "or begin anew with --pretrain-kimg 0.016 and --restart." in said
    page = ganfold.report(out).read_text()
    assert f"The doctor says: {told}." in page
    assert f"<h3>{told}</h3>" in page
    ganfold.train("srgan", squares, out, **small, kimg=0.2, pretrain_kimg=0.1)  # it goes on, and they begin
    assert told not in capsys.readouterr().out
    assert told not in ganfold.report(out).read_text()


def test_a_budget_in_words() -> None:
    assert Settings().budget == "1,000 kimg"
    assert Settings(minutes=1).budget == "1 minute"
    assert Settings(minutes=0.5, kimg=3).budget == "3 kimg or 0.5 minutes"
