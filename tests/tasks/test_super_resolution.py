"""Images made larger: of any size, without seams, with their transparency; and the metrics."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import ganfold
from ganfold.cli import main
from ganfold.errors import GanfoldError
from ganfold.gans.contract import Shape
from ganfold.gans.srgan import SRGAN, Config
from ganfold.metrics.features import extractor
from ganfold.metrics.paired import TaskMetric
from ganfold.networks.degrade import enlarge
from ganfold.runs.run import Run
from ganfold.tasks import super_resolution
from ganfold.tasks.super_resolution import against_bicubic, compare, enlarged, gain
from ganfold.verbs.upscale import upscale

OPTIONS: dict[str, Any] = {"batch": 8, "width": 4, "blocks": 1, "scale": 2, "pretrain_kimg": 0.02, "kimg": 0.04}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs")
    images = np.random.default_rng(0).integers(0, 256, (120, 16, 16, 3), np.uint8)
    np.save(folder / "noise.npy", images)
    return ganfold.train("srgan", folder / "noise.npy", folder / "sr", held_out=0.5, progress=False, **OPTIONS)


def gan(channels: int = 3, scale: int = 2) -> SRGAN:
    torch.manual_seed(0)
    return SRGAN(Config(width=4, blocks=1, scale=scale), Shape(channels, 16)).eval()  # type: ignore[arg-type]


def picture(path: Path, size: tuple[int, int] = (50, 41), mode: str = "RGB", **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn(size, mode).save(path, **options)
    return path


def drawn(size: tuple[int, int], mode: str) -> Image.Image:
    bands = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], bands), np.uint8)
    return Image.fromarray(pixels[..., 0] if bands == 1 else pixels, mode)


def values(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image).astype(int)


def test_a_picture_of_any_size_becomes_larger(run: Run, tmp_path: Path) -> None:
    before = picture(tmp_path / "in.png")
    assert upscale(run, before, tmp_path / "big.png") == tmp_path / "big.png"
    with Image.open(tmp_path / "big.png") as image:
        assert (image.size, image.mode) == ((100, 82), "RGB")
    low = torch.from_numpy(values(before)).permute(2, 0, 1)[None].float() / 127.5 - 1
    direct = run.gan.sample(torch.zeros(1, 1), {"low": low})[0].permute(1, 2, 0).add(1).mul(127.5).numpy()
    assert np.abs(values(tmp_path / "big.png") - direct).max() <= 0.51


def test_tiles_are_the_whole_within_rounding_and_no_larger_than_asked(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sizes, sample = picture(tmp_path / "in.png", (90, 61)), [], run.gan.sample
    upscale(run, path, tmp_path / "whole.png", tile=1000)

    def watched(z: torch.Tensor, condition: Any) -> torch.Tensor:
        sizes.append(max(condition["low"].shape[2:]))
        return sample(z, condition)

    monkeypatch.setattr(run.gan, "sample", watched)
    upscale(run, path, tmp_path / "tiles.png", tile=16)
    assert len(sizes) == 6 * 4 + 1  # and the patches on which its gain is measured
    assert max(sizes) <= 16 + 2 * run.gan.reach
    whole = values(tmp_path / "whole.png")
    assert np.abs(values(tmp_path / "tiles.png") - whole).max() <= 1
    monkeypatch.setattr(run.gan, "reach", 0)
    upscale(run, path, tmp_path / "seams.png", tile=16)
    assert np.abs(values(tmp_path / "seams.png") - whole).max() > 1


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_a_picture_keeps_its_mode_whatever_the_run_was_trained_on(channels: int, mode: str) -> None:
    large = enlarged(gan(channels), drawn((20, 30), mode), tile=16)
    assert (large.size, large.mode) == ((40, 60), mode)


def test_transparency_is_enlarged_bicubically() -> None:
    image = drawn((20, 30), "RGBA")
    large = enlarged(gan(), image)
    alpha = image.getchannel("A").resize((40, 60), Image.Resampling.BICUBIC)
    assert np.array_equal(np.asarray(large.getchannel("A")), np.asarray(alpha))
    assert np.array_equal(np.asarray(large.convert("RGB")), np.asarray(enlarged(gan(), image.convert("RGB"))))


def test_a_grey_generator_takes_each_colour_by_itself() -> None:
    image = drawn((20, 30), "RGB")
    red = enlarged(gan(1), image.getchannel("R"))
    assert np.abs(np.asarray(enlarged(gan(1), image))[..., 0].astype(int) - np.asarray(red)).max() <= 1


def test_a_turned_picture_is_upright_and_a_folder_is_written(run: Run, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    picture(tmp_path / "in" / "turned.jpg", (20, 30), exif=exif)
    picture(tmp_path / "in" / "plain.png", (20, 30))
    words = ["upscale", str(run.path), str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    assert values(tmp_path / "out" / "turned.png").shape == (40, 60, 3)
    assert values(tmp_path / "out" / "plain.png").shape == (60, 40, 3)
    assert main(words) == 0  # it keeps what it has made
    assert main([*words, "--tile", "64"]) == 0  # the tiles change nothing
    assert main([*words, "--checkpoint", "last", "--force"]) == 0


def test_what_is_known_against_a_run_is_said(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, words = picture(tmp_path / "in.png"), ["upscale", "", "", "--out", str(tmp_path / "out.png"), "--force"]
    folder = shutil.copytree(run.path, tmp_path / "sr")
    words[1:3] = [str(folder), str(path)]
    assert main(words) == 0
    assert "pretraining" not in (said := capsys.readouterr().out)
    assert said.splitlines()[0] == str(tmp_path / "out.png")
    (folder / "evaluation.json").write_text('{"task": [{"name": "damaged"}]}')
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps(state | {"images": 16}))
    assert main(words) == 0
    assert f"{folder} never left its pretraining (0.016 of 0.02 kimg)" in capsys.readouterr().out
    (folder / "state.json").write_text(json.dumps(state))
    for distance, is_said in ((0.5, True), (0.1, False)):
        values = {"PSNR Y": ("higher", 20, 25), "feature distance": ("lower", distance, 0.2)}
        task = [TaskMetric(name, better, {"srgan": own, "bicubic": b}) for name, (better, own, b) in values.items()]  # type: ignore[arg-type]
        (folder / "evaluation.json").write_text(json.dumps({"task": [asdict(metric) for metric in task]}))
        assert main(words) == 0
        assert ("is worse than bicubic enlargement by its last evaluation" in capsys.readouterr().out) == is_said


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_gain_over_bicubic_is_measured_on_the_image_itself(
    monkeypatch: pytest.MonkeyPatch, mode: str, channels: int
) -> None:
    image, network = drawn((300, 100), mode), gan(channels)
    sizes = []

    def perfect(z: Tensor, condition: dict[str, Tensor]) -> Tensor:
        sizes.append(tuple(condition["low"].shape))
        return enlarge(condition["low"], 2)

    monkeypatch.setattr(network, "sample", perfect)
    both = against_bicubic(network, image)
    assert both is not None
    assert both[0] == both[1]
    assert sizes == [(2, channels, 48, 48)]  # patches of 96 pixels that do not overlap
    assert against_bicubic(network, drawn((15, 100), mode)) is None  # under 8 pixels when it is smaller
    assert against_bicubic(network, drawn((16, 100), mode)) is not None


def test_a_gain_and_its_absence_are_said(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gain({"a": (27.0, 25.5)}, 4).startswith("Gain over bicubic enlargement: 1.5 dB (PSNR 27.0 dB against 25.5")
    assert "1 of them gain nothing: b.png" in gain({"a": (27, 25), "b.png": (25, 25), "c": None}, 4)
    assert gain({"a": (25.0, 25.0), "b": (24.0, 24.5)}, 4).startswith("Note: no gain over bicubic enlargement (PSNR 24")
    assert gain({}, 4) == ""
    assert main(["upscale", str(run.path), str(picture(tmp_path / "a.png")), "--out", str(tmp_path / "b.png")]) == 0
    assert "Note: no gain over bicubic enlargement (PSNR" in capsys.readouterr().out  # of noise, after a few steps
    small = picture(tmp_path / "s.png", (9, 9))
    assert main(["upscale", str(run.path), str(small), "--out", str(tmp_path / "c.png"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["psnr"], "cannot be measured" in said["gain"]) == ({}, True)


def test_refusals_are_one_sentence_and_leave_nothing(
    run: Run, squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = picture(tmp_path / "in.png"), str(tmp_path / "out.png")

    def refused(words: list[str], why: str) -> None:
        assert main(["upscale", *words]) == 2
        error = capsys.readouterr().err
        assert why in error
        assert len(error.splitlines()) == 1
        assert not Path(out).exists()

    small = picture(tmp_path / "small.png", (7, 40))
    refused([str(run.path), str(small), "--out", out], "small.png: too small: 7 x 40 px, under 8 on the shorter side")
    refused([str(run.path), str(path), "--out", out, "--tile", "0"], "tile must be 1 or more, not 0")
    refused([str(run.path), str(path), "--out", str(path)], "in.png exists: give --out another name, or --force")
    refused([str(tmp_path), str(path), "--out", out], "")
    other = ganfold.train("dcgan", squares, tmp_path / "faces", progress=False, batch=8, width=4, kimg=0.008)
    refused([str(other.path), str(path), "--out", out], "faces is a dcgan: `upscale` needs an srgan")


def named(found: list[TaskMetric]) -> dict[str, dict[str, float]]:
    return {metric.name: metric.values for metric in found}


def test_metrics_know_what_is_better() -> None:
    smooth = torch.nn.functional.interpolate(torch.rand(6, 3, 8, 8) * 2 - 1, scale_factor=4, mode="bicubic").clamp(
        -1, 1
    )
    reals = smooth.add(1).mul(127.5).round().to(torch.uint8)
    original = reals.float() / 127.5 - 1
    makers: dict[str, Any] = {
        "perfect": lambda low: original,
        "noisy": lambda low: (original + 0.1 * torch.randn_like(original)).clamp(-1, 1),
        "bicubic": lambda low: enlarge(low, 4),
    }
    found = compare(reals.numpy(), 4, makers, extractor("pixels"))
    names = ["PSNR Y", "PSNR RGB", "SSIM Y", "SSIM RGB", "feature distance", "detail error (octaves)"]
    assert [metric.name for metric in found] == names
    for metric in found:
        best = max if metric.better == "higher" else min
        assert best(metric.values, key=lambda name: metric.values[name]) == "perfect"
    assert named(found)["detail error (octaves)"]["noisy"] > 0.1
    assert abs(named(found)["PSNR RGB"]["noisy"] - 26) < 1  # 20 log10(2 / 0.1)
    grey = compare(reals.numpy()[:, :1], 4, {"bicubic": makers["bicubic"]}, extractor("pixels"))
    assert [metric.name for metric in grey] == ["PSNR", "SSIM", "feature distance", "detail error (octaves)"]


def test_evaluate_measures_the_task_beside_bicubic_and_other_runs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(super_resolution, "efficientnet", lambda: extractor("pixels"))
    found = ganfold.evaluate(run, features="pixels", progress=False)
    task = named(found.task)
    assert set(task["PSNR Y"]) == {"srgan", "bicubic"}
    assert "PSNR Y (higher is better): srgan" in "\n".join(found.lines())
    again = named(super_resolution.measure(run, 0, 60, {"twin": run}))
    assert again["PSNR Y"]["twin"] == again["PSNR Y"]["srgan"] == task["PSNR Y"]["srgan"]
    assert again["PSNR Y"]["bicubic"] == task["PSNR Y"]["bicubic"]


def test_few_images_are_enough_for_the_task_and_doubts_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(super_resolution, "efficientnet", lambda: extractor("pixels"))
    np.save(tmp_path / "few.npy", np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), np.uint8))
    options = OPTIONS | {"pretrain_kimg": 1}
    few = ganfold.train("srgan", tmp_path / "few.npy", tmp_path / "sr", held_out=0.2, progress=False, **options)
    assert main(["evaluate", str(few.path), "--features", "pixels"]) == 0
    said = capsys.readouterr().out
    assert "PSNR Y (higher is better): srgan" in said
    assert "cannot be known from 4 images: it takes 50 in each set" in said
    assert "never left its pretraining (0.04 of 1 kimg)" in said
    assert "better\n" not in said.splitlines()[0]
    found = ganfold.evaluate(few, features="pixels", progress=False)
    assert found.metrics == []
    with pytest.raises(GanfoldError, match="there are none, since there were too few images"):
        _ = found["KID"]
    page = ganfold.report(few.path).read_text()
    assert "PSNR Y" in page
    assert "cannot be known from 4 images" in page
    dcgan = {"batch": 8, "width": 4, "kimg": 0.008, "held_out": 0.2, "progress": False}
    faces = ganfold.train("dcgan", tmp_path / "few.npy", tmp_path / "faces", **dcgan)
    with pytest.raises(GanfoldError, match="only 4 images in each set"):
        ganfold.evaluate(faces, features="pixels", progress=False)


def test_a_loaded_run_of_another_kind_is_refused(squares: Path, tmp_path: Path) -> None:
    other = ganfold.train("dcgan", squares, tmp_path / "faces", progress=False, batch=8, width=4, kimg=0.008)
    with pytest.raises(GanfoldError, match="is a dcgan: `upscale` needs an srgan"):
        upscale(other, picture(tmp_path / "in.png"), tmp_path / "out.png")
