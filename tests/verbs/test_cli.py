"""The command line: exit codes, sentences, no tracebacks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganfold.cli import main

FLAGS = [
    "--batch",
    "8",
    "--width",
    "4",
    "--z-dim",
    "6",
    "--resolution",
    "16",
    "--kimg",
    "0.04",
    "--report-kimg",
    "0.02",
]


@pytest.fixture(scope="module")
def run(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "run"
    assert main(["train", "dcgan", "--data", str(squares), "--out", str(out), *FLAGS]) == 0
    return out


def test_sample_writes_files_and_one_grid(run: Path, tmp_path: Path) -> None:
    assert main(["sample", str(run), "--count", "5", "--seed", "7", "--start", "2", "--out", str(tmp_path / "s")]) == 0
    files = sorted((tmp_path / "s").iterdir())
    assert [f.name for f in files] == [f"{i:06d}.png" for i in range(2, 7)]
    with Image.open(files[0]) as image:
        assert image.size == (16, 16)
        assert image.text["seed"] == "7"  # type: ignore[attr-defined]
    assert main(["sample", str(run), "--count", "9", "--out", str(tmp_path / "grid.png")]) == 0
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.width == grid.height > 48


def test_sample_does_not_write_over_what_is_there(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "000000.png").write_text("mine")
    words = ["sample", str(run), "--count", "2", "--out", str(tmp_path)]
    assert main(words) == 2
    assert "exists: give --out another name, or --force" in capsys.readouterr().err
    assert (tmp_path / "000000.png").read_text() == "mine"
    assert main([*words, "--force"]) == 0
    assert np.asarray(Image.open(tmp_path / "000000.png")).shape == (16, 16, 3)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("train dcgam --data x", "there is no GAN 'dcgam'; did you mean 'dcgan'?"),
        ("train dcgan --data {tmp}/nowhere --out {tmp}/out", "nowhere"),
        ("train dcgan --data {tmp} --out {tmp}/out", "{tmp}"),
        ("train dcgan --data {squares} --out {squares}", "exists and is not a run"),
        ("train dcgan --data {squares} --out {tmp}/out --batch 4000", "a batch of 4000 is larger than"),
        (
            "train dcgan --data {squares} --out {tmp}/out --resolution 40",
            "16, 32, 64, 128 or 256 pixels a side, not 40",
        ),
        ("sample {tmp} --out {tmp}/s", "is not a run folder"),
        ("sample {tmp}/nowhere --out {tmp}/s", "does not exist"),
        ("sample {run} --out {tmp}/s --count 0", "count must be 1 or more"),
        ("report {tmp}", "is not a run folder"),
        ("check {tmp}/nowhere", "nowhere"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    words: str, sentence: str, run: Path, squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"tmp": str(tmp_path), "squares": str(squares), "run": str(run)}
    assert main([word.format(**places) for word in words.split()]) == 2
    said = capsys.readouterr().err
    assert sentence.format(**places) in said
    assert said.startswith("ganfold: ")
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_report_writes_one_page(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run)]) == 0
    page = Path(capsys.readouterr().out.strip())
    assert page == run / "report.html"
    assert "dcgan" in page.read_text()


def test_check_says_what_is_there(squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet = tmp_path / "sheet.png"
    assert main(["check", str(squares), "--contact-sheet", str(sheet)]) == 0
    assert "96" in capsys.readouterr().out
    with Image.open(sheet) as image:
        assert image.width > 100


def test_help_of_train_lists_gans_and_of_a_gan_its_flags(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["train", "--help"])
    assert left.value.code == 0
    assert "dcgan" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["train", "dcgan", "--help"])
    said = capsys.readouterr().out
    for flag in (
        "--lr",
        "--betas",
        "--label-smoothing",
        "--kimg",
        "--minutes",
        "--flips",
        "--restart",
        "--out",
    ):
        assert flag in said


def test_an_unknown_flag_is_refused_with_code_2(squares: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ganfold", "train", "dcgan", "--data", str(squares), "--widht", "3"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "--width" in done.stderr + done.stdout


def test_stopping_by_a_signal_is_told_by_the_exit_code(
    run: Path, monkeypatch: pytest.MonkeyPatch, squares: Path
) -> None:
    words = ["train", "dcgan", "--data", str(squares), "--out", str(run), *FLAGS]
    monkeypatch.setattr("ganfold.runs.run.Run.stopped_by", "SIGTERM")
    assert main(words) == 143
    monkeypatch.setattr("ganfold.runs.run.Run.stopped_by", "Ctrl-C")
    assert main(words) == 130


@pytest.mark.parametrize("words", [["--help"], ["train", "dcgan", "--help"]])
def test_a_reader_that_has_seen_enough_is_no_mistake(words: list[str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "ganfold", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as called:
        assert called.stdout is not None
        assert called.stderr is not None
        called.stdout.close()
        assert called.stderr.read() == ""
    assert called.returncode == 141
