"""The doctor: what it says of logs made up for it, and of real runs with a planted failure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ganfold.interface.settings import Settings
from ganfold.runs.record import DataRecord, RunRecord
from ganfold.training.diagnosis import Diagnosis, Row, diagnose
from planted import PLANTS, named, planted

RECORD = RunRecord(
    "dcgan",
    {"augment": 0.0, "label_smoothing": 0.0, "lr": 2e-4},
    Settings(),
    DataRecord("photos/", "0", 100, 10, 32, 3, ("cat", "dog"), (50, 50)),
)
HEALTHY: Row = {
    "D(x)": 0.9, "D(G(z)) before": 0.1, "D(G(z)) after": 0.07, "spread/real": 0.38, "spread/fake": 0.3,
    "move/G": 0.004, "move/D": 0.002,
}  # fmt: skip
CHECKUP: Row = {
    "KID": 1.0, "KID/error": 0.02, "coverage": 0.1, "repeats": 0.01, "nearest/fake": 0.13, "nearest/held-out": 0.09,
    "opinion/train": 2.0, "opinion/held-out": 1.9, "opinion/fake": -3.0,
}  # fmt: skip
LEAK: Row = {"augmented/real": 0.1, "augmented/real changed": 0.7, "augmented/fake": 0.9}


def log(report: Row | None = None, checkup: Row | None = None, kids: list[float] | None = None) -> list[Row]:
    """Reports every 2 kimg to 80, and a checkup at each value of KID in between."""
    kids = kids or [3.0, 2.5, 2.0, 1.7, 1.5, 1.4, 1.35, 1.33]
    rows = [{"step": i, "kimg": 2.0 * i, **HEALTHY, **(report or {})} for i in range(1, 41)]
    for i, kid in enumerate(kids, 1):
        kimg = 80 * i / len(kids)
        rows.append({"step": kimg / 2, "kimg": kimg, **CHECKUP, **(checkup or {}), "KID": kid})
    return sorted(rows, key=lambda row: row["kimg"])


def said(rows: list[Row], **state: Any) -> list[Diagnosis]:
    return diagnose(rows, RECORD, {"status": "running", **state})


def test_a_healthy_log_is_passed_over_in_silence() -> None:
    assert said(log()) == []
    assert said([]) == []
    assert said(log()[:1]) == []


@pytest.mark.parametrize(
    ("name", "rows", "evidence"),
    [
        ("learning rate", log({"move/G": 0.03}), "one update moves the weights of G by 3.0% of their length"),
        ("mode collapse", log({"spread/fake": 0.01}), "vary by 3% of what the real ones do"),
        ("mode collapse", log(checkup={"repeats": 0.8}), "80% of the samples are nearer to another sample"),
        (
            "class missing",
            log(checkup={"coverage": 0.6, "coverage/worst class": 0.05, "worst class": 1}),
            "5% of its real images are covered, 60% of all",
        ),
        ("G wins", log({"D(x)": 0.5, "D(G(z)) before": 0.5}), "D(x) 0.500, D(G(z)) 0.500, quick KID 1.33"),
        ("G wins", log({"move/D": 0.0}), "D's weights have not moved"),
        ("D wins", log({"D(x)": 0.999, "D(G(z)) after": 0.0004}), "D(x) 0.999, D(G(z)) 0.0004"),
        ("D overfits", log(checkup={"opinion/held-out": -1.0}), "is 60% of the way"),
        ("memorisation", log(checkup={"nearest/fake": 0.045}), "at 50% of their distance"),
        (
            "augmentation leaks",
            log(checkup=LEAK),
            "takes 90% of them for augmented, 70% of real images that are, and 10%",
        ),
        ("diverges", log(kids=[3.0, 1.5, 0.5, 0.4, 2.2, 2.4]), "the quick KID was 0.4 at 53.3333 kimg and is 2.4 now"),
        ("oscillation", log(kids=[3.0, 1.0, 1.8, 0.9, 1.7, 0.9, 1.6, 1.0]), "went up and down by"),
    ],
)
def test_each_sign_is_named_with_its_evidence(name: str, rows: list[Row], evidence: str) -> None:
    (found,) = said(rows)
    assert found.name == name
    assert found.alarm
    assert evidence in found.evidence
    assert found.remedy.endswith(".")
    assert str(found) == f"{found.sentence} ({found.evidence}). {found.remedy}"


def test_remedies_name_only_what_the_gan_has() -> None:
    overfit = log(checkup={"opinion/held-out": -1.0})
    assert "--augment 0.5" in said(overfit)[0].remedy
    for config in ({"lr": 1e-4}, {"augment": 0.5}):
        (found,) = diagnose(overfit, replace(RECORD, config=config), {"status": "running"})
        assert "--augment" not in found.remedy


def test_samples_that_look_less_augmented_than_augmented_images_are_no_leak() -> None:
    assert said(log(checkup=LEAK | {"augmented/fake": 0.6})) == []


def test_an_equilibrium_near_real_images_is_no_alarm() -> None:
    assert said(log({"D(x)": 0.5, "D(G(z)) before": 0.5}, checkup={"coverage": 0.8})) == []


def test_hints_come_at_the_end() -> None:
    better = log(kids=[3.0, 2.5, 2.0, 1.5, 1.2, 1.0, 0.8, 0.6])
    assert said(better) == []
    (hint,) = said(better, status="done")
    assert (hint.name, hint.alarm) == ("unfinished", False)
    (hint,) = said(log(kids=[3.0, 0.9, 0.8, 0.81, 0.82, 0.8, 0.81, 0.83]), status="done")
    assert (hint.name, hint.alarm) == ("no gain", False)


def test_what_got_worse_at_the_end_was_not_still_getting_better() -> None:
    """As in a run of 10 kimg whose KID was 2.669 at 8 kimg and 3.330 at its end."""
    assert said(log(kids=[4.0, 3.4, 3.2, 2.669, 3.330]), status="done") == []
    (hint,) = said(log(kids=[4.0, 3.4, 3.2, 2.669, 2.68]), status="done")  # worse by less than the error
    assert hint.name == "unfinished"


def test_rescues_and_failures_are_told() -> None:
    rescue = {"at": 12.0, "to": 8.0, "why": "Loss_D became infinite or NaN"}
    (found,) = said(log(), rescues=[rescue, rescue])
    assert found.name == "rescued"
    assert "2 times" in found.sentence
    assert "0.25" in found.remedy
    assert said(log(), status="failed", why="Loss_D became infinite or NaN")[0].name == "diverged"


@pytest.mark.slow
@pytest.mark.parametrize("plant", list(PLANTS)[:6])
def test_planted_failures_are_named_and_a_healthy_run_is_not(plant: str, tmp_path: Path) -> None:
    """One seed each; docs/guide/the-doctor.md has three, and more healthy runs."""
    found = {diagnosis.name for diagnosis in named(planted(plant, 0, tmp_path, kimg=24))}
    expected = PLANTS[plant][1]
    assert found & expected if expected else not found


def test_a_rate_that_falls_of_its_own_accord_is_not_blamed_for_beginning_high() -> None:
    rows = log({"move/G": 0.03})
    assert any(found.name == "learning rate" for found in diagnose(rows, RECORD, {"status": "running"}))
    falling = replace(RECORD, config={**RECORD.config, "lr_end": 1e-4})
    assert not any(found.name == "learning rate" for found in diagnose(rows, falling, {"status": "running"}))
