"""The conclusions of a study from its jobs: table, differences, exchange rate, verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ganfold import device as devices
from ganfold.data import ImageSet
from ganfold.files import read_json
from ganfold.interface.result import Result, protocol_line, stamp
from ganfold.studies.arms import ARMS, baselines
from ganfold.studies.design import Parts, StudySettings
from ganfold.studies.jobs import Job, job_path
from ganfold.studies.parts import FLOOR
from ganfold.studies.statistics import REPLICATES, Difference, bootstrap_interval, paired_differences

PRIMARY = (("GAN", ""),)  # "": the best baseline
CONTROLS = (("GAN", "real copies"), ("GAN", "GAN, not selected"), ("GAN, labels at random", ""))
RESAMPLES = 500  # of replicates, for the interval of the exchange rate


@dataclass(frozen=True)
class ArmRow:
    """One arm with one classifier: metrics on the test part, as means over the replicates."""

    classifier: str
    arm: str
    each: list[float]  # balanced accuracy of each replicate, 0 to 1
    images: float  # real images that it was trained on, the mean, and ...
    added: float  # ... generated images or copies beside them
    accuracy: float
    low: float  # BCa bootstrap interval over replicates, 95 %
    high: float
    macro_f1: float
    calibration_error: float | None
    recall: list[list[float]]  # of each class: mean, low, high
    seconds: float  # of one training

    @classmethod
    def of(cls, classifier: str, arm: str, results: list[dict[str, Any]]) -> ArmRow:
        """The row of the replicates' results."""
        tests = [result["test"] for result in results]
        each = [test["balanced_accuracy"] for test in tests]
        recalls = np.array([test["recall"] for test in tests])
        errors = [test["calibration_error"] for test in tests]
        low, high = bootstrap_interval(each)
        return cls(
            classifier=classifier,
            arm=arm,
            each=each,
            images=float(np.mean([result["images"] for result in results])),
            added=float(np.mean([result["added"] for result in results])),
            accuracy=float(np.mean(each)),
            low=low,
            high=high,
            macro_f1=float(np.mean([test["macro_f1"] for test in tests])),
            calibration_error=None if None in errors else float(np.mean(errors)),
            recall=[[float(recall.mean()), *bootstrap_interval(recall.tolist())] for recall in recalls.T],
            seconds=float(np.mean([result["seconds"] for result in results])),
        )


Table = Mapping[tuple[str, str], ArmRow]  # by classifier and arm


@dataclass(frozen=True, repr=False)
class Study(Result):
    """Whether generated images help: the verdicts of `study`, and all that they rest on."""

    classes: list[str]
    verdicts: dict[str, str]  # of each classifier
    best: dict[str, str]  # the baseline that the validation part chose, by classifier
    rows: list[ArmRow]
    primary: list[Difference]  # GAN minus best baseline, a test for each classifier
    controls: list[Difference]
    exchange: dict[str, dict[str, Any]]  # by classifier: the learning curve of more reals, and what the GAN is worth
    selection: list[dict[str, Any]]  # by class, means over replicates
    counts: dict[str, list[int]]  # images of each class: test, validation, training, in a replicate
    notes: list[str]
    protocol: dict[str, Any]
    page: Path  # the report

    def to_dict(self) -> dict[str, Any]:
        """The content of `study.json`."""
        content = super().to_dict()
        del content["page"]
        return content

    def lines(self) -> list[str]:
        """The verdicts, a table of all arms, the differences, the notes, and where the report is."""
        lines = [f"{name}: {verdict}" for name, verdict in self.verdicts.items()] + [""]
        width = max(len(row.arm) for row in self.rows)
        for row in self.rows:
            mark = " (the baseline to beat)" if self.best[row.classifier] == row.arm else ""
            lines.append(
                f"{row.classifier:10} {row.arm:{width}}  {100 * row.accuracy:.1f} %  "
                f"({100 * row.low:.1f} to {100 * row.high:.1f}){mark}"
            )
        lines += ["", *(f"{d.name}: {_points(d)}" for d in (*self.primary, *self.controls)), "", *self.notes]
        return [*lines, "", protocol_line(self.protocol), f"The whole story: {self.page}"]


def conclude(out: Path, settings: StudySettings, images: ImageSet, parts: Parts, best: dict[str, str]) -> Study:
    """The conclusions of a study whose jobs are all done.

    Args:
        out: the folder of the study.
        settings, images, parts: of the study.
        best: the best baseline of each classifier.
    """
    table = _table(out, settings, best)
    generators = [read_json(job_path(out, Job(n))) for n in range(settings.replicates)]
    primary = _compare(table, best, best, PRIMARY)
    controls = [difference for name in best for difference in _compare(table, best, [name], CONTROLS)]
    copying = [difference for difference in controls if difference.name.startswith("GAN minus real copies")]
    exchange = {name: _exchange(table, name, base) for name, base in best.items()}
    return Study(
        classes=list(images.classes),
        verdicts={
            name: _verdict(difference, against, exchange[name])
            for name, difference, against in zip(best, primary, copying, strict=True)
        },
        best=best,
        rows=list(table.values()),
        primary=primary,
        controls=controls,
        exchange=exchange,
        selection=_mean_selection(generators),
        counts=_class_counts(images, parts, generators[0]),
        notes=_notes(settings, controls, generators, images),
        protocol=_protocol(out, settings, images, generators),
        page=out / "report.html",
    )


def _table(out: Path, settings: StudySettings, best: Mapping[str, str]) -> Table:
    rows = {}
    for name, base in best.items():
        for arm in (*baselines(settings.augmentation, settings.flips), *ARMS):
            jobs = [Job(n, arm, name, base if arm in ARMS else "") for n in range(settings.replicates)]
            rows[name, arm] = ArmRow.of(name, arm, [read_json(job_path(out, job)) for job in jobs])
    return rows


def _compare(
    table: Table, best: Mapping[str, str], classifiers: Iterable[str], pairs: Sequence[tuple[str, str]]
) -> list[Difference]:
    """The differences between pairs of arms, for each of these classifiers, as one family of tests."""
    scores = {}
    for name in classifiers:
        for first, other in pairs:
            second = other or best[name]
            title = f"{first} minus {second}" + (f", {name}" if len(best) > 1 else "")
            scores[title] = (table[name, first].each, table[name, second].each)
    return paired_differences(scores)


def _exchange(table: Table, name: str, base: str) -> dict[str, Any]:
    """The worth of the GAN's arm in real images, from the learning curve of more real ones."""
    curve = [table[name, base], *(table[name, arm] for arm in ARMS if arm.startswith("new reals"))]
    x = np.array([row.images for row in curve]) - curve[0].images
    y = np.array([row.each for row in curve])  # (points, replicates)
    gan, random = np.array(table[name, "GAN"].each), np.random.default_rng(0)
    draws = random.integers(0, len(gan), (RESAMPLES, len(gan)))
    worth = sorted(_worth(x, y[:, draw].mean(1), gan[draw].mean()) for draw in draws)
    return {
        "added": x.tolist(),
        "accuracy": y.mean(1).tolist(),
        "generated": table[name, "GAN"].added,
        "worth": _worth(x, y.mean(1), float(gan.mean())),
        "low": worth[round(0.025 * (RESAMPLES - 1))],
        "high": worth[round(0.975 * (RESAMPLES - 1))],
        "most": float(x[-1]),
    }


def _worth(x: np.ndarray, y: np.ndarray, level: float) -> float:
    """How many real images reach this level of accuracy.

    Isotonic regression makes the curve rise. The result is 0 if none is needed, and the end of the curve if the curve
    does not reach the level.

    Args:
        x, y: the points of the curve: real images added, and accuracy.
        level: an accuracy.
    """
    from sklearn.isotonic import IsotonicRegression

    rising = IsotonicRegression().fit_transform(x, y)
    if level <= rising[0] or not x[-1]:
        return 0.0
    if level >= rising[-1]:
        return float(x[-1])
    above = int(np.argmax(rising > level))
    return float(np.interp(level, rising[above - 1 : above + 1], x[above - 1 : above + 1]))


def _verdict(difference: Difference, copying: Difference, exchange: Mapping[str, Any]) -> str:
    """The verdict of a classifier.

    Generated images help if they beat the best baseline, and also as many copies of real images.

    Args:
        difference: GAN minus best baseline.
        copying: GAN minus real copies.
        exchange: the worth in real images.
    """
    gain, against = _points(difference), _points(copying)
    if difference.verdict is None:
        return f"no claim from {len(difference.each)} replicates, {REPLICATES} are the least; {gain}"
    if difference.verdict != "helps":
        return f"{difference.verdict}: {gain}"
    if copying.verdict != "helps":
        return f"no evidence: {gain}, but as many real images once more may do the same: {against} to them"
    beyond = "at least " if exchange["worth"] >= exchange["most"] else "about "
    return f"helps: {gain}; worth {beyond}{exchange['worth']:.0f} more real images"


def _points(difference: Difference) -> str:
    """A difference in points, with its interval and p."""
    mean, low, high = (100 * value for value in (difference.mean, difference.low, difference.high))
    return (
        f"{mean:+.1f} points (95 %: {low:+.1f} to {high:+.1f}), p = {difference.p:.3g}, corrected {difference.holm:.3g}"
    )


def _mean_selection(generators: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The counts of the selection by class, as means over replicates."""
    names = [row["class"] for row in generators[0]["classes"]]
    by_name = {name: [row for job in generators for row in job["classes"] if row["class"] == name] for name in names}
    return [
        {"class": name} | {key: float(np.mean([row[key] for row in rows])) for key in rows[0] if key != "class"}
        for name, rows in by_name.items()
    ]


def _class_counts(images: ImageSet, parts: Parts, generator: Mapping[str, Any]) -> dict[str, list[int]]:
    labels, count = np.asarray(images.labels), len(images.classes)
    counts = {part: np.bincount(labels[rows], minlength=count).tolist() for part, rows in parts.items()}
    counts["of a replicate, for classifiers"], counts["for the generator"] = generator["shown"], generator["known"]
    return counts


def _notes(
    settings: StudySettings, controls: list[Difference], generators: list[dict[str, Any]], images: ImageSet
) -> list[str]:
    notes = []
    if any(d.verdict == "helps" for d in controls if d.name.startswith("GAN, labels at random")):
        notes.append("Images with labels at random win, which they cannot: something is wrong with this study.")
    if settings.withhold:
        notes.append(f"The classifiers were shown no image of {settings.withhold}: a control that must help.")
    for label, name in enumerate(images.classes):
        if (known := generators[0]["known"][label]) < FLOOR:
            notes.append(f"The class {name} got none: a replicate has {known} of it, fewer than {FLOOR}.")
        elif times := sum(name in job["refused"] for job in generators):
            notes.append(
                f"The class {name} got none in {times} of {len(generators)} replicates: its images are too much alike."
            )
    if none := sum(not job["kept"] for job in generators):
        notes.append(
            f"In {none} of {len(generators)} replicates no generated image passed: there the GAN's arm is the "
            "baseline; a longer training may mend that, by --kimg."
        )
    notes.append(
        "Replicates draw from one training part and share one test part, so they overlap: the intervals hold for other "
        "draws from these images, and are somewhat too narrow for other images."
    )
    return notes


def _protocol(out: Path, settings: StudySettings, images: ImageSet, generators: list[dict[str, Any]]) -> dict[str, Any]:
    budget = f"{settings.kimg:g} kimg" if settings.kimg else f"{settings.minutes:g} minutes"
    return {
        "images": f"{images.source}, {len(images):,} of {images.resolution} px",
        "fingerprint": images.fingerprint,
        "replicates": settings.replicates,
        "generator": f"{settings.gan}, {budget}",
        "generated": f"{settings.ratio:g} for each real image, where the class has room",
        "measure": "balanced accuracy on test images that nothing else has seen",
        "steps of the CNN": settings.steps,
        "seed": settings.seed,
        "minutes of work": round(sum(read_json(path)["seconds"] for path in (out / "jobs").iterdir()) / 60, 1),
        "minutes of it for generators": round(sum(job["training_seconds"] for job in generators) / 60, 1),
        "machine": devices.describe(devices.choose(settings.device))["device"],
        **stamp(),
    }
