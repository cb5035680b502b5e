"""Inpainting a user's images: where, by what, and that nothing else changes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torch import Tensor

import ganfold
from ganfold.cli import main
from ganfold.errors import GanfoldError
from ganfold.gans import GANS, find
from ganfold.gans.contract import Condition, Shape
from ganfold.networks.degrade import centre_hole
from ganfold.runs.run import Run
from ganfold.tasks import inpainting
from ganfold.tasks.inpainting import (
    _shrunk,
    encoder,
    fill,
    importance,
    measure,
    measured,
    parts,
    poisson_blend,
    rivals,
    search,
    window_of,
)
from ganfold.verbs.inpaint import inpaint
from tiny import small_gan

SMALL: dict[str, Any] = {
    "batch": 8,
    "width": 4,
    "resolution": 16,
    "kimg": 0.04,
    "report_kimg": 0.02,
    "evaluate_every": 0,
}


@pytest.fixture(scope="module")
def learned(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return ganfold.train(
        "context-encoder", squares, tmp_path_factory.mktemp("ce") / "ce", progress=False, held_out=0.25, **SMALL
    )


@pytest.fixture(scope="module")
def faces(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return ganfold.train("dcgan", squares, tmp_path_factory.mktemp("dc") / "faces", progress=False, z_dim=6, **SMALL)


@pytest.fixture(scope="module")
def labelled(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return ganfold.train("cgan", squares, tmp_path_factory.mktemp("cg") / "cgan", progress=False, z_dim=6, **SMALL)


def picture(path: Path, size: tuple[int, int] = (50, 40), mode: str = "RGB", **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], bands), np.uint8)
    Image.fromarray(pixels.squeeze()).save(path, **options)
    return path


def masked(path: Path, size: tuple[int, int] = (50, 40), box: tuple[int, int, int, int] = (12, 9, 25, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = Image.new("L", size)
    mask.paste(255, box)
    mask.save(path)
    return path


SHAPE = Shape(3, 16)


def red(shown: Tensor, mask: Tensor) -> Tensor:
    return torch.tensor([1.0, -1.0, -1.0])[None, :, None, None].expand_as(shown)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("which", ["learned", "faces"])
def test_only_the_hole_is_painted(which: str, mode: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    run = request.getfixturevalue(which)
    source, mask = picture(tmp_path / "p.png", mode=mode), masked(tmp_path / "m.png")
    out = inpaint(run, source, mask, steps=2, starts=2)
    assert out == tmp_path / "p-inpainted.png"
    before, after = (np.asarray(Image.open(path)) for path in (source, out))
    hole = np.asarray(Image.open(mask)) > 0
    assert after.shape == before.shape
    assert (after[~hole] == before[~hole]).all()
    assert (after[hole] != before[hole]).mean() > 0.5
    if mode == "RGBA":
        assert (after[..., 3] == before[..., 3]).all()


def test_a_photo_lying_on_its_side_is_painted_upright(learned: Run, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    source = picture(tmp_path / "turned.jpg", (50, 40), exif=exif)
    out = inpaint(learned, source, masked(tmp_path / "m.png", (40, 50)), tmp_path / "o.png")
    assert Image.open(out).size == (40, 50)


def test_masks_that_cannot_be_meant_are_refused(learned: Run, tmp_path: Path) -> None:
    source = picture(tmp_path / "p.png")
    for path, why in (
        (masked(tmp_path / "small.png", (40, 40)), r"small.png is 40 x 40 pixels and .*p.png is 50 x 40"),
        (masked(tmp_path / "none.png", box=(0, 0, 0, 0)), "hides nothing: make the hole white"),
        (masked(tmp_path / "all.png", box=(0, 0, 50, 40)), "hides all: leave something"),
    ):
        with pytest.raises(GanfoldError, match=why):
            inpaint(learned, source, path)
    grey = Image.open(masked(tmp_path / "grey.png"))
    grey.paste(254, (0, 0, 10, 3))
    grey.save(tmp_path / "grey.png")
    with pytest.raises(GanfoldError, match="30 pixels of 2,000 that are neither black nor white"):
        inpaint(learned, source, tmp_path / "grey.png")
    clear = Image.open(masked(tmp_path / "clear.png")).convert("RGBA")
    clear.putpixel((0, 0), (0, 0, 0, 0))
    clear.save(tmp_path / "clear.png")
    with pytest.raises(GanfoldError, match="1 pixels of 2,000"):
        inpaint(learned, source, tmp_path / "clear.png")
    assert not list(tmp_path.glob("*-inpainted*"))


def test_masks_of_other_kinds_that_are_black_and_white_are_taken(learned: Run, tmp_path: Path) -> None:
    source, plain = picture(tmp_path / "p.png"), masked(tmp_path / "m.png")
    first = np.asarray(Image.open(inpaint(learned, source, plain, tmp_path / "0.png")))
    for mode in ("1", "P", "RGB", "RGBA"):
        Image.open(plain).convert(mode).save(tmp_path / f"{mode}.png")
        made = inpaint(learned, source, tmp_path / f"{mode}.png", tmp_path / f"of-{mode}.png")
        assert (np.asarray(Image.open(made)) == first).all()


def test_a_run_of_another_kind_is_refused(squares: Path, tmp_path: Path) -> None:
    small = {"pretrain_kimg": 0.01, "scale": 2, "blocks": 1} | SMALL
    run = ganfold.train("srgan", squares, tmp_path / "sr", progress=False, **small)
    sentence = r"sr is an srgan: `inpaint` needs a context-encoder or a generator of images$"
    with pytest.raises(GanfoldError, match=sentence):
        inpaint(run, picture(tmp_path / "p.png"), masked(tmp_path / "m.png"))


def test_nothing_is_written_over_unless_asked(learned: Run, tmp_path: Path) -> None:
    source, mask = picture(tmp_path / "p.png"), masked(tmp_path / "m.png")
    with pytest.raises(GanfoldError, match="exists"):
        inpaint(learned, source, mask, source)
    inpaint(learned, source, mask)
    with pytest.raises(GanfoldError, match="exists"):  # said before the mask is even read
        inpaint(learned, source, tmp_path / "nowhere.png")
    inpaint(learned, source, mask, force=True)


def test_a_folder_with_masks_of_its_names(learned: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        picture(tmp_path / "photos" / f"{number}.jpg", (30 + number, 30))
        masked(tmp_path / "masks" / f"{number}.png", (30 + number, 30))
    out = inpaint(learned, tmp_path / "photos", tmp_path / "masks")
    assert sorted(path.name for path in out.iterdir()) == ["0.png", "1.png", "2.png"]
    assert out.name == "photos-inpainted"
    (tmp_path / "masks" / "1.png").unlink()
    (tmp_path / "masks" / "0.json").write_text("what somebody has marked")  # as labelme writes beside its masks
    out = inpaint(learned, tmp_path / "photos", tmp_path / "masks", tmp_path / "again")
    assert re.search(r"Skipped: .*masks holds no mask of the name of .*1.jpg\n", capsys.readouterr().err)
    assert sorted(path.name for path in out.iterdir()) == ["0.png", "2.png"]
    masked(tmp_path / "masks" / "1.png", (31, 30))
    first = (out / "0.png").stat().st_mtime_ns
    inpaint(learned, tmp_path / "photos", tmp_path / "masks", tmp_path / "again")
    assert sorted(path.name for path in out.iterdir()) == ["0.png", "1.png", "2.png"]
    assert (out / "0.png").stat().st_mtime_ns == first
    masked(tmp_path / "masks" / "1.png", (31, 30), (1, 1, 9, 9))
    with pytest.raises(GanfoldError, match=r"1\.png exists"):  # of another mask
        inpaint(learned, tmp_path / "photos", tmp_path / "masks", tmp_path / "again")
    shutil.copy(tmp_path / "masks" / "0.png", tmp_path / "masks" / "0.bmp")
    with pytest.raises(GanfoldError, match="differ in their suffix alone"):
        inpaint(learned, tmp_path / "photos", tmp_path / "masks", tmp_path / "third")


def test_the_current_folder_can_be_painted(learned: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "photos" / "1.png")
    monkeypatch.chdir(tmp_path / "photos")
    assert inpaint(learned, ".", masked(tmp_path / "1.png")) == tmp_path / "photos-inpainted"


def test_a_mask_of_other_values_is_named_with_what_it_holds(learned: Run, tmp_path: Path) -> None:
    source, plain = picture(tmp_path / "p.png"), np.asarray(Image.open(masked(tmp_path / "m.png")))
    soft = Image.fromarray(plain).filter(ImageFilter.GaussianBlur(2))
    noisy = np.clip(plain + np.random.default_rng(0).normal(0, 4, plain.shape), 0, 255)
    masks = {
        "ones.png": (Image.fromarray(plain // 255), r"no value above 1, .*: make the hole white \(255\)$"),
        "grey.png": (
            Image.fromarray(plain // 2),
            "neither black nor white: its values are 0, 127; make those of the hole",
        ),
        "soft.png": (soft, "neither black nor white: a soft edge has such pixels; set all values below 128 to 0"),
        "noisy.jpg": (Image.fromarray(noisy.astype(np.uint8)), "neither black nor white: JPEG leaves them so; set all"),
        "red.png": (Image.merge("RGB", [Image.fromarray(plain), *[Image.new("L", (50, 40))] * 2]), "it has colours"),
        "deep.png": (Image.fromarray(plain.astype(np.uint16) // 255), r"white \(65,535 in a file of 16 bits\)$"),
        "clear.png": (Image.merge("LA", [Image.fromarray(plain)] * 2), r"pixels of 2,000 that are transparent: paint"),
    }
    for name, (mask, why) in masks.items():
        mask.save(tmp_path / name)
        with pytest.raises(GanfoldError, match=why):
            inpaint(learned, source, tmp_path / name)
    first = np.asarray(Image.open(inpaint(learned, source, tmp_path / "m.png", tmp_path / "0.png")))
    Image.fromarray(plain.astype(np.uint16) * 257).save(tmp_path / "16.png")
    Image.fromarray(plain.astype(np.float32) / 255).save(tmp_path / "f.tif")
    for name in ("16.png", "f.tif"):
        made = inpaint(learned, source, tmp_path / name, tmp_path / f"of-{name}.png")
        assert (np.asarray(Image.open(made)) == first).all()


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_a_file_without_loss_keeps_all_other_pixels(learned: Run, tmp_path: Path, suffix: str) -> None:
    source, mask = picture(tmp_path / "p.png", mode="RGBA"), masked(tmp_path / "m.png")
    out = inpaint(learned, source, mask, tmp_path / f"o.{suffix}")
    before, after, hole = (np.asarray(Image.open(path)) for path in (source, out, mask))
    assert (after[hole == 0] == before[hole == 0]).all()


def test_a_window_can_be_asked_for(learned: Run, tmp_path: Path) -> None:
    source, mask = picture(tmp_path / "p.png"), masked(tmp_path / "m.png", box=(1, 1, 6, 6))
    made = {
        window: np.asarray(Image.open(inpaint(learned, source, mask, tmp_path / f"{window}.png", window=window)))
        for window in ("near", "whole", None)
    }
    assert (made[None] == made["near"]).all()
    assert (made["near"] != made["whole"]).any()


def test_the_command_line(learned: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, mask = picture(tmp_path / "p.png"), masked(tmp_path / "m.png")
    words = ["inpaint", str(learned.path), str(source), "--mask", str(mask)]
    assert main(words) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "p-inpainted.png")
    assert main(words) == 2
    assert "exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("size", "boxes"),
    [
        ((40, 30), [(0, 0, 5, 5), (35, 25, 40, 30)]),  # corners
        ((40, 30), [(10, 10, 11, 11)]),  # one pixel
        ((200, 20), [(3, 2, 190, 18)]),  # longer than any square window
        ((20, 200), [(0, 1, 20, 200)]),  # to the edges
        ((7, 7), [(1, 1, 7, 7)]),  # smaller than the networks' images
        ((300, 300), [(20, 20, 280, 280), (0, 290, 5, 300)]),
    ],
)
@pytest.mark.parametrize("near", [True, False])
def test_every_hole_is_filled_whatever_its_shape(
    size: tuple[int, int], boxes: list[tuple[int, int, int, int]], near: bool
) -> None:
    image, hole = Image.new("RGB", size, (0, 0, 255)), Image.new("L", size)
    for box in boxes:
        hole.paste(255, box)
    seen = []

    def paint(shown: Tensor, mask: Tensor) -> Tensor:
        seen.append((shown.clone(), mask.clone()))
        return red(shown, mask)

    made = np.asarray(fill(image, hole, paint, SHAPE, near=near, blend=False))
    inside = np.asarray(hole) > 0
    assert (made[inside] == (255, 0, 0)).all()
    assert (made[~inside] == (0, 0, 255)).all()
    for shown, mask in seen:
        assert shown.shape == (1, 3, 16, 16)
        assert mask.any()
    taken = np.zeros(inside.shape, int)
    for left, top, right, bottom in parts(inside, near):
        assert max(right - left, bottom - top) <= min(size)
        window = window_of((left, top, right, bottom), size, 16)
        assert window[2] - window[0] == window[3] - window[1] <= min(size)
        assert window[0] <= left < right <= window[2] <= size[0]
        assert window[1] <= top < bottom <= window[3] <= size[1]
        assert window[0] >= 0 <= window[1]
        taken[top:bottom, left:right] += 1
    assert (taken[inside] >= 1).all()


def test_a_window_is_twice_the_hole_with_the_hole_in_its_middle() -> None:
    assert window_of((100, 120, 140, 150), (640, 480), 16) == (80, 95, 160, 175)
    hole = Image.new("L", (640, 480))
    hole.paste(255, (100, 120, 140, 160))
    window = window_of((100, 120, 140, 160), hole.size, 16)
    _, mask = _shrunk(Image.new("RGB", (80, 80)), hole.crop(window), 16)
    assert torch.equal(mask, centre_hole(mask))


@pytest.mark.parametrize("side", [9, 16, 64, 100])
def test_what_is_hidden_stains_nothing(side: int) -> None:
    """Two images that differ in the hole alone give the same pixels around it, at any scale."""
    random = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    hole = np.zeros((side, side), np.uint8)
    hole[side // 3 : side // 2, side // 4 : side // 2] = 255
    mask_image, shown = Image.fromarray(hole), []
    for colour in ((255, 0, 0), (0, 255, 255)):
        image = random.copy()
        image[hole > 0] = colour
        pixels, mask = _shrunk(Image.fromarray(image), mask_image, 16)
        shown.append(torch.where(mask > 0, 0.0, pixels))
    assert (shown[0] - shown[1]).abs().max() < 0.01
    assert 0 < mask.mean() < 0.3


def test_an_encoder_of_middle_holes_is_shown_middle_holes(learned: Run) -> None:
    seen, gan = [], learned.gan

    class Watched:
        config, condition, G = gan.config, gan.condition, gan.G

        def masked(self, images: Tensor, mask: Tensor) -> Tensor:
            seen.append(mask)
            return masked_images(images, mask)

    masked_images: Any = gan.masked

    paint, shown = encoder(Watched()), torch.zeros(1, 3, 16, 16)
    within, beyond = torch.zeros(2, 1, 1, 16, 16)
    within[:, :, 6:8, 7] = 1
    beyond[:, :, 1, 2] = beyond[:, :, 3, 9] = 1
    paint(shown, within)
    paint(shown, beyond)
    assert torch.equal(seen[0], centre_hole(shown))
    assert seen[1].sum() == 3 * 8  # its box
    assert (seen[1] >= beyond).all()


def test_importance_is_the_hidden_share_of_the_neighbourhood() -> None:
    mask = torch.zeros(1, 1, 16, 16)
    mask[:, :, 8, 8] = 1
    weight = importance(mask)[0, 0]
    assert weight[8, 8] == 0
    assert weight[8, 9] == weight[5, 5] == pytest.approx(1 / 49)
    assert weight[8, 12] == 0
    assert weight.sum().item() == pytest.approx(48 / 49)


def test_a_search_goes_towards_the_picture_and_follows_from_its_seed(faces: Run) -> None:
    target = faces.gan.sample(torch.randn(1, 6, generator=torch.Generator().manual_seed(5)))
    mask = centre_hole(target)
    weight = importance(mask)

    def distance(made: Tensor) -> float:
        return float((weight * (made - target).abs()).sum())

    def go(steps: int, starts: int = 4, seed: int = 0) -> Tensor:
        return search(faces.gan, target, mask, steps=steps, starts=starts, seed=seed)

    found = go(60)
    assert torch.equal(found, go(60))
    assert not torch.equal(found, go(60, seed=1))
    assert distance(found) < 0.5 * distance(go(1, starts=1))
    assert distance(found) <= distance(go(60, starts=1)) * 1.001
    assert not any(weight.requires_grad for weight in faces.gan.parameters())


def test_a_search_deals_labels_to_its_starts(labelled: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    target, seen, sample = torch.zeros(1, 3, 16, 16), [], labelled.gan.sample

    def watched(z: Tensor, condition: Condition) -> Tensor:
        seen.append(condition["label"])
        return sample(z, condition)

    monkeypatch.setattr(labelled.gan, "sample", watched)
    made = search(labelled.gan, target, centre_hole(target), steps=1, starts=4)
    assert seen[0].tolist() == [0, 1, 2, 0]
    assert made.shape == target.shape


@pytest.mark.parametrize("name", [name for name in GANS if not find(name).conditioned_on_images])
def test_any_generator_can_be_searched(name: str) -> None:
    gan = small_gan(name, Shape(3, 16, 3)).eval().requires_grad_(False)
    target = torch.zeros(1, 3, 16, 16)
    made = search(gan, target, centre_hole(target), steps=2, starts=2)
    assert made.shape == target.shape
    assert made.isfinite().all()


def test_a_wrong_level_is_blended_away() -> None:
    y, x = np.mgrid[:48, :48]
    truth = np.stack([60 + 2 * x, 50 + 2 * y, 100 + x - y], 2).astype(np.uint8)
    hole = np.zeros((48, 48), np.uint8)
    hole[10:30, 15:40] = 255
    wrong = Image.fromarray((truth + 40).astype(np.uint8))
    known = truth.copy()
    known[hole > 0] = (255, 0, 255)  # what is hidden must not matter
    joined = np.asarray(poisson_blend(wrong, Image.fromarray(known), Image.fromarray(hole))).astype(int)
    assert np.abs(joined - truth)[hole > 0].max() <= 3


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("box", [(0, 0, 20, 20), (0, 0, 60, 50), (30, 59, 31, 60)])
def test_blending_works_up_to_the_picture_s_edge(mode: str, box: tuple[int, int, int, int]) -> None:
    hole = Image.new("L", (60, 60))
    hole.paste(255, box)
    made = poisson_blend(Image.new(mode, (16, 16), "white"), Image.new(mode, (60, 60), "black"), hole)
    assert made.mode == mode
    assert made.size == (60, 60)


def test_a_large_window_is_blended_at_a_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inpainting, "BLEND_SIDE", 64)
    image, hole = Image.new("RGB", (300, 200), (0, 0, 200)), Image.new("L", (300, 200))
    hole.paste(255, (100, 50, 180, 150))
    made = np.asarray(fill(image, hole, red, SHAPE, near=False, blend=True)).astype(int)
    inside = np.asarray(hole) > 0
    assert (made[~inside] == (0, 0, 200)).all()
    assert np.abs(made[inside] - (0, 0, 200)).max() <= 3  # flat red, moved to what is around it


def test_metrics_are_of_the_holes_alone(learned: Run) -> None:
    found = {metric.name: metric for metric in measure(learned, 0, 20)}
    names = ["ours", "Telea", "Navier-Stokes", "mean colour", "mean image"]
    assert {name: list(metric.values) for name, metric in found.items()} == {
        "L1 in the hole": names,
        "PSNR in the hole": names,
    }
    assert found["L1 in the hole"].better == "lower"
    assert found["PSNR in the hole"].better == "higher"
    images = np.full((2, 8, 8, 3), 100, np.uint8)
    holes = np.zeros((2, 8, 8), bool)
    holes[:, 2:4, 2:4] = True
    wrong = images.copy()
    wrong[0][holes[0]] = 151
    wrong[:, 0, 0] = 0  # outside
    absolute, decibel = measured(wrong, images, holes)
    assert absolute == pytest.approx([0.2, 0])
    assert decibel == pytest.approx([20 * np.log10(5), 60])


def test_rivals_fill_the_hole_alone() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    images[1] = 70
    holes = np.zeros((2, 16, 16), bool)
    holes[:, 4:8, 5:9] = True
    train = np.full((3, 3, 16, 16), 10, np.uint8)
    train[0] = 40
    found = rivals(images, holes, train)
    for filled in found.values():
        assert (filled[~holes] == images[~holes]).all()
    for name in ("Telea", "Navier-Stokes"):
        assert np.abs(found[name][1].astype(int) - 70).max() <= 1
    assert (found["mean colour"][holes] == 20).all()


def test_an_image_that_no_generator_makes_is_said_to_be_far(
    faces: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = faces.sample(1, seed=5)[0]
    (tmp_path / "in").mkdir()
    Image.fromarray(own).save(tmp_path / "in" / "own.png")
    side = own.shape[0]
    noise = np.random.default_rng(0).integers(0, 2, own.shape, np.uint8) * 255
    Image.fromarray(noise).save(tmp_path / "in" / "noise.png")
    mask = masked(tmp_path / "m.png", own.shape[:2], (side // 4, side // 4, side // 2, side // 2))
    search = ["--steps", "60", "--starts", "4", "--force"]

    def said(name: str) -> list[str]:
        words = ["inpaint", str(faces.path), str(tmp_path / "in" / name), "--mask", str(mask), *search]
        assert main([*words, "--out", str(tmp_path / ("out" if name == "." else "out.png"))]) == 0
        return capsys.readouterr().out.splitlines()[1:]

    (far,) = said("noise.png")
    assert far.startswith("Note: noise.png: this image is far from what the generator makes: the search ended at ")
    (near,) = said("own.png")
    assert near.startswith("own.png: the search ended at ")
    assert said(".") == [far]  # a folder names only what is far


def test_a_fit_is_measured_in_levels_beside_the_hole(faces: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    side = faces.gan.shape.resolution
    image, mask = torch.zeros(1, faces.gan.shape.channels, side, side), torch.zeros(1, 1, side, side)
    mask[..., :4, :4] = 1
    made = image + 20 / 127.5
    made[..., -1, -1] = 1  # far from the hole: it does not count
    monkeypatch.setattr(inpainting, "search", lambda *_, **__: made)
    searcher = inpainting.Searcher(faces.gan, 1, 1, 0)
    samples = torch.zeros(3, *image.shape[1:])
    samples[1] += 10 / 127.5
    samples[2] += 40 / 127.5
    searcher.__dict__["_samples"] = samples
    searcher(image, mask)
    assert searcher.fits[0].residual == pytest.approx(20, abs=1e-3)
    assert searcher.fits[0].usual == pytest.approx(10, abs=1e-3)  # nearest others: 10, 10, 30
    assert searcher.fits[0].is_far
    assert len(searcher.told("a", every=False)) == 1
    assert searcher.told("a", every=True) == []
