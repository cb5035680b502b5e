"""A run keeps the forms of layers that it was trained with, and a machine keeps what it measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import ganfold
from blobs import saved
from ganfold import GanfoldError
from ganfold.networks import strided
from ganfold.runs.forms import FORMS, forms_of
from ganfold.runs.record import NAME

OPTIONS: dict[str, Any] = {"batch": 8, "width": 8, "resolution": 16, "evaluate_every": 0, "progress": False}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """The layers that are measured; the product never wins."""
    calls: list[Any] = []
    monkeypatch.setattr(strided, "_is_faster", lambda *arguments: bool(calls.append(arguments)))
    monkeypatch.setattr(strided, "LEAST", 0)
    monkeypatch.setenv("GANFOLD_CACHE", str(tmp_path / "cache"))
    return calls


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return saved(tmp_path / "images.npz", (32, 32))


def test_a_machine_measures_once_and_each_run_keeps_its_forms(data: Path, tmp_path: Path, measured: list[Any]) -> None:
    ganfold.train("dcgan", data, tmp_path / "first", kimg=0.016, **OPTIONS)
    first = json.loads((tmp_path / "first" / FORMS).read_text())
    assert len(measured) == len(first) > 0
    assert set(first.values()) == {False}
    ganfold.train("dcgan", data, tmp_path / "second", kimg=0.016, **OPTIONS)
    assert json.loads((tmp_path / "second" / FORMS).read_text()) == first
    assert len(measured) == len(first)


def test_a_run_that_goes_on_takes_its_own_forms_not_the_machines(
    data: Path, tmp_path: Path, measured: list[Any]
) -> None:
    run = tmp_path / "run"
    ganfold.train("dcgan", data, run, kimg=0.016, **OPTIONS)
    own = dict.fromkeys(forms_of(run).table, True)
    (run / FORMS).write_text(json.dumps(own))
    ganfold.train("dcgan", data, run, kimg=0.032, **OPTIONS)
    assert forms_of(run).table == own


def test_a_run_from_before_forms_were_measured_goes_on_without(data: Path, tmp_path: Path, measured: list[Any]) -> None:
    run = tmp_path / "run"
    ganfold.train("dcgan", data, run, kimg=0.016, **OPTIONS)
    (run / FORMS).unlink()
    content = json.loads((run / NAME).read_text())
    del content["measured_forms"]
    (run / NAME).write_text(json.dumps(content))
    measured.clear()
    ganfold.train("dcgan", data, run, kimg=0.032, **OPTIONS)
    assert measured == []
    assert not (run / FORMS).exists()


def test_damaged_forms_are_one_sentence_in_a_run_and_measured_anew_in_the_cache(
    data: Path, tmp_path: Path, measured: list[Any]
) -> None:
    run = tmp_path / "run"
    ganfold.train("dcgan", data, run, kimg=0.016, **OPTIONS)
    for file in (tmp_path / "cache" / "forms").iterdir():
        file.write_text("[")
    before = len(measured)
    ganfold.train("dcgan", data, tmp_path / "other", kimg=0.016, **OPTIONS)
    assert len(measured) == 2 * before
    (run / FORMS).write_text('{"Halve": 3}')
    with pytest.raises(GanfoldError, match=r"forms\.json is damaged.*neither true nor false"):
        ganfold.load(run).sample(1)
