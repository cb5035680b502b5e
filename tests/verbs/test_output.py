"""What every verb prints, wherever it is printed: an output that is not UTF-8, a narrow one, and none at all.

Looked for in all verbs, with and without --json, with classes, words and file names of other scripts.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ganfold
from blobs import blobs
from ganfold.cli import main
from ganfold.verbs import VERBS

CLASSES = ("caf\xe9", "\u732b", "\u043a\u043e\u0442")
TINY: dict[str, Any] = {"batch": 8, "width": 4, "resolution": 16, "kimg": 0.016, "evaluate_every": 0}
QUIET = TINY | {"progress": False}
PIXELS = ["--features", "pixels", "--count", "60"]
WORDS: dict[str, list[str]] = {
    "check": ["check", "photos"],
    "plan": ["plan", "photos", "--gan", "rsgan", "--width", "4", "--resolution", "16"],
    "train": ["train", "rsgan", "--data", "photos", "--out", "r\u732b"],
    "sample": ["sample", "run", "--out", "s\u732b", "--count", "6"],
    "evaluate": ["evaluate", "run", *PIXELS],
    "copies": ["copies", "run", *PIXELS],
    "probe": ["probe", "run", "--labels", "5", "--draws", "1"],
    "report": ["report", "run"],
    "explore": ["explore", "run", "samples", "--out", "e\u732b.png", "--force"],
    "export": ["export", "run", "--to", "torch", "--out", "x\u732b", "--force"],
    "push": ["push", "run", "no/no/name"],  # refused
    "cache": ["cache"],
    "upscale": ["upscale", "sr", "\u732b.png", "--out", "u\u732b.png", "--force"],
    "inpaint": ["inpaint", "run", "\u732b.png", "--mask", "mask.png", "--steps", "1", "--starts", "1", "--force"],
    "translate": ["translate", "grey", "\u732b.png", "--out", "t\u732b.png", "--force"],
    "augment": ["augment", "few", "--out", "plus"],  # refused, with the names of classes
    "study": ["study", "few", "--out", "study", "--small", "\u732b", "--few", "2"],
    "learn": ["learn", "the-game", "--budget", "0.001", "--out", "l\u732b"],
    "gans": ["gans"],
    "env": ["env"],
}
REFUSED = ("push", "augment", "study")


@pytest.fixture(scope="module", name="place")
def _place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images in three classes, runs on them, and what else the verbs take."""
    out = tmp_path_factory.mktemp("output")
    images, labels = blobs((60, 60, 60))
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        for folder, most in (("photos", 60), ("few", 8)):
            path = out / folder / CLASSES[label] / f"\u732b{number}.png"
            if number % 60 < most:
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image.transpose(1, 2, 0)).save(path)
    (out / "photos" / CLASSES[0] / "\u732b.png").write_text("no image")
    Image.fromarray(images[0].transpose(1, 2, 0)).save(out / "\u732b.png")
    mask = np.zeros(images.shape[2:], np.uint8)
    mask[4:8, 4:8] = 255
    Image.fromarray(mask).save(out / "mask.png")
    ganfold.train("rsgan", out / "photos", out / "run", held_out=0.5, **QUIET)
    ganfold.train("srgan", out / "photos", out / "sr", blocks=1, scale=2, **QUIET)
    ganfold.train("pix2pix", out / "photos", out / "grey", input="grey", **QUIET)
    return out


def printed(words: list[str], encoding: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, bytes]:
    """The exit code, and what stdout was given."""
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding) for name in ("stdout", "stderr")}
    with monkeypatch.context() as patch:
        for name, stream in streams.items():
            patch.setattr(sys, name, stream)
        code = main([*words])
        for stream in streams.values():
            stream.flush()
    return code, b"".join(stream.buffer.getvalue() for stream in streams.values())


def test_every_verb_is_here() -> None:
    assert WORDS.keys() == VERBS.keys()


@pytest.mark.parametrize("encoding", ["ascii", "cp932"])
@pytest.mark.parametrize("verb", WORDS)
def test_any_encoding_of_the_output_will_do(
    verb: str, encoding: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    words = list(WORDS[verb])
    if verb in ("train", "sample"):
        words[words.index("--out") + 1] = str(tmp_path / "\u732b")
    if verb == "train":
        words += [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    code, said = printed(words, encoding, monkeypatch)
    assert code == (2 if verb in REFUSED else 0), said.decode(encoding)
    assert said.decode(encoding).strip()
    assert b"\\u000a" not in said, "a line of the result holds several lines"
    if verb in REFUSED:
        return
    shutil.rmtree(tmp_path / "\u732b", ignore_errors=True)
    code, said = printed([*words, "--json"], encoding, monkeypatch)
    assert code == 0
    if verb != "train":
        start = said.index(b"{")
        json.loads(said[start : said.rindex(b"}") + 1].decode(encoding))


@pytest.mark.parametrize("verb", ["check", "plan", "evaluate", "copies", "probe", "gans", "env", "upscale"])
def test_a_narrow_terminal_breaks_no_table(
    verb: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows are printed whole, whatever the width: a terminal wraps them, and `less -S` shows them."""
    monkeypatch.chdir(place)
    said = []
    for columns in ("200", "40"):
        monkeypatch.setenv("COLUMNS", columns)
        assert main([*WORDS[verb], "--quiet"]) == 0
        said.append([line.split() for line in capsys.readouterr().out.splitlines()])
    assert [len(line) for line in said[0]] == [len(line) for line in said[1]]


@pytest.mark.parametrize("settings", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {}])
def test_no_escape_sequence_is_written_where_nobody_wants_one(
    settings: dict[str, str],
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(place)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    assert main(["train", "rsgan", "--data", "photos", "--out", str(tmp_path / "run"), *flags]) == 0
    for words in (["check", "photos"], ["evaluate", "run", *PIXELS]):
        assert main(words) == 0
    assert main(["zork"]) == 2
    assert "\x1b" not in "".join(capsys.readouterr())
