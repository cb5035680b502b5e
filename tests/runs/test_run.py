"""An opened run: its log, its latents, names that it does not have, and images that were moved.

Moved images were looked for in every verb that takes a run. `sample`, `evaluate`, `copies` and `probe` read them and
take --data and --target; `upscale`, `translate`, `inpaint` and `report` read none and work without them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ganfold
from ganfold import GanfoldError, Run
from ganfold.cli import main
from ganfold.gans import noise
from ganfold.metrics import features
from ganfold.runs.generate import CHUNK
from ganfold.verbs import VERBS

TINY: dict[str, Any] = {"batch": 8, "width": 4, "resolution": 16, "kimg": 0.032, "progress": False}


@pytest.fixture(scope="module")
def run(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("run") / "dcgan"
    return ganfold.train("dcgan", squares, out, z_dim=6, report_kimg=0.016, **TINY)


@pytest.fixture(autouse=True)
def _features_are_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganfold.tasks.translation.efficientnet", lambda *_: features.extractor("pixels"))


def latents(run: Run, seed: int, count: int) -> np.ndarray:
    import torch

    return noise.normal(noise.key_of(seed, "sample"), torch.arange(count), *run.gan.latent).numpy()


@pytest.mark.parametrize("start", [0, 5])
def test_the_latents_of_a_seed_give_its_images(run: Run, start: int) -> None:
    count = CHUNK + 3
    z = latents(run, 7, start + count)
    assert np.array_equal(run.sample(count, start=start, z=z[start:]), run.sample(count, seed=7, start=start))
    assert np.array_equal(run.sample(2, z=z[3:5].tolist()), run.sample(count, z=z[:count])[3:5])
    assert np.array_equal(run.sample(2, z=z[3:5].astype(np.float64)), run.sample(2, z=z[3:5]))
    assert run.sample(0, z=z[:0]).shape == (0, 16, 16, 3)


@pytest.mark.parametrize(
    ("z", "sentence"),
    [
        (np.zeros((2, 6)), r"z must be of the shape \(1, 6\), a row for each of the 1 images: not \(2, 6\)"),
        (np.zeros(6), r"not \(6,\)"),
        (np.zeros((1, 7)), r"not \(1, 7\)"),
        (np.full((1, 6), np.nan), "z must be finite"),
        (np.full((1, 6), 1e300), "z must be finite"),
        ([["a"] * 6], "z must be an array of real numbers"),
        ([[1.0], [1.0, 2.0]], "z must be an array of real numbers"),
        (np.zeros((1, 6), complex), "z must be an array of real numbers"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_latents_that_do_not_fit_are_one_sentence(run: Run, z: Any, sentence: str) -> None:
    with pytest.raises(GanfoldError, match=sentence):
        run.sample(1, z=z)


def test_a_generator_without_noise_takes_no_latents(squares: Path, tmp_path: Path) -> None:
    painter = ganfold.train("context-encoder", squares, tmp_path / "ce", **TINY)
    with pytest.raises(GanfoldError, match="takes no z: its generator has no noise"):
        painter.sample(1, z=np.zeros((1, 1)))


def test_a_name_that_sample_does_not_have_is_one_sentence(run: Run) -> None:
    sample: Callable[..., Any] = run.sample
    with pytest.raises(GanfoldError, match="sample has no option 'lable'; did you mean 'label'"):
        sample(1, lable="red")
    with pytest.raises(GanfoldError, match="sample has no option 'psi'"):
        sample(1, psi=0.7)
    with pytest.raises(GanfoldError, match="count and start must be whole numbers, not 2.5"):
        sample(2.5)


def test_the_log_is_there_as_rows(run: Run, tmp_path: Path) -> None:
    assert [row["kimg"] for row in run.log if "Loss_D" in row] == [0.016, 0.032]
    folder = shutil.copytree(run.path, tmp_path / "run")
    with open(folder / "log.jsonl", "a") as log:
        log.write('{"kimg": 0.0')  # as a running training has it for a moment
    assert Run(folder).log == run.log
    (folder / "log.jsonl").unlink()
    assert Run(folder).log == []


def test_a_name_that_a_run_does_not_have_is_told_from_a_verb(run: Run) -> None:
    for name in ("evaluate", "report", "upscale"):
        with pytest.raises(AttributeError, match=f"a Run has no '{name}': call ganfold.{name} with the run"):
            getattr(run, name)
        assert name in VERBS
    with pytest.raises(AttributeError, match="a Run has no 'lables'; did you mean 'labels'"):
        getattr(run, "lables")  # noqa: B009
    assert not hasattr(run, "_repr_png_")


def test_a_property_that_fails_tells_its_own_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganfold.runs.record.RunRecord.gan_class", lambda *_: [].nothing)  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="'list' object has no attribute 'nothing'"):
        _ = Run(run.path).gan


def test_moved_images_are_named_by_data(squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there, here = tmp_path / "there.npz", tmp_path / "here.npz"
    shutil.copy(squares, there)
    many = {"held_out": 0.5}
    ganfold.train("context-encoder", there, tmp_path / "ce", **TINY, **many)
    ganfold.train("dcgan", there, tmp_path / "dcgan", **TINY, **many)
    there.rename(here)
    image, mask = np.load(squares)["images"][0], np.zeros((16, 16), np.uint8)
    mask[4:9, 4:9] = 255
    Image.fromarray(image).save(tmp_path / "a.png")
    Image.fromarray(mask).save(tmp_path / "m.png")
    ce, dcgan = str(tmp_path / "ce"), str(tmp_path / "dcgan")
    pixels = ["--features", "pixels"]
    for words in (
        ["sample", ce, "--out", str(tmp_path / "s.png"), "--count", "4"],
        ["copies", dcgan, *pixels, "--count", "20"],
        ["probe", dcgan, "--labels", "5", "--draws", "1"],
    ):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert "if they were moved, say by --data where they are now" in said
        assert said.count("\n") == 1
        assert main([*words, "--data", str(here)]) == 0, words
    assert main(["sample", ce, "--out", str(tmp_path / "t.png"), "--data", str(tmp_path / "a.png")]) == 2
    assert main(["inpaint", ce, str(tmp_path / "a.png"), "--mask", str(tmp_path / "m.png")]) == 0
    assert main(["report", ce]) == 0
    assert main(["sample", ce, "--out", str(tmp_path / "u"), "--data", str(here), "--target", str(here)]) == 2
    assert "was trained on one kind of images: leave out --target" in capsys.readouterr().err
    moved = Run(ce, data=here).sample(2)
    assert np.array_equal(moved, ganfold.load(ce, data=here).sample(2))


def test_a_second_set_that_was_moved_is_named_by_target(
    squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = np.load(squares)["images"]
    places = {name: tmp_path / f"{name}.npy" for name in ("x", "y")}
    np.save(places["x"], images)
    np.save(places["y"], 255 - images)
    run = ganfold.train("cyclegan", places["x"], tmp_path / "run", target=places["y"], **TINY)
    expected = run.sample(3)
    moved = {name: path.rename(tmp_path / f"moved-{name}.npy") for name, path in places.items()}
    words = ["sample", str(run.path), "--count", "3", "--out", str(tmp_path / "s.png"), "--data", str(moved["x"])]
    assert main(words) == 2
    assert "say by --data and --target where they are now" in capsys.readouterr().err
    assert main([*words, "--target", str(moved["x"])]) == 2
    assert f"other images than {moved['x']} holds now: restore them, or say by --target" in capsys.readouterr().err
    assert main([*words[:-1], str(moved["y"]), "--target", str(moved["y"])]) == 2
    assert f"other images than {moved['y']} holds now: restore them, or say by --data" in capsys.readouterr().err
    assert main([*words, "--target", str(moved["y"])]) == 0
    again = ganfold.load(run.path, data=moved["x"], target=moved["y"])
    assert np.array_equal(again.sample(3), expected)
    both = ["--data", str(moved["x"]), "--target", str(moved["y"]), "--features", "pixels"]
    assert main(["copies", str(run.path), *both, "--count", "20"]) == 0
    assert main(["evaluate", str(run.path), *both, "--count", "48"]) in (0, 2)
    image = tmp_path / "a.png"
    Image.fromarray(images[0]).save(image)
    assert main(["translate", str(run.path), str(image), "--out", str(tmp_path / "t.png")]) == 0
    with pytest.raises(GanfoldError, match="is not a run: --target says where the images of a run are now"):
        ganfold.evaluate(moved["x"], moved["y"], target=moved["y"], progress=False)
