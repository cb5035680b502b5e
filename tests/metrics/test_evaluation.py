"""`ganfold evaluate` as a user meets it, with pixels as features. Other tests cover the networks.

Verdicts that disagree with their own numbers were looked for in `evaluate`, the report's summary and the doctor.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ganfold
from ganfold import GanfoldError, cli
from ganfold.data import load
from ganfold.metrics.evaluation import Evaluation, Metric, _verdict

QUIET: dict[str, Any] = {"features": "pixels", "progress": False}


def drawn() -> tuple[np.ndarray, np.ndarray]:
    """A thousand real digits, uint8 (1000, 8, 8, 3), and their labels."""
    images = load("digits", resolution=8, held_out=0, progress=False)
    chosen = np.random.default_rng(0).permutation(len(images))[:1000]
    assert images.labels is not None
    return np.repeat(images.images[chosen].transpose(0, 2, 3, 1), 3, 3), images.labels[chosen]


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    return drawn()[0]


@pytest.fixture
def photos(digits: np.ndarray, tmp_path: Path) -> Path:
    np.save(tmp_path / "photos.npy", digits[:600])
    return tmp_path / "photos.npy"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ganfold.Run:
    out = tmp_path_factory.mktemp("runs") / "run"
    options = {"width": 4, "batch": 32, "resolution": 16, "kimg": 0.3, "progress": False}
    return ganfold.train("dcgan", "digits", out, **options)


def saved(images: np.ndarray, path: Path) -> Path:
    np.save(path, images)
    return path


def test_other_real_images_cannot_be_told_from_real_ones(photos: Path, digits: np.ndarray, tmp_path: Path) -> None:
    evaluation = ganfold.evaluate(saved(digits[600:900], tmp_path / "more.npy"), photos, **QUIET)
    assert evaluation["KID"].error is not None
    assert abs(evaluation["KID"].value) < 4 * evaluation["KID"].error
    assert abs(evaluation["precision"].value - evaluation["precision"].floor) < 0.1
    assert evaluation["coverage"].value > 0.8
    assert "cannot tell" in evaluation.notes[0]


def test_noise_can(photos: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 3), dtype=np.uint8)
    evaluation = ganfold.evaluate(saved(noise, tmp_path / "noise.npy"), photos, **QUIET)
    assert evaluation["KID"].value > 10 * abs(evaluation["KID"].floor)
    assert evaluation["FD"].value > 2 * evaluation["FD"].floor
    assert evaluation["precision"].value == 0
    assert "can be told from real ones: KID" in evaluation.notes[0]


def test_quality_without_variety_is_called_so(photos: Path, digits: np.ndarray, tmp_path: Path) -> None:
    few = np.repeat(digits[600:603], 100, 0)
    evaluation = ganfold.evaluate(saved(few, tmp_path / "few.npy"), photos, **QUIET)
    assert "they lack variety more than quality" in evaluation.notes[0]
    one = np.repeat(digits[600:601], 300, 0)
    evaluation = ganfold.evaluate(saved(one, tmp_path / "one.npy"), photos, **QUIET)
    assert "one and the same: the generator has collapsed" in evaluation.notes[1]


def verdict(**values: tuple[float, float]) -> str:
    """The verdict on these values and floors; the rest is as among real images, and each error is 0.02."""
    shares = {"KID": (0.0, 0.0), "precision": (0.8, 0.8), "recall": (0.8, 0.8), "density": (1.0, 1.0)}
    table = {**shares, "coverage": (0.95, 0.95), **values}
    return _verdict(
        [Metric(name, "higher", *(value, 0.02), *(floor, 0.02)) for name, (value, floor) in table.items()], 400
    )


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, "cannot tell the generated images from real ones"),
        ({"recall": (0.07, 0.87)}, "told from real ones: recall 0.07 against 0.87 among reals"),
        ({"coverage": (0.5, 0.95)}, "told from real ones: coverage 0.5 against 0.95 among reals"),
        ({"KID": (0.3, 0.0), "precision": (0.2, 0.8)}, "recall 100% of what real images reach: they lack quality more"),
        ({"recall": (0.1, 0.8)}, "they lack variety more than quality"),
    ],
)
def test_the_verdict_reads_all_metrics_with_their_errors(values: dict[str, tuple[float, float]], told: str) -> None:
    assert told in verdict(**values)


def test_images_that_crowd_in_the_middle_are_not_said_to_have_quality() -> None:
    blobs = verdict(KID=(0.162, 0.0), precision=(0.91, 0.8), recall=(0.0, 0.8), density=(2.38, 0.84))
    assert "they crowd in the middle of the real images" in blobs
    assert "more than quality" not in blobs


def test_few_images_are_said_to_show_little(photos: Path, digits: np.ndarray, tmp_path: Path) -> None:
    few = ganfold.evaluate(saved(digits[600:660], tmp_path / "few.npy"), photos, **QUIET)
    assert few.notes[1].startswith("With 60 images in each set only large differences show")
    enough = ganfold.evaluate(saved(digits[600:900], tmp_path / "more.npy"), photos, **QUIET)
    assert not any("only large differences" in note for note in enough.notes)


def test_it_is_said_what_the_error_is_of_and_that_images_are_enlarged(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = ganfold.evaluate(photos, photos, **QUIET)
    assert (
        "± is the standard error of the sample: it leaves out how far two seeds of a training differ." in plain.lines()
    )
    assert not any("enlarged" in note for note in plain.notes)  # pixels are taken as they are
    for method in ("__call__", "cached"):
        monkeypatch.setattr(f"ganfold.metrics.features.Extractor.{method}", lambda self, images: _small(images))
    enlarged = ganfold.evaluate(photos, photos, features="efficientnet", progress=False)
    assert any(re.search(r"Images of \d+ px are enlarged to 224 px for these metrics", note) for note in enlarged.notes)


def test_an_unknown_metric_is_one_sentence(photos: Path) -> None:
    evaluation = ganfold.evaluate(photos, photos, **QUIET)
    with pytest.raises(GanfoldError, match=r"no metric 'FID'; FID is FD with .* inception \(there are KID, FD, prec"):
        evaluation["FID"]


def test_kid_leads_where_fd_is_not_to_be_trusted(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluation = ganfold.evaluate(photos, photos, **QUIET)
    assert [metric.name for metric in evaluation.metrics][:2] == ["KID", "FD"]
    assert any("(FD) is not to be trusted at 300 images of 192 features" in note for note in evaluation.notes)
    monkeypatch.setattr("ganfold.metrics.evaluation.FD_ENOUGH", 100)
    evaluation = ganfold.evaluate(photos, photos, resolution=8, features="pixels", progress=False, count=300)
    assert [metric.name for metric in evaluation.metrics][:2] == ["KID", "FD"]  # 300 is not yet twice the features
    for method in ("__call__", "cached"):
        monkeypatch.setattr(f"ganfold.metrics.features.Extractor.{method}", lambda self, images: _small(images))
    evaluation = ganfold.evaluate(photos, photos, features="efficientnet", progress=False)
    assert [metric.name for metric in evaluation.metrics][:3] == ["FD", "FD infinity", "KID"]


def _small(images: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(images[:, 0].reshape(len(images), -1)[:, 20:40].astype(np.float32))


def test_a_run_against_what_it_held_out(run: ganfold.Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", str(run.path), "--features", "pixels", "--count", "400"]) == 0
    table = capsys.readouterr().out
    assert "real (floor)" in table
    assert "Protocol: extractor pixels" in table
    stored = json.loads((run.path / "evaluation.json").read_text())
    evaluation = Evaluation.from_dict(stored)
    assert evaluation.lines() == ganfold.evaluate(run.path, count=400, **QUIET).lines()
    assert {"extractor", "weights", "input size", "resizer", "images", "split", "data", "run", "seed", "ganfold"} < set(
        evaluation.protocol
    )
    assert evaluation.protocol["run"].startswith("dcgan, last, at 0.32 kimg")
    assert evaluation.protocol["split"].startswith("held-out images as reference")
    assert set(evaluation.classes) == set("0123456789")
    names = [[metric.name for metric in metrics] for metrics in evaluation.classes.values()]
    assert all(each == ["recall", "coverage"] for each in names)


def test_an_evaluation_of_another_protocol_is_kept(run: ganfold.Run, tmp_path: Path) -> None:
    folder = shutil.copytree(run.path, tmp_path / "run")
    (folder / "evaluation.json").unlink(missing_ok=True)
    first = ganfold.evaluate(folder, **QUIET)
    ganfold.evaluate(folder, **QUIET)  # the same protocol takes its place
    assert [path.name for path in folder.glob("evaluation*")] == ["evaluation.json"]
    second = ganfold.evaluate(folder, seed=1, **QUIET)
    (kept,) = folder.glob("evaluation-*.json")
    assert second.notes[-1] == f"The earlier evaluation was of another protocol: it is kept in {kept.name}."
    assert Evaluation.from_dict(json.loads(kept.read_text())) == first
    assert json.loads((folder / "evaluation.json").read_text())["protocol"]["seed"] == 1
    ganfold.evaluate(folder, seed=1, checkpoint="last", **QUIET)
    assert len(list(folder.glob("evaluation-*.json"))) == (2 if run.checkpoint.startswith("best") else 1)
    (folder / "evaluation.json").write_text("damaged")
    assert not any("another protocol" in note for note in ganfold.evaluate(folder, **QUIET).notes)


def test_metrics_by_class(tmp_path: Path) -> None:
    digits, labels = drawn()
    for part, rows in (("photos", slice(0, 1000)), ("made", slice(0, 500))):
        for number, (image, label) in enumerate(zip(digits[rows], labels[rows], strict=True)):
            if label < 3 and not (part == "made" and label == 2 and number > 60):
                (tmp_path / part / f"digit {label}").mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(tmp_path / part / f"digit {label}" / f"{number}.png")
    evaluation = ganfold.evaluate(tmp_path / "made", tmp_path / "photos", **QUIET)
    assert set(evaluation.classes) == {"digit 0", "digit 1"}
    assert [metric.name for metric in evaluation.classes["digit 0"]] == [metric.name for metric in evaluation.metrics]
    (left_out,) = [note for note in evaluation.notes if "left out" in note]
    assert left_out.startswith("1 of 3 classes are left out, since the metrics of a class need 20 images in each set")
    assert "digit 2 (" in left_out


def test_sizes_and_channels_that_differ_are_said(photos: Path, tmp_path: Path, digits: np.ndarray) -> None:
    grey = saved(digits[600:900, ::2, ::2, 0].repeat(4, 1).repeat(4, 2), tmp_path / "grey.npy")
    evaluation = ganfold.evaluate(grey, photos, **QUIET)
    assert any("photos.npy is 8 px and is compared at 16 px, the size of" in note for note in evaluation.notes)
    assert "grey.npy has 1 channels, " in " ".join(evaluation.notes)


def test_mistakes_are_one_sentence(photos: Path, tmp_path: Path, digits: np.ndarray, run: ganfold.Run) -> None:
    def refused(sentence: str, *arguments: Any, **options: Any) -> None:
        with pytest.raises(GanfoldError, match=sentence):
            ganfold.evaluate(*arguments, **QUIET | options)

    few = saved(digits[:30], tmp_path / "few.npy")
    refused("few.npy is not a run: give --reference", few)
    refused("only 30 images in each set: an evaluation needs 50", few, photos)
    refused("--count 9,000: only 300 images are there", photos, photos, count=9000)
    refused("--count must be 50 or more, not 0", photos, photos, count=0)
    refused("is a run and is compared at the size it makes: leave out --resolution", run, resolution=16)
    refused("holds no image|no such file", tmp_path / "nowhere", photos)
    refused("pixels takes no weights", photos, photos, weights=few)
    refused("no features 'pixel'; did you mean 'pixels'", photos, photos, features="pixel")
    refused("checkpoint must be best or last", run.path, checkpoint="newest")
    assert cli.main(["evaluate", str(few)]) == 2


def test_a_constant_reference_is_refused(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pixels differ, because duplicates are skipped. Only the features are equal."""
    monkeypatch.setattr("ganfold.metrics.features.Extractor.cached", lambda self, images: _small(images) * 0)
    with pytest.raises(GanfoldError, match="all images of the reference are the same"):
        ganfold.evaluate(photos, photos, features="efficientnet", progress=False)


def test_a_run_whose_images_are_others_now(run: ganfold.Run, tmp_path: Path, digits: np.ndarray) -> None:
    reals = saved(digits[:600], tmp_path / "reals.npy")
    options = {"width": 4, "batch": 32, "resolution": 16, "kimg": 0.1, "progress": False, "held_out": 0.0}
    other = ganfold.train("dcgan", reals, tmp_path / "other", **options)
    evaluation = ganfold.evaluate(other, **QUIET)
    assert any("Nothing was held out of training" in note for note in evaluation.notes)
    saved(digits[:500], reals)
    with pytest.raises(GanfoldError, match="was trained on other images than .* holds now: restore them"):
        ganfold.evaluate(other.path, **QUIET)
    evaluation = ganfold.evaluate(run.path, reals, **QUIET)  # a run may be compared with anything
    assert evaluation.protocol["split"].startswith("one half of")


def test_nothing_is_written_for_folders_unless_asked(photos: Path, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    ganfold.evaluate(photos, photos, **QUIET)
    assert set(tmp_path.iterdir()) == before
    ganfold.evaluate(photos, photos, out=tmp_path / "figures.json", **QUIET)
    assert json.loads((tmp_path / "figures.json").read_text())["protocol"]["seed"] == 0
