"""A run remembers the level of its class folders; runs, studies and folders of earlier versions go on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import ganfold
from ganfold.errors import GanfoldError
from ganfold.runs.record import RunRecord
from ganfold.studies.design import StudySettings
from ganfold.studies.parts import load_labelled
from ganfold.training.planning import prepare
from ganfold.training.request import Request
from ganfold.verbs.augment import Options, _requested


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    for seed, name in enumerate(("animals/birds", "animals/mammals", "plants/trees")):
        (tmp_path / "nested" / name).mkdir(parents=True)
        for i in range(8):
            Image.linear_gradient("L").rotate(40 * i + 9 * seed).resize((16, 16)).save(
                tmp_path / "nested" / name / f"{i}.png"
            )
    return tmp_path / "nested"


OPTIONS: dict[str, Any] = {"labels": True, "kimg": 0.016, "batch": 8, "width": 8, "resolution": 16, "device": "cpu"}


def test_a_run_reopens_its_images_at_its_level(nested: Path, tmp_path: Path) -> None:
    def train(**level: int) -> Any:
        return ganfold.train("rsgan", nested, tmp_path / "run", progress=False, **OPTIONS, **level)

    run = train(classes_from=2)
    assert run.classes == ("birds", "mammals", "trees")
    assert run.images(progress=False).classes == ("birds", "mammals", "trees")
    assert "--classes-from 2" in run.record.command
    with pytest.raises(GanfoldError, match="was trained with classes_from = 2"):
        train()
    content = run.record.to_dict()
    assert content["settings"].pop("classes_from") == 2
    assert RunRecord.from_dict(content, tmp_path).settings.classes_from == 1  # of 0.1.0


def test_a_plan_and_a_study_read_the_level(nested: Path) -> None:
    request = Request.of("rsgan", nested, options=OPTIONS | {"classes_from": 2})
    assert len(prepare(request.gan_class, request.config, request.settings, nested, False).classes) == 3
    assert len(load_labelled(nested, classes_from=2, progress=False).classes) == 3
    assert len(load_labelled(nested, progress=False).classes) == 2


def test_what_a_study_and_an_augmentation_note_of_the_first_level_is_as_before(nested: Path) -> None:
    settings = StudySettings(
        "x", 16, "rsgan", 1.0, None, 8, 0.5, (), None, None, 1.0, None, "classical", False, 500, None, 0, "cpu", {}
    )
    assert "classes_from" not in settings.content("f", [])
    assert replace(settings, classes_from=2).content("f", [])["classes_from"] == 2
    images = load_labelled(nested, progress=False)
    for level in (1, 2):
        noted = _requested(Options(nested, "out", classes_from=level), images, None)
        assert noted.get("classes_from", 1) == level
        assert ("classes_from" in noted) == (level == 2)
