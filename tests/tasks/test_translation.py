"""`ganfold translate` and its metrics with tiny runs; pairs as folders and side by side, end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ganfold
from ganfold import GanfoldError, cli
from ganfold.metrics.features import extractor
from ganfold.tasks.translation import _nearest, measure

TINY: dict[str, Any] = {"width": 4, "batch": 8, "resolution": 16, "kimg": 0.03, "progress": False}


def train(gan: str, data: Path | str, out: Path, **options: Any) -> ganfold.Run:
    return ganfold.train(gan, data, out, **(TINY | options))


def photo(path: Path, width: int = 24, height: int = 20, mode: str = "RGB", seed: int = 0) -> Path:
    bands = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, bands), np.uint8)
    Image.fromarray(pixels.squeeze(), mode).save(path)
    return path


@pytest.fixture
def _through_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure without the large network."""
    monkeypatch.setattr("ganfold.tasks.translation.efficientnet", lambda: extractor("pixels"))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders A and B of 40 pairs: B is A in negative."""
    folder = tmp_path_factory.mktemp("pairs")
    for number in range(40):
        for part in ("A", "B"):
            (folder / part).mkdir(exist_ok=True)
            path = photo(folder / part / f"{number:02}.png", 16, 16, seed=number)
            if part == "B":
                Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    return folder


@pytest.fixture(scope="module")
def drawing(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> ganfold.Run:
    out = tmp_path_factory.mktemp("runs") / "edges"
    return train("pix2pix", squares, out, input="edges", resolution=32, held_out=0.2)


@pytest.fixture(scope="module")
def cycle(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> ganfold.Run:
    out, images = tmp_path_factory.mktemp("runs"), np.load(squares)["images"]
    np.save(out / "negative.npy", 255 - images)
    options = {"blocks": 1, "target": str(out / "negative.npy"), "held_out": 0.2}
    return train("cyclegan", squares, out / "cycle", **options)


def test_two_folders_of_pairs(pairs: Path, tmp_path: Path) -> None:
    run = train("pix2pix", pairs, tmp_path / "run")
    made = ganfold.translate(run, pairs / "A" / "00.png", tmp_path / "made.png")
    assert Image.open(made).size == (16, 16)
    assert ganfold.report(tmp_path / "run").read_text().startswith("<!doctype html>")
    assert run.sample(4).shape == (4, 16, 16, 3)


def test_one_folder_of_pairs_side_by_side(pairs: Path, tmp_path: Path) -> None:
    joined = tmp_path / "joined"
    joined.mkdir()
    for path in sorted((pairs / "A").iterdir()):
        halves = [np.asarray(Image.open(pairs / part / path.name)) for part in ("A", "B")]
        Image.fromarray(np.concatenate(halves, 1)).save(joined / path.name)
    one, other = train("pix2pix", pairs, tmp_path / "one"), train("pix2pix", joined, tmp_path / "other")
    assert np.array_equal(one.sample(4), other.sample(4))  # the same pairs, so the same run


def test_from_the_command_line(drawing: ganfold.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture, out = photo(tmp_path / "drawing.png"), tmp_path / "photo.png"
    words = ["translate", str(drawing.path), str(picture), "--out", str(out)]
    assert cli.main(words) == 0
    assert Image.open(out).size == (24, 20)
    assert capsys.readouterr().out.strip() == str(out)
    first = out.read_bytes()
    assert cli.main(words) == 2  # it is there
    assert cli.main([*words, "--force"]) == 0
    assert out.read_bytes() == first
    assert cli.main([*words, "--force", "--seed", "1"]) == 0
    assert out.read_bytes() != first
    assert cli.main([*words, "--force", "--size", "40"]) == 0
    assert Image.open(out).size == (48, 40)


def test_it_is_what_sample_makes_of_the_same_input(drawing: ganfold.Run, tmp_path: Path) -> None:
    reals = drawing.held_out_conditioning(3)
    assert reals
    line = reals(torch.arange(1))["input"][0, 0]
    Image.fromarray(line.add(1).mul(127.5).round().byte().numpy()).save(tmp_path / "line.png")
    made = np.asarray(Image.open(ganfold.translate(drawing, tmp_path / "line.png", tmp_path / "made.png", seed=3)))
    assert np.abs(made.astype(int) - drawing.sample(1, seed=3)[0]).max() <= 2  # but for the drawing's rounding


def test_a_folder_with_transparency_and_rotation(drawing: ganfold.Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    photo(tmp_path / "in" / "clear.png", mode="RGBA")
    turned = Image.open(photo(tmp_path / "turned.png"))
    turned.getexif()[0x0112] = 6  # a quarter turn
    turned.save(tmp_path / "in" / "turned.jpg", exif=turned.getexif())
    ganfold.translate(drawing, tmp_path / "in", tmp_path / "out", progress=False)
    clear = Image.open(tmp_path / "out" / "clear.png")
    before = Image.open(tmp_path / "in" / "clear.png").getchannel("A")
    assert np.array_equal(np.asarray(clear.getchannel("A")), np.asarray(before))
    assert Image.open(tmp_path / "out" / "turned.png").size == (20, 24)


def test_what_is_clear_is_drawn_on_white(drawing: ganfold.Run, tmp_path: Path) -> None:
    lines = np.zeros((16, 16, 4), np.uint8)  # black ink on nothing
    lines[4:6, :, 3] = 255
    Image.fromarray(lines).save(tmp_path / "clear.png")
    Image.fromarray(255 - lines[..., 3]).save(tmp_path / "white.png")
    one, other = (ganfold.translate(drawing, tmp_path / n, tmp_path / f"out-{n}") for n in ("clear.png", "white.png"))
    assert np.array_equal(np.asarray(Image.open(one).convert("RGBA"))[..., :3], np.asarray(Image.open(other)))


def test_there_and_back(cycle: ganfold.Run, tmp_path: Path) -> None:
    picture = photo(tmp_path / "in.png", 21, 18)
    forth = ganfold.translate(cycle, picture, tmp_path / "forth.png")
    back = ganfold.translate(cycle, picture, tmp_path / "back.png", reverse=True)
    assert Image.open(forth).size == Image.open(back).size == (21, 18)
    assert forth.read_bytes() != back.read_bytes()
    assert cycle.record.data.inputs
    assert cycle.record.data.inputs.source.endswith("squares.npz")


def test_lowres_becomes_larger_and_grey_gets_colours(squares: Path, tmp_path: Path) -> None:
    run = train("pix2pix", squares, tmp_path / "low", input="lowres", scale=2)
    made = ganfold.translate(run, photo(tmp_path / "small.png", 12, 10, "RGBA"), tmp_path / "large.png")
    assert (Image.open(made).size, Image.open(made).mode) == ((24, 20), "RGBA")
    run = train("pix2pix", squares, tmp_path / "grey", input="grey")
    made = ganfold.translate(run, photo(tmp_path / "grey.png", mode="L"), tmp_path / "coloured.png")
    assert Image.open(made).mode == "RGB"


def test_only_what_is_transparent_is_filled(squares: Path, tmp_path: Path) -> None:
    run = train("pix2pix", squares, tmp_path / "run", input="masked")
    holed = np.asarray(Image.open(photo(tmp_path / "x.png", mode="RGBA"))).copy()
    holed[..., 3] = 255
    holed[5:15, 5:15, 3] = 0
    Image.fromarray(holed).save(tmp_path / "holed.png")
    made = np.asarray(Image.open(ganfold.translate(run, tmp_path / "holed.png", tmp_path / "filled.png")))
    assert made.shape == (20, 24, 3)
    outside = holed[..., 3] > 0
    assert np.array_equal(made[outside], holed[outside, :3])
    assert not np.array_equal(made[~outside], holed[~outside, :3])
    with pytest.raises(GanfoldError, match="has no transparent pixels"):
        ganfold.translate(run, photo(tmp_path / "whole.png"), tmp_path / "no.png")


@pytest.mark.parametrize(
    ("options", "width", "message"),
    [
        ({}, 15, r"too small: 15 x 20 px, and .*edges needs 16: enlarge it"),
        ({"tile": 16}, 24, "--tile 16 is less than the 32 px"),
        ({"reverse": True}, 24, "learns one direction: leave out --reverse"),
        ({"size": 0}, 24, "size must be 1 or more"),
    ],
)
def test_what_is_refused(
    drawing: ganfold.Run, tmp_path: Path, options: dict[str, Any], width: int, message: str
) -> None:
    with pytest.raises(GanfoldError, match=message):
        ganfold.translate(drawing, photo(tmp_path / "in.png", width), tmp_path / "out.png", **options)
    assert not (tmp_path / "out.png").exists()


def test_another_kind_of_run_is_refused(squares: Path, tmp_path: Path) -> None:
    run = train("dcgan", squares, tmp_path / "faces")
    with pytest.raises(GanfoldError, match=r"faces is a dcgan: `translate` needs a pix2pix or a cyclegan"):
        ganfold.translate(run, photo(tmp_path / "in.png"), tmp_path / "out.png")


@pytest.mark.usefixtures("_through_pixels")
def test_metrics_of_pairs(drawing: ganfold.Run) -> None:
    found = {metric.name: metric for metric in measure(drawing, 0, 19)}
    assert list(found["L1"].values) == ["pix2pix", "mean image", "nearest by input"]
    reals = drawing.held_out_conditioning(0)
    assert reals
    held = reals.data.images[reals.images[:19]].transpose(0, 2, 3, 1).astype(float)
    assert found["L1"].values["pix2pix"] == pytest.approx(np.abs(drawing.sample(19) - held).mean() / 255, abs=1e-6)
    assert found["FD"].values["real"] < found["FD"].values["pix2pix"]
    assert all(value > 0 for value in found["feature distance"].values.values())


def test_the_nearest_by_input_is_the_one_with_that_input(drawing: ganfold.Run) -> None:
    reals = drawing.held_out_conditioning(0)
    assert reals
    data, reals.images = reals.data, reals.images[5:10]
    near = _nearest(reals)
    assert set(near) <= set(data.train)
    wanted = reals(torch.arange(5))["input"]
    reals.images = data.train
    inputs = reals(torch.arange(len(data.train)))["input"]
    expected = torch.cdist(wanted.flatten(1), inputs.flatten(1)).argmin(1)
    assert near.tolist() == data.train[expected.numpy()].tolist()


@pytest.mark.usefixtures("_through_pixels")
def test_metrics_of_two_kinds(cycle: ganfold.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {metric.name.partition(": ")[2] or metric.name: metric for metric in measure(cycle, 0, 19)}
    taken = found["taken for the target's kind"].values
    assert list(taken) == ["cyclegan", "untouched", "real"]
    assert taken["real"] >= 0.9
    assert taken["untouched"] <= 0.1
    assert 0 < found["L1"].values["cyclegan"] < 1
    gan: Any = cycle.gan
    monkeypatch.setattr(gan.G, "forward", lambda x: -x)
    monkeypatch.setattr(gan.F, "forward", lambda x: -x)
    perfect = {metric.name.partition(": ")[2]: metric.values for metric in measure(cycle, 0, 19)}
    assert perfect["taken for the target's kind"]["cyclegan"] >= 0.9
    assert perfect["KID"]["cyclegan"] < perfect["KID"]["untouched"] / 3
    assert perfect["L1"]["cyclegan"] == 0


def test_nothing_is_measured_where_nothing_is_held_out(pairs: Path, tmp_path: Path) -> None:
    assert measure(train("pix2pix", pairs, tmp_path / "run"), 0, 19) == []
