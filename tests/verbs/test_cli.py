"""The command line: exit codes, sentences, no tracebacks.

Output that is not UTF-8, a full stdout and escape sequences were looked for in: results, JSON and help (`main`),
errors (`main`), printed results in Python (`Result.__str__`), the console of a training, and skipped images on stderr.
Paths were looked for in the options of every verb, in `ganfold.load`, and in the options of GANs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ganfold
from ganfold.cli import main
from ganfold.verbs import VERBS

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
        ("check " + 300 * "a", "data has a name that is too long for this system: aaa"),
        ("sample " + 300 * "a" + " --out {tmp}/s", "run has a name that is too long"),
        ("train dcgan --data {squares} --out {tmp}/" + 300 * "a", "out has a name that is too long"),
        ("check ~nosuchuser/x", "data: there is no home folder ~nosuchuser"),
        (
            "train dcgan --data {squares} --out {tmp}/s --report-kimg inf",
            "report_kimg must be a finite number, not inf",
        ),
        ("train dcgan --data {squares} --out {tmp}/s --held-out nan", "held_out must be a number, not nan"),
        ("train dcgan --data {squares} --out {tmp}/out.jpg", "out is {tmp}/out.jpg, a name of a file, and a folder is"),
        ("plan {squares} --out {tmp}/out.PNG", "a folder is written: leave out .PNG"),
        ("copies {run} --out {tmp}/out.json", "a folder is written: leave out .json"),
        ("augment {squares} --out {tmp}/out.zip", "a folder is written: leave out .zip"),
        ("study {squares} --out {tmp}/out.html", "a folder is written: leave out .html"),
        ("evaluate {run} --out -", "out is -, and no command reads or writes a pipe: give a path (a file"),
        ("sample {run} --out -", "out is -, and no"),
        ("check -", "data is -, and no"),
        ("sample {run} --out {tmp}/s.png --count 100000000", "a grid of 100,000,000 images needs more memory than"),
        ("list", "there is no command 'list'; did you mean 'gans'?"),
        ("train --gan dcgan --data {squares}", "takes the name of the GAN first: ganfold train dcgan --data"),
        ("train dcgan --data x --learning-rate 1", "has no option --learning-rate; did you mean --lr ("),
        ("train --data x --epochs 1", "has no option --epochs; did you mean --kimg (stop after this many thousand"),
        ("train dcgan --data x --batch_size 1", "has no option --batch-size; did you mean --batch ("),
        ("plan x --image-size=64", "has no option --image-size; did you mean --resolution ("),
        ("train dcgan --data x --gpu 0", "has no option --gpu; did you mean --device ("),
        ("train dcgan --data x --rescue", "has no option --rescue; did you mean --no-rescue ("),
        ("check x --contact-shet y.png", "has no option --contact-shet; did you mean --contact-sheet ("),
        ("check x --zork", "ganfold check has no option --zork; `ganfold check --help` lists them"),
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


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp932"])
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_what_the_encoding_of_the_output_lacks_is_written_as_escapes(
    encoding: str, flags: list[str], tmp_path: Path
) -> None:
    for number, name in enumerate(["caf\xe9", "\u732b", "plain"]):
        (tmp_path / "set" / name).mkdir(parents=True)
        for shade in (10, 90, 180):
            Image.new("RGB", (8, 8), (shade, number * 60, 30)).save(tmp_path / "set" / name / f"{shade}.png")
    done = subprocess.run(
        [sys.executable, "-m", "ganfold", "check", str(tmp_path / "set"), *flags],
        env=os.environ | {"PYTHONIOENCODING": encoding}, cwd=tmp_path, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode(encoding)
    if flags:
        assert {"caf\xe9", "\u732b", "plain"} <= set(json.loads(text)["classes"])
    else:
        assert "plain" in text


@pytest.mark.parametrize("words", [["gans"], ["env", "--json"], ["--help"], ["train", "dcgan", "--help"]])
def test_a_full_output_is_one_sentence(words: list[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "ganfold", *words], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == "ganfold: cannot write the output: No space left on device\n"


def test_no_name_of_a_class_or_file_commands_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "a\x1b]0;owned\x07\x9b31m\u202eb"
    for number, name in enumerate([hostile, "plain"]):
        (tmp_path / "set" / name).mkdir(parents=True)
        for shade in (10, 90, 180):
            Image.new("RGB", (8, 8), (shade, number * 60, 30)).save(tmp_path / "set" / name / f"{shade}{hostile}.png")
        (tmp_path / "set" / name / f"{hostile}.png").write_bytes(b"no image")
    for words in (
        ["check", str(tmp_path / "set")],
        ["check", str(tmp_path / "set"), "--json"],
        ["check", str(tmp_path / hostile)],
    ):
        main([*words])
        said = "".join(capsys.readouterr())
        assert "owned" in said
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(said), words
    assert "\x1b" not in str(ganfold.check(tmp_path / "set", progress=False))


def test_a_bare_call_prints_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().out.startswith("usage: ganfold VERB")


def test_an_empty_path_is_not_the_current_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", ""]) == 2
    assert capsys.readouterr().err == "ganfold: data is empty: give a path\n"


def test_a_tilde_is_the_home_folder_in_every_path(
    run: Path, squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    (home / "run").symlink_to(run)
    (home / "squares.npz").symlink_to(squares)
    assert main(["sample", "~/run", "--count", "2", "--out=~/samples"]) == 0
    assert len(list((home / "samples").iterdir())) == 2
    assert main(["check", "~/squares.npz", "--contact-sheet", "~/sheet.png"]) == 0
    assert (home / "sheet.png").is_file()
    options = {"batch": 4, "width": 4, "resolution": 16, "kimg": 0.008, "evaluate_every": 0, "progress": False}
    trained = ganfold.train("dcgan", data=Path("~/squares.npz"), out="~/runs/x", **options)
    assert trained.path == home / "runs" / "x"
    assert ganfold.load("~/runs/x").path == trained.path
    assert list(here.iterdir()) == []


def test_the_help_ends_in_a_terminal_of_one_column() -> None:
    words = [sys.executable, "-m", "ganfold", "train", "dcgan", "--help"]
    done = subprocess.run(words, env=os.environ | {"COLUMNS": "1"}, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_names_its_arguments_plainly(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    said = capsys.readouterr().out
    for word in ("Args:", "{None}", "PICTURE", "picture", "PATH"):
        assert word not in said
    takes_run = verb in (
        *("sample", "probe", "report", "upscale", "inpaint", "translate"),
        *("explore", "export", "push"),
    )
    assert (" RUN" in said.splitlines()[0]) == takes_run
    assert (" IMAGE\n" in said[:200]) == (verb in ("upscale", "inpaint", "translate"))
