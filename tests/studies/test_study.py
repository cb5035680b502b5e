"""`study`: jobs that are done once, the conclusions from them, controls, and refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.naive_bayes import BernoulliNB, GaussianNB

import ganfold
from blobs import blobs, lenient, saved
from ganfold.errors import GanfoldError
from ganfold.studies.conclusions import Study, _verdict, _worth
from ganfold.studies.statistics import paired_differences
from ganfold.verbs.study import study

TINY: dict[str, Any] = {
    "kimg": 0.05,
    "batch": 8,
    "resolution": 16,
    "steps": 4,
    "replicates": 2,
    "progress": False,
    "device": "cpu",
    "classifiers": (GaussianNB,),
    "small": ("blue",),
    "few": 20,
    "share": 0.8,
}


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80, 80 and 60 images of three classes."""
    return saved(tmp_path_factory.mktemp("many") / "many.npz", (80, 80, 60))


@pytest.fixture(scope="module")
def done(many: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Path]:
    out = tmp_path_factory.mktemp("study") / "out"
    with pytest.MonkeyPatch.context() as patch:
        lenient(patch)
        return study(many, out, **TINY), out


def test_all_arms_are_there_and_few_replicates_claim_nothing(done: tuple[Study, Path]) -> None:
    result, out = done
    assert [row.arm for row in result.rows] == [
        "real", "classical", "oversampling", "logit adjustment", "GAN", "real copies", "GAN, not selected",
        "GAN, labels at random", "new reals, 10 % as many", "new reals, 30 % as many", "new reals, 100 % as many",
    ]  # fmt: skip
    assert all(len(row.each) == 2 for row in result.rows)
    assert result.verdicts["GaussianNB"].startswith("no claim from 2 replicates, 8 are the least")
    assert result.best["GaussianNB"] in ("real", "classical", "oversampling", "logit adjustment")
    assert result.counts["of a replicate, for classifiers"][2] == 20
    test, validation, training = (result.counts[part] for part in ("test", "validation", "training"))
    assert [sum(of) for of in zip(test, validation, training, strict=True)] == [80, 80, 60]
    jobs = {path.stem: json.loads(path.read_text()) for path in (out / "jobs").iterdir()}
    assert len(jobs) == 2 * (11 + 1)
    adding = [name for name in jobs if name.startswith("00") and ("copies" in name or "-GAN" in name)]
    assert {jobs[name]["added"] for name in adding} == {14}  # up to the balance; as many in each control
    curve = [jobs[name]["images"] for name in sorted(jobs) if name.startswith("00") and "new_reals" in name]
    plain = jobs["00-GaussianNB-real"]["images"]
    assert sorted(curve) == [plain + 1, plain + 4, plain + 12]  # as far as there are any
    assert result.exchange["GaussianNB"]["added"] == [0, 1, 4, 12]


def test_the_same_call_does_nothing_anew_and_another_is_refused(
    done: tuple[Study, Path], many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, out = done
    page = (out / "report.html").read_text()

    def never(*_: object) -> None:
        raise AssertionError("a job that is done is done again")

    monkeypatch.setattr("ganfold.studies.jobs.run_job", never)
    assert study(many, out, **TINY) == result
    assert (out / "report.html").read_text() == page
    assert json.loads((out / "study.json").read_text()) == result.to_dict()
    assert str(result).endswith(f"The whole story: {out / 'report.html'}")
    with pytest.raises(GanfoldError, match="was begun with ratio = 1.0, and 2"):
        study(many, out, ratio=2, **TINY)


def test_images_that_were_moved_are_known_by_their_content(
    done: tuple[Study, Path], many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, moved = tmp_path / "out", tmp_path / "moved.npz"
    shutil.copytree(done[1], out)
    shutil.copy(many, moved)

    def never(*_: object) -> None:
        raise AssertionError("a job that is done is done again")

    monkeypatch.setattr("ganfold.studies.jobs.run_job", never)
    assert study(moved, out, **TINY).rows == done[0].rows
    content = json.loads((out / "settings.json").read_text())
    assert content["data"] == str(moved)
    (out / "settings.json").write_text(json.dumps(content | {"fingerprint": "another"}))
    with pytest.raises(GanfoldError, match="was begun on other images than are there now"):
        study(moved, out, **TINY)


def test_replicates_and_classifiers_can_be_added(done: tuple[Study, Path], many: Path, tmp_path: Path) -> None:
    result, before = done
    out = tmp_path / "out"
    shutil.copytree(before, out)
    old = {path.name: path.stat().st_mtime_ns for path in (out / "jobs").iterdir()}
    more = TINY | {"replicates": 3, "classifiers": (GaussianNB, BernoulliNB)}
    with pytest.MonkeyPatch.context() as patch:
        lenient(patch)
        again = study(many, out, **more)
    assert old.items() <= {path.name: path.stat().st_mtime_ns for path in (out / "jobs").iterdir()}.items()
    if again.best["GaussianNB"] == result.best["GaussianNB"]:
        mine = [row for row in again.rows if row.classifier == "GaussianNB"]
        assert [row.each[:2] for row in mine] == [row.each for row in result.rows]
    assert set(again.verdicts) == {"GaussianNB", "BernoulliNB"}
    assert all(len(row.each) == 3 for row in again.rows)


def test_a_job_that_is_lost_is_done_again_and_gives_the_same(done: tuple[Study, Path], many: Path) -> None:
    result, out = done
    lost = [*sorted((out / "jobs").glob("01-*GAN.json")), out / "jobs" / "00-GaussianNB-real.json"]
    assert len(lost) == 2
    for path in lost:
        path.unlink()
    with joblib.parallel_config(backend="threading", n_jobs=2):  # another backend of joblib
        again = study(many, out, **TINY)
    assert [row.each for row in again.rows] == [row.each for row in result.rows]


def test_the_page_shows_every_replicate_and_what_was_selected(done: tuple[Study, Path]) -> None:
    page = (done[1] / "report.html").read_text()
    for words in ("do generated images help?", "no claim from 2 replicates", "Holm", "GAN, labels at random",
                  "alt=\"selected generated images\"", "in real ones is not said", "recall, blue"):  # fmt: skip
        assert words in page
    assert page.count("<svg") == 3
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )


def test_a_withheld_class_that_the_generator_knows_is_learnt_from_generated_images(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lenient(monkeypatch)

    def ideal(_: object, classes: tuple[str, ...], counts: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        return blobs(tuple(counts), seed=100 + seed)

    monkeypatch.setattr("ganfold.studies.jobs.sample_classes", ideal)
    monkeypatch.setattr("ganfold.studies.jobs.train_generator", lambda *_, **__: None)
    monkeypatch.setattr("ganfold.studies.jobs.Run", lambda *_, **__: None)
    options = TINY | {"small": (), "few": None, "withhold": "blue", "replicates": 8}
    result = ganfold.study(many, tmp_path / "out", **options)
    (gain,) = result.primary
    assert gain.verdict == "helps"
    assert gain.mean > 0.15
    assert result.verdicts["GaussianNB"].startswith("helps: +")
    shuffled = next(control for control in result.controls if control.name.startswith("GAN, labels at random"))
    assert shuffled.mean < gain.mean
    assert any("The classifiers were shown no image of blue" in note for note in result.notes)


def test_a_gan_from_a_file_makes_the_images(many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lenient(monkeypatch)
    file = tmp_path / "my_gan.py"
    file.write_text("from ganfold.gans.rsgan import RSGAN\n\n\nclass MyGAN(RSGAN):\n    pass\n")
    result = study(many, tmp_path / "out", gan=f"{file}:MyGAN", **TINY | {"replicates": 1})
    assert result.protocol["generator"] == f"{file}:MyGAN, 0.05 kimg"
    run = tmp_path / "out" / "generators" / "00" / "run"
    assert json.loads((run / "config.json").read_text())["gan"] == "my_gan.py:MyGAN"


def test_a_gain_that_real_copies_give_too_is_no_evidence() -> None:
    base, up, noisy = [0.7] * 8, [0.72 + n / 1000 for n in range(8)], [0.75, 0.7] * 4
    curve = {"worth": 5.0, "most": 10.0}
    for copies, words in ((base, "helps: +2.4 points"), (noisy, "no evidence: +2.4 points")):
        (gain,), (against,) = paired_differences({"gain": (up, base)}), paired_differences({"copies": (up, copies)})
        assert _verdict(gain, against, curve).startswith(words)
    assert _verdict(gain, against, curve).endswith("to them")
    assert _verdict(paired_differences({"loss": (base, up)})[0], against, curve).startswith("harms: -2.4 points")


def test_worth_in_real_images_by_hand() -> None:
    x, y = np.array([0.0, 10, 30, 100]), np.array([0.6, 0.62, 0.66, 0.7])
    assert _worth(x, y, 0.64) == pytest.approx(20)
    assert _worth(x, y, 0.5) == 0
    assert _worth(x, y, 0.9) == 100
    assert 0 < _worth(x, np.array([0.6, 0.58, 0.66, 0.65]), 0.62) < 30  # made to rise


def test_refusals_are_sentences(many: Path, tmp_path: Path) -> None:
    for change, words in (
        ({"few": None}, "--small and --few go together"),
        ({"small": ("blau",)}, "has no class 'blau'"),
        ({"few": 10}, "no class has both 20 images in a replicate"),
        ({"few": 59}, "the class blue of .* is too small for a study: .* and 59 are to be drawn"),
        ({"share": 1.5}, "--share between 0 and 1"),
        ({"classifiers": ("svm",)}, "there is no classifier 'svm'"),
        ({"gan": "dcgan"}, "dcgan takes no labels"),
    ):
        with pytest.raises(GanfoldError, match=words):
            study(many, tmp_path / "out", **TINY | change)
        assert not (tmp_path / "out").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(GanfoldError, match="full is not empty"):
        study(many, tmp_path / "full", **TINY)
