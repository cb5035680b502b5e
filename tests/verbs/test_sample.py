"""Samples as files and as a grid: what is too large, what is left of a killed command, and where it is written.

A second way in for paths (`~`, the current folder) was looked for in sample, upscale, inpaint and translate.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ganfold
from ganfold.cli import main
from ganfold.errors import GanfoldError
from ganfold.files import locked
from ganfold.runs import writers
from ganfold.runs.run import Run
from ganfold.verbs.sample import sample

SMALL: dict[str, Any] = {"batch": 8, "width": 4, "kimg": 0.008, "evaluate_every": 0, "progress": False}


@pytest.fixture(scope="module")
def run(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return ganfold.train("cgan", squares, tmp_path_factory.mktemp("runs") / "cgan", z_dim=6, **SMALL)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}


@pytest.mark.parametrize("label", [None, "red"])
def test_a_grid_that_no_memory_holds_is_refused_with_the_largest_count(
    run: Run, tmp_path: Path, label: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sample", str(run.path), "--out", str(tmp_path / "a.png"), "--count", "1000000000000"]
    assert main([*words, *(["--label", label] if label else [])]) == 2
    error = capsys.readouterr().err
    assert "a grid of 1,000,000,000,000 images" in error
    assert "needs more memory than there is: give --count " in error
    assert len(error.splitlines()) == 1


def test_the_largest_count_that_is_named_can_be_made(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganfold.device.memory", lambda _: 2_000_000)
    with pytest.raises(GanfoldError, match="give --count 36 or less, or a folder"):
        sample(run, tmp_path / "a.png", count=60)
    sample(run, tmp_path / "a.png", count=36)
    sample(run, tmp_path / "files", count=60)  # takes any number


def test_files_are_the_same_whatever_is_in_memory_at_once(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample(run, tmp_path / "one", count=20, start=3)
    monkeypatch.setattr(writers, "BLOCK", 7)
    sample(run, tmp_path / "two", count=20, start=3)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert len(files(tmp_path / "one")) == 20


def test_nothing_of_a_killed_command_is_taken_for_a_sample(run: Run, tmp_path: Path) -> None:
    left = tmp_path / ".out.partial" / "content"
    left.mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(left / "000099.png")
    sample(run, tmp_path / "out", count=2, label=run.classes[0])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["000000.png", "000001.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_two_commands_do_not_write_one_folder(run: Run, tmp_path: Path) -> None:
    with locked(tmp_path / ".out.partial", "sampling"):
        with pytest.raises(GanfoldError, match="sampling .*is going on"):
            sample(run, tmp_path / "out", count=2)
        assert (tmp_path / ".out.partial").exists()
    assert not (tmp_path / "out").exists()


def test_samples_are_added_to_a_folder_only_by_force(run: Run, tmp_path: Path) -> None:
    sample(run, tmp_path / "out", count=2)
    with pytest.raises(GanfoldError, match="exists"):
        sample(run, tmp_path / "out", count=2)
    before = files(tmp_path / "out")
    sample(run, tmp_path / "out", count=2, start=2, force=True)
    assert files(tmp_path / "out").items() > before.items()


def test_a_grid_is_a_png(run: Run, tmp_path: Path) -> None:
    with pytest.raises(GanfoldError, match=r"a\.jpg cannot be written: end --out with \.png for one grid, or name a"):
        sample(run, tmp_path / "a.jpg", count=2)


def test_the_current_folder_can_be_filled(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    sample(run, ".", count=2, label=run.classes[0])
    assert sorted(path.name for path in (tmp_path / "empty").iterdir()) == ["000000.png", "000001.png"]


def test_the_home_folder_is_understood_in_every_path(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    pixels = np.load(squares)["images"]
    Image.fromarray(pixels[0]).save(tmp_path / "a.png")
    mask = np.zeros((16, 16), np.uint8)
    mask[4:8, 4:8] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    ganfold.train("srgan", squares, "~/sr", blocks=1, scale=2, **SMALL)
    ganfold.train("context-encoder", squares, "~/ce", **SMALL)
    ganfold.train("pix2pix", squares, "~/pp", input="grey", **SMALL)
    assert main(["sample", "~/sr", "--out=~/s.png", "--count", "2"]) == 0
    assert main(["upscale", "~/sr", "~/a.png", "--out=~/u.png"]) == 0
    assert main(["inpaint", "~/ce", "~/a.png", "--mask=~/mask.png", "--out=~/i.png"]) == 0
    ganfold.inpaint("~/ce", "~/a.png", "~/mask.png")
    assert main(["translate", "~/pp", "~/a.png", "--out=~/t.png"]) == 0
    assert {"s.png", "u.png", "i.png", "a-inpainted.png", "t.png"} <= set(os.listdir(tmp_path))
    assert os.listdir(tmp_path / "cwd") == []
