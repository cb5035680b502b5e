"""Runs of earlier versions open, sample the same images, and go on to the same bits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganfold
from ganfold.gans import GANS
from ganfold.runs import checkpoint
from ganfold.runs.record import RunRecord
from ganfold.runs.run import build
from machine import machine

OLD = Path(__file__).parents[1] / "fixtures" / "run-0.1.0"
SAME: dict[str, Any] = {"batch": 8, "resolution": 16, "report_kimg": 0.05, "progress": False, "evaluate_every": 0.1}
SAME |= {"seed": 3, "held_out": 0.2, "flips": True, "width": 4, "z_dim": 6}


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(OLD / "run", tmp_path / "run")
    shutil.copy(OLD / "squares.npz", tmp_path)
    monkeypatch.chdir(tmp_path)  # the run names its images by a relative path
    return tmp_path


def is_same_machine() -> bool:
    return bool(json.loads((OLD / "machine.json").read_text()) == machine())


def test_an_old_run_samples_the_same_images(copied: Path) -> None:
    made = ganfold.load("run", "last").sample(4, seed=1)
    expected = np.load(OLD / "sample.npz")["images"]
    assert np.abs(made.astype(int) - expected).max() <= (0 if is_same_machine() else 2)


def test_an_old_run_goes_on_to_the_same_bits(copied: Path) -> None:
    ganfold.train("dcgan", "squares.npz", "run", kimg=0.4, **SAME)
    expected, state = checkpoint.load(OLD / "after.safetensors")
    found, found_state = checkpoint.load(Path("run/checkpoints/step-000000050.safetensors"))
    assert found.keys() == expected.keys()
    assert {key: found_state[key] for key in ("steps", "draws", "meter")} == {
        key: state[key] for key in ("steps", "draws", "meter")
    }
    for name, value in expected.items():
        if is_same_machine():
            assert torch.equal(found[name], value), name
        else:
            torch.testing.assert_close(found[name], value, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("name", GANS)
def test_the_record_of_each_gan_opens(name: str, tmp_path: Path) -> None:
    shutil.copy(OLD / "records" / f"{name}.json", tmp_path / "config.json")
    record = RunRecord.read(tmp_path)
    gan = build(record, record.gan_class())
    assert gan.shape.resolution == 16
    assert gan.config.batch == 8
