"""Samples by text and place, from Python and the command line, and how well they obey."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ganfold
from ganfold import GanfoldError, tasks
from ganfold.cli import main
from ganfold.runs.conditioning import requested_conditioning
from ganfold.tasks import captions

SMALL: dict[str, Any] = {
    "batch": 8,
    "width": 4,
    "z_dim": 6,
    "resolution": 16,
    "kimg": 0.04,
    "report_kimg": 0.02,
    "evaluate_every": 0,
    "device": "cpu",
}
COLOURS = {"red": (230, 40, 40), "green": (40, 220, 60), "blue": (40, 60, 240)}


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 120 blocks of three colours on light grounds, with captions."""
    folder = tmp_path_factory.mktemp("blocks")
    random = np.random.default_rng(0)
    lines = []
    for number in range(120):
        image = np.full((16, 16, 3), random.integers(200, 255), np.uint8)
        colour = list(COLOURS)[number % 3]
        left, top = random.integers(0, 8, 2).tolist()
        width, height = random.integers(5, 9, 2).tolist()
        image[top : top + height, left : left + width] = COLOURS[colour]
        Image.fromarray(image).save(folder / f"{number:03}.png")
        box = [n / 16 for n in (left, top, width, height)]
        corners = [box[:2], [box[0] + box[2], box[1] + box[3]]]
        row = {"text": f"a {colour} block", "box": box, "keypoints": corners, "hair_color": colour}
        lines.append(json.dumps({"file_name": f"{number:03}.png"} | row))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def run(blocks: Path, tmp_path_factory: pytest.TempPathFactory) -> ganfold.Run:
    return ganfold.train("gawwn", blocks, tmp_path_factory.mktemp("runs") / "run", held_out=0.3, **SMALL)


@pytest.fixture(scope="module")
def at_keypoints(blocks: Path, tmp_path_factory: pytest.TempPathFactory) -> ganfold.Run:
    return ganfold.train("gawwn", blocks, tmp_path_factory.mktemp("runs") / "points", where="keypoints", **SMALL)


def condition(run: ganfold.Run, **requested: Any) -> dict[str, torch.Tensor]:
    conditioning = requested_conditioning(run.record, run.path, lambda: run.conditioning(0), **requested)
    return dict(conditioning(torch.arange(4)))


def test_what_is_said_is_the_same_for_all(run: ganfold.Run) -> None:
    words = run.record.data.words
    made = condition(run, text="Block, RED", box=[0.5, 0.125, 0.25, 0.75])
    assert [words[n - 1] for n in made["text"][2].tolist() if n] == ["block", "red"]
    assert made["text"].shape == (4, 24)
    assert made["box"].tolist() == [[0.5, 0.125, 0.25, 0.75]] * 4


def test_what_is_not_said_comes_from_held_out_images(run: ganfold.Run) -> None:
    reals = run.held_out_conditioning(0)
    assert reals
    rows = torch.arange(4)
    assert torch.equal(condition(run, text="red")["box"], reals(rows)["box"])
    assert torch.equal(condition(run, box="0 0 1 1")["text"], reals(rows)["text"])
    plain, moved = run.sample(4), run.sample(4, box="0,0,0.5,0.5")
    assert (plain != moved).any()
    assert (run.sample(4, text=None, box=None) == plain).all()


def test_all_said_needs_no_data(run: ganfold.Run, blocks: Path, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["data"]["source"] = str(tmp_path / "gone")
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    moved = ganfold.load(tmp_path / "run")
    made = moved.sample(3, text="a red block", box=(0.1, 0.1, 0.5, 0.5))
    assert (made == run.sample(3, text="a red block", box=(0.1, 0.1, 0.5, 0.5))).all()
    out = ganfold.sample(moved, tmp_path / "grid.png", count=3, text="red", box=(0.1, 0.1, 0.5, 0.5))
    assert out.exists()
    with pytest.raises(GanfoldError, match="no such file or folder"):
        moved.sample(3, text="a red block")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--text", ""], "--text for .* is empty"),
        (["--text", " ,.; "], "--text for .* is empty"),
        (["--text", "zebra crossing"], r"holds no word that was in its captions: 'zebra crossing' \(known: a, block,"),
        (["--box", "0.5,0.1,0.4"], "--box must be 4 numbers, left, top, width and height .*not '0.5,0.1,0.4'"),
        (["--box", "a,b,c,d"], "--box must be 4 numbers"),
        (["--box", "nan,0,1,1"], "--box must be 4 numbers"),
        (["--box", "0.5,0.1,0,0.4"], "--box is a box of no area"),
        (["--box", "0.5,0.1,0.6,0.4"], "--box is a box outside its image"),
        (["--box", "16,16,32,32"], "--box is a box outside its image"),
        (["--keypoints", "0.1,0.1,0.5,0.5"], "was trained with --where box: give --box, not --keypoints"),
    ],
)
def test_mistakes_are_one_sentence(
    run: ganfold.Run, flags: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "s.png"
    assert main(["sample", str(run.path), "--count", "2", "--out", str(out), *flags]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(sentence, error), error
    assert not out.exists()


def test_strange_words_are_said_not_refused(
    run: ganfold.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--text", "red zebra block", "--box", "0.5,0.1,0.4,0.8"]
    assert main(["sample", str(run.path), "--count", "4", "--out", str(tmp_path / "s.png"), *flags]) == 0
    assert "Left out, since no caption in training had it: zebra" in capsys.readouterr().out
    with Image.open(tmp_path / "s.png") as picture:
        assert picture.info["text"] == "red zebra block"
        assert picture.info["box"] == "0.5,0.1,0.4,0.8"
    assert main(["sample", str(run.path), "--count", "4", "--out", str(tmp_path / "s"), *flags]) == 0
    assert len(list((tmp_path / "s").glob("*.png"))) == 4


def test_keypoints(at_keypoints: ganfold.Run) -> None:
    made = condition(at_keypoints, text="red", keypoints="0.1,0.2, 0.5,0.75")
    torch.testing.assert_close(made["keypoints"][3], torch.tensor([[0.1, 0.2, 1], [0.5, 0.75, 1]]))
    assert at_keypoints.sample(2, keypoints=[0.1, 0.2, 0.5, 0.75]).shape == (2, 16, 16, 3)
    with pytest.raises(GanfoldError, match="--keypoints must be 4 numbers, x and y of each of 2 keypoints"):
        condition(at_keypoints, keypoints="0.1,0.2")
    with pytest.raises(GanfoldError, match="--keypoints holds a point outside the image"):
        condition(at_keypoints, keypoints="0.1,0.2,0.5,1.5")
    with pytest.raises(GanfoldError, match="with --where keypoints: give --keypoints, not --box"):
        condition(at_keypoints, box="0,0,1,1")


def test_a_run_without_text_takes_none(squares: Path, tmp_path: Path) -> None:
    plain = ganfold.train("dcgan", squares, tmp_path / "plain", **SMALL)
    requests: list[dict[str, Any]] = [{"text": "red"}, {"box": "0,0,1,1"}]
    for requested in requests:
        with pytest.raises(GanfoldError, match="takes no text and no place: dcgan was trained without"):
            plain.sample(2, **requested)


def test_overlap_is_known_for_simple_boxes() -> None:
    one = np.array([[0, 0, 0.5, 0.5]] * 4)
    other = np.array([[0, 0, 0.5, 0.5], [0.25, 0, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5], [0, 0, 1, 1]])
    np.testing.assert_allclose(captions.overlap(one, other), [1, 1 / 3, 0, 1 / 4])


def test_boxes_are_found_through_noise_and_specks() -> None:
    random = np.random.default_rng(0)
    images = (150 + random.normal(0, 8, (3, 32, 32, 3))).astype(np.uint8)
    images[:2, 8:20, 4:28] = (200, 30, 30)
    images[1, 2, 30] = 0  # a speck
    found = captions.boxes_found(images) * 32
    np.testing.assert_allclose(found[:2], [[4, 8, 24, 12]] * 2, atol=1)
    assert (found[2] == 0).all()  # nothing there
    assert captions.overlap(found, found).tolist() == [1, 1, 0]


def test_metrics_tell_what_obeys_from_what_does_not(run: ganfold.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator that obeys scores like the real images; with captions swapped it falls to chance."""
    monkeypatch.setattr(captions, "STEPS", 60)
    words = run.record.data.words

    def paint(count: int, seed: int, conditioning: Any) -> np.ndarray:
        fields = conditioning(torch.arange(count))
        images = np.full((count, 16, 16, 3), 220, np.uint8)
        for image, text, box in zip(images, fields["text"], fields["box"], strict=True):
            left, top, width, height = (int(n) for n in (box * 16).round())
            colour = next(words[n - 1] for n in text.tolist() if n and words[n - 1] in COLOURS)
            image[top : top + height, left : left + width] = COLOURS[colour]
        return images

    untrained = {metric.name: metric for metric in captions.measure(run, 0, 36)}
    monkeypatch.setattr(run, "sample", paint)
    obeying = {metric.name: metric for metric in captions.measure(run, 0, 36)}
    box, colour = "IoU with the box", "hair colour right, one of 3"
    assert list(obeying) == [box, colour]
    assert next(iter(obeying[box].values)) == "gawwn"
    assert obeying[box].values["gawwn"] > 0.9 < obeying[box].values["real images"]
    assert obeying[box].values["boxes swapped"] < 0.6
    assert obeying[colour].values["gawwn"] > 0.95 < obeying[colour].values["real images"]
    assert obeying[colour].values["captions swapped"] < 0.7
    assert untrained[colour].values["gawwn"] < 0.7 < untrained[colour].values["real images"]
    assert untrained[box].values["gawwn"] < 0.8


def test_the_task_is_measured(run: ganfold.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captions, "STEPS", 2)
    names = [metric.name for metric in tasks.measure(run, 0, 20)]
    assert names == ["IoU with the box", "hair colour right, one of 3"]
