"""Checkups while training: the best checkpoint, what a resumed run repeats, and what they leave alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganfold
from ganfold.data import load
from ganfold.errors import GanfoldError
from ganfold.metrics.features import extractor
from ganfold.runs import checkpoint
from ganfold.training import checkups, loop
from ganfold.training.checkups import Checkup

TINY: dict[str, Any] = {"resolution": 16, "width": 4, "batch": 32, "progress": False, "evaluate_every": 0.25}


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixels as features, and few of them: these tests are not about what KID sees."""
    monkeypatch.setattr(checkups, "efficientnet", lambda size, device: extractor("pixels"))
    monkeypatch.setattr(checkups, "MOST", 64)
    monkeypatch.setattr(checkups, "NEAR", 10)


def rows(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def timeless(row: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if name not in ("images/s", "minutes")}


def test_the_best_checkpoint_is_kept_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.5, 0.2, 0.3, 0.4])
    monkeypatch.setattr(Checkup, "__call__", lambda self, trainer: {
        "KID": next(scores), "KID/error": 0.01, "precision": 0.0, "recall": 0.0, "coverage": 0.0,
    })  # fmt: skip
    run = ganfold.train("dcgan", "digits", tmp_path / "run", kimg=1, **TINY)
    assert [row["KID"] for row in rows(run.path) if "KID" in row] == [0.5, 0.2, 0.3, 0.4]
    assert run.checkpoint == "best, at 0.512 kimg"
    last = ganfold.load(run.path, "last")
    assert last.checkpoint == "last, at 1.024 kimg"
    _, state = checkpoint.load(run.path / "checkpoints" / checkpoint.BEST)
    assert state["best"] == {"KID": 0.2, "kimg": 0.512}
    assert not np.array_equal(run.sample(4), last.sample(4))
    out = ganfold.sample(run.path, tmp_path / "last.png", count=4, checkpoint="last")
    assert out.read_bytes() != ganfold.sample(run.path, tmp_path / "best.png", count=4).read_bytes()
    with pytest.raises(GanfoldError, match="checkpoint must be best or last, not 'newest'"):
        ganfold.load(run.path, "newest")


def test_fewer_images_than_a_checkup_needs_are_trained_on_without_one(tmp_path: Path) -> None:
    np.save(tmp_path / "few.npy", np.random.default_rng(0).integers(0, 255, (8, 16, 16, 3), dtype=np.uint8))
    run = ganfold.train("dcgan", tmp_path / "few.npy", tmp_path / "run", kimg=0.2, **TINY | {"batch": 4})
    assert run.sample(1).shape == (1, 16, 16, 3)
    assert not any("KID" in row for row in rows(run.path))


def test_checkups_do_not_touch_training(tmp_path: Path) -> None:
    looked = ganfold.train("dcgan", "digits", tmp_path / "looked", kimg=1, **TINY)
    blind = ganfold.train("dcgan", "digits", tmp_path / "blind", kimg=1, **TINY | {"evaluate_every": 0})
    a, b = (checkpoint.load(checkpoint.checkpoints(run.path / "checkpoints")[-1])[0] for run in (looked, blind))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not (blind.path / "checkpoints" / checkpoint.BEST).exists()
    assert ["KID" in row for row in rows(blind.path)].count(True) == 0


def test_a_resumed_run_repeats_its_checkups_to_the_bit(tmp_path: Path) -> None:
    whole = ganfold.train("dcgan", "digits", tmp_path / "whole", kimg=1, **TINY)
    for kimg in (0.3, 0.6, 1):
        parts = ganfold.train("dcgan", "digits", tmp_path / "parts", kimg=kimg, **TINY)
    assert list(map(timeless, rows(whole.path))) == list(map(timeless, rows(parts.path)))
    assert np.array_equal(whole.sample(4), parts.sample(4))
    assert whole.checkpoint == parts.checkpoint


def test_what_a_checkup_measures(tmp_path: Path) -> None:
    run = ganfold.train("dcgan", "digits", tmp_path / "run", kimg=0.5, **TINY | {"augment": 0.9})
    row = [row for row in rows(run.path) if "KID" in row][-1]
    assert {
        "precision",
        "recall",
        "coverage",
        "density",
        "repeats",
        "augmented/real",
        "augmented/real changed",
        "nearest/fake",
    } < row.keys()
    assert {"opinion/train", "opinion/held-out", "opinion/fake"} < row.keys()
    assert row["KID"] > 10 * row["KID/error"]  # after 16 steps it is noise


def test_the_class_that_is_missing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkups, "MOST", 400)
    images = load("digits", resolution=16)
    look = Checkup(images, 0, torch.device("cpu"))
    assert images.labels is not None
    labels = torch.from_numpy(images.labels[look.unseen])
    found = look._worst_class(labels != 7)
    assert found == {"coverage/worst class": 0.0, "worst class": 7}


def test_copied_images_are_nearer_than_held_out_ones(tmp_path: Path) -> None:
    images = load("digits", resolution=16)
    look = Checkup(images, 0, torch.device("cpu"))
    found = look._nearness(images.images[images.train[:20]])
    assert found["nearest/fake"] == 0 < found["nearest/held-out"]
    assert look._repeats(look.features(images.images[images.held_out[:64]])) < 0.1
    assert look._repeats(look.features(np.repeat(images.images[:8], 8, 0))) == 1


def test_short_runs_are_not_held_up(tmp_path: Path) -> None:
    run = ganfold.train("dcgan", "digits", tmp_path / "run", kimg=1, **TINY | {"evaluate_every": None})
    assert not any("KID" in row for row in rows(run.path))


def test_a_larger_budget_has_its_own_checkups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "CHECKUP_KIMG", 0.01)
    options = TINY | {"evaluate_every": None}
    ganfold.train("dcgan", "digits", tmp_path / "run", kimg=0.64, **options)
    run = ganfold.train("dcgan", "digits", tmp_path / "run", kimg=1.28, **options)
    found = [row["kimg"] for row in rows(run.path) if "KID" in row]
    assert sum(kimg <= 0.64 for kimg in found) == 10
    assert found[-1] == 1.28
    assert len(found) == 15
