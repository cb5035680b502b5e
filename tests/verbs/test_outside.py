"""A GAN from outside of ganfold: trained, opened, measured; and no code runs that nobody named."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ganfold
from ganfold.cli import main
from ganfold.errors import GanfoldError
from ganfold.files import sha256
from ganfold.gans import find

SNGAN = Path(__file__).parents[2] / "docs" / "examples" / "sngan.py"
FLAGS = ["--batch", "8", "--width", "4", "--z-dim", "6", "--resolution", "16", "--kimg", "0.032"]
SMALL: dict[str, Any] = {"batch": 8, "width": 4, "z_dim": 6, "resolution": 16, "kimg": 0.032, "progress": False}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return Path(shutil.copy(SNGAN, tmp_path / "my_gan.py"))


@pytest.fixture
def run(file: Path, squares: Path, tmp_path: Path) -> Path:
    out = tmp_path / "run"
    assert main(["train", f"{file}:SNGAN", "--data", str(squares), "--out", str(out), "--quiet", *FLAGS]) == 0
    return out


def test_the_example_is_short() -> None:
    assert len(SNGAN.read_text().splitlines()) < 90


def test_a_file_is_trained_sampled_and_measured(run: Path, file: Path, tmp_path: Path) -> None:
    record = json.loads((run / "config.json").read_text())
    assert record["gan"] == "my_gan.py:SNGAN"
    assert record["origin"] == {"file": str(file), "sha256": sha256(file)}
    named = ["--gan", f"{file}:SNGAN"]
    many = tmp_path / "many.npy"  # an evaluation needs 50 images in each set
    np.save(many, np.random.default_rng(0).integers(0, 255, (120, 16, 16, 3), np.uint8))
    assert main(["sample", str(run), "--out", str(tmp_path / "grid.png"), "--count", "4", *named]) == 0
    assert (tmp_path / "grid.png").is_file()
    assert main(["copies", str(run), "--features", "pixels", "--count", "20", *named]) == 0
    assert main(["evaluate", str(run), "--features", "pixels", "--reference", str(many), *named]) == 0
    assert (run / "evaluation.json").is_file()
    assert main(["report", str(run)]) == 0  # which needs no class
    assert "my_gan.py:SNGAN" in (run / "report.html").read_text()


def test_the_same_command_goes_on(run: Path, file: Path, squares: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", f"{file}:SNGAN", "--data", str(squares), "--out", str(run), *FLAGS]
    assert main(words) == 0
    assert "is done: 0.0 kimg" in capsys.readouterr().out
    assert main([*words, "--kimg", "0.048"]) == 0
    assert "Going on at 0.0 kimg" in capsys.readouterr().out


def test_opening_a_run_runs_no_code_and_says_which_file_it_wants(
    run: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n" + file.read_text())
    assert main(["sample", str(run), "--out", str(tmp_path / "grid.png")]) == 2
    said = capsys.readouterr().err
    digest = json.loads((run / "config.json").read_text())["origin"]["sha256"]
    assert f"is a run of my_gan.py:SNGAN, a GAN from outside of ganfold ({file}, SHA-256 {digest})" in said
    assert f"give --gan {file}:SNGAN" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "ran").exists()


def test_a_changed_file_is_said(run: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("# a comment\n" + file.read_text())
    assert main(["sample", str(run), "--out", str(tmp_path / "grid.png"), "--gan", f"{file}:SNGAN"]) == 0
    assert "has changed since this run was trained with it" in capsys.readouterr().err


def test_another_gan_is_refused(run: Path, squares: Path, tmp_path: Path) -> None:
    with pytest.raises(GanfoldError, match="this is a run of my_gan.py:SNGAN, and --gan names the class DCGAN"):
        _ = ganfold.load(run, gan="dcgan").gan
    ganfold.train("dcgan", squares, tmp_path / "dcgan", **SMALL)
    with pytest.raises(GanfoldError, match="this is a run of dcgan: leave out --gan"):
        _ = ganfold.load(tmp_path / "dcgan", gan="wgan").gan
    assert ganfold.load(tmp_path / "dcgan", gan="dcgan").sample(1).shape == (1, 16, 16, 3)


def test_a_class_is_trained_as_it_is(file: Path, squares: Path, tmp_path: Path) -> None:
    gan_class = find(f"{file}:SNGAN")
    run = ganfold.train(gan_class, squares, tmp_path / "run", **SMALL)
    assert run.sample(2).shape == (2, 16, 16, 3)
    assert ganfold.load(tmp_path / "run", gan=gan_class).sample(2).shape == (2, 16, 16, 3)
    again = ganfold.plan(squares, gan=gan_class, kimg=1, width=4, progress=False)
    assert again.gan == "my_gan.py:SNGAN"
    assert f"ganfold train {file}:SNGAN" in again.command


def test_a_class_without_a_file_opens_with_the_class(squares: Path, tmp_path: Path) -> None:
    typed: Any = type("Typed", (find("dcgan"),), {"__module__": "typed_by_hand"})
    ganfold.train(typed, squares, tmp_path / "run", **SMALL)
    assert ganfold.load(tmp_path / "run", gan=typed).sample(1).shape == (1, 16, 16, 3)
    with pytest.raises(GanfoldError, match="a GAN from outside of ganfold: if you trust its file, give --gan"):
        _ = ganfold.load(tmp_path / "run").gan


@pytest.mark.parametrize(
    ("text", "name", "sentence"),
    [
        (None, "my_gan.py:SNGAN", "there is no file"),
        ("x = 1", "my_gan.py:SNGAN", "SNGAN"),
        ("class SNGAN: pass", "my_gan.py:SNGAN", "SNGAN"),
        ("1 / 0", "my_gan.py:SNGAN", "ZeroDivisionError"),
        ("def broken(:", "my_gan.py:SNGAN", "SyntaxError"),
    ],
)
def test_a_file_that_is_no_gan_is_one_sentence(
    text: str | None, name: str, sentence: str, tmp_path: Path, squares: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (tmp_path / "my_gan.py").write_text(text)
    before = set(sys.modules)
    assert main(["train", str(tmp_path / name), "--data", str(squares), "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()
    assert {module for module in set(sys.modules) - before if "my_gan" in module} == set()


def test_its_options_are_flags(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", f"{file}:SNGAN", "--help"])
    assert "--width" in capsys.readouterr().out
