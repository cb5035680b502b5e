"""What follows from the jobs of a study: table, differences, exchange rate, verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import ganfold
from ganfold import device as devices
from ganfold.data import ImageSet
from ganfold.files import read_json
from ganfold.studies.arms import ARMS, baselines
from ganfold.studies.jobs import Job, Settings, path
from ganfold.studies.parts import FLOOR
from ganfold.studies.statistics import REPLICATES, Difference, family, interval

CONTROLS = (
    ("GAN", "real copies"),
    ("GAN", "GAN, not selected"),
    ("GAN, labels at random", ""),
)  # "": the best baseline
RESAMPLES = 500  # of replicates, for the interval of the exchange rate


@dataclass(frozen=True)
class Row:
    """One arm with one classifier: figures on the test part, means over the replicates."""

    classifier: str
    arm: str
    each: list[float]  # balanced accuracy of each replicate, 0 to 1
    images: float  # that it was trained on, the mean, and ...
    added: float  # ... those beside them: generated ones or copies
    accuracy: float
    low: float  # BCa bootstrap interval over replicates, 95 %
    high: float
    macro_f1: float
    calibration_error: float | None
    recall: list[list[float]]  # of each class: mean, low, high
    seconds: float  # of one training


@dataclass(frozen=True)
class Study:
    """What `study` found."""

    classes: list[str]
    verdicts: dict[str, str]  # of each classifier
    best: dict[str, str]  # the baseline that the validation part chose, by classifier
    rows: list[Row]
    primary: list[Difference]  # GAN minus best baseline, a test for each classifier
    controls: list[Difference]
    exchange: dict[str, dict[str, Any]]  # by classifier: the learning curve of more reals, and what the GAN is worth
    selection: list[dict[str, Any]]  # by class, means over replicates
    counts: dict[str, list[int]]  # images of each class: test, validation, training, in a replicate
    notes: list[str]
    protocol: dict[str, Any]

    def lines(self) -> list[str]:
        """Verdicts, table and notes, for the console."""
        lines = [f"{name}: {verdict}" for name, verdict in self.verdicts.items()] + [""]
        width = max(len(row.arm) for row in self.rows)
        for row in self.rows:
            mark = " (the baseline to beat)" if self.best[row.classifier] == row.arm else ""
            lines.append(
                f"{row.classifier:10} {row.arm:{width}}  {100 * row.accuracy:.1f} %  "
                f"({100 * row.low:.1f} to {100 * row.high:.1f}){mark}"
            )
        lines += ["", *(shown(difference) for difference in (*self.primary, *self.controls)), "", *self.notes]
        return [*lines, "", "Protocol: " + "; ".join(f"{name} {value}" for name, value in self.protocol.items())]


def shown(found: Difference) -> str:
    """A difference in points, as a line."""
    return (
        f"{found.name}: {100 * found.mean:+.1f} points (95 %: {100 * found.low:+.1f} to {100 * found.high:+.1f}), "
        f"p = {found.p:.3g}, corrected {found.holm:.3g}"
    )


def concluded(
    out: Path, settings: Settings, images: ImageSet, parts: dict[str, np.ndarray], best: dict[str, str]
) -> Study:
    """The conclusions of a study whose jobs are all done."""
    numbers = range(settings.replicates)
    table: dict[tuple[str, str], Row] = {}
    for name, base in best.items():
        for arm in (*baselines(settings.augmentation, settings.flips), *ARMS):
            jobs = [Job(n, arm, name, base if arm in ARMS else "") for n in numbers]
            table[name, arm] = _row(name, arm, [read_json(path(out, job)) for job in jobs])
    made = [read_json(path(out, Job(n))) for n in numbers]
    several = len(best) > 1

    def compared(classifiers: Iterable[str], pairs: Sequence[tuple[str, str]]) -> list[Difference]:
        named = {
            f"{first} minus {second or best[name]}" + f", {name}" * several: (
                table[name, first].each,
                table[name, second or best[name]].each,
            )
            for name in classifiers
            for first, second in pairs
        }
        return family(named)

    primary = compared(best, [("GAN", "")])
    controls = [found for name in best for found in compared([name], CONTROLS)]
    copying = [found for found in controls if found.name.startswith("GAN minus real copies")]
    exchange = {name: _exchange(table, name, base) for name, base in best.items()}
    labels, count = np.asarray(images.labels), len(images.classes)
    counts = {part: np.bincount(labels[of], minlength=count).tolist() for part, of in parts.items()}
    counts["of a replicate, for classifiers"], counts["for the generator"] = made[0]["shown"], made[0]["known"]
    return Study(
        classes=list(images.classes),
        verdicts={
            name: _verdict(found, against, exchange[name])
            for name, found, against in zip(best, primary, copying, strict=True)
        },
        best=best,
        rows=list(table.values()),
        primary=primary,
        controls=controls,
        exchange=exchange,
        selection=_selection(made),
        counts=counts,
        notes=_notes(settings, controls, made, images),
        protocol={
            "images": f"{images.source}, {len(images):,} of {images.resolution} px",
            "fingerprint": images.fingerprint,
            "replicates": settings.replicates,
            "generator": f"{settings.gan}, "
            + (f"{settings.kimg:g} kimg" if settings.kimg else f"{settings.minutes:g} minutes"),
            "generated": f"{settings.ratio:g} for each real image, where the class has room",
            "measure": "balanced accuracy on test images that nothing else has seen",
            "steps of the CNN": settings.steps,
            "seed": settings.seed,
            "minutes of work": round(sum(read_json(p)["seconds"] for p in (out / "jobs").iterdir()) / 60, 1),
            "minutes of it for generators": round(sum(found["training_seconds"] for found in made) / 60, 1),
            "machine": devices.describe(devices.choose(settings.device))["device"],
            "ganfold": ganfold.__version__,
            "date": datetime.now(UTC).date().isoformat(),
        },
    )


def _row(classifier: str, arm: str, found: list[dict[str, Any]]) -> Row:
    each = [f["test"]["balanced_accuracy"] for f in found]
    recalls = np.array([f["test"]["recall"] for f in found])
    sure = [f["test"]["calibration_error"] for f in found]
    return Row(
        classifier=classifier,
        arm=arm,
        each=each,
        images=float(np.mean([f["images"] for f in found])),
        added=float(np.mean([f["added"] for f in found])),
        accuracy=float(np.mean(each)),
        low=interval(each)[0],
        high=interval(each)[1],
        macro_f1=float(np.mean([f["test"]["macro_f1"] for f in found])),
        calibration_error=None if None in sure else float(np.mean(sure)),
        recall=[[float(of.mean()), *interval(of.tolist())] for of in recalls.T],
        seconds=float(np.mean([f["seconds"] for f in found])),
    )


def _exchange(table: dict[tuple[str, str], Row], name: str, base: str) -> dict[str, Any]:
    """The learning curve, rising by isotonic regression, and where the GAN's arm stands on it: in real images."""
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
    """Real images that reach this level; the curve's end where they do not, 0 where none are needed."""
    from sklearn.isotonic import IsotonicRegression

    rising = IsotonicRegression().fit_transform(x, y)
    if level <= rising[0] or not x[-1]:
        return 0.0
    if level >= rising[-1]:
        return float(x[-1])
    above = int(np.argmax(rising > level))
    return float(np.interp(level, rising[above - 1 : above + 1], x[above - 1 : above + 1]))


def _verdict(found: Difference, copying: Difference, exchange: dict[str, Any]) -> str:
    """It helps if it beats the best baseline, and as many real images once more in the generated ones' place."""
    said, against = (shown(difference).partition(": ")[2] for difference in (found, copying))
    if found.verdict is None:
        return f"no claim from {len(found.each)} replicates, {REPLICATES} are the least; {said}"
    if found.verdict != "helps":
        return f"{found.verdict}: {said}"
    if copying.verdict != "helps":
        return f"no evidence: {said}, but as many real images once more may do the same: {against} to them"
    beyond = "at least " if exchange["worth"] >= exchange["most"] else "about "
    return f"helps: {said}; worth {beyond}{exchange['worth']:.0f} more real images"


def _selection(made: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over replicates."""
    names = [row["class"] for row in made[0]["classes"]]
    return [
        {"class": name} | {key: float(np.mean([row[key] for row in mine])) for key in mine[0] if key != "class"}
        for name in names
        if (mine := [row for found in made for row in found["classes"] if row["class"] == name])
    ]


def _notes(
    settings: Settings,
    controls: list[Difference],
    made: list[dict[str, Any]],
    images: ImageSet,
) -> list[str]:
    notes = []
    by_name = {found.name: found for found in controls}
    if any(found.verdict == "helps" for name, found in by_name.items() if name.startswith("GAN, labels at random")):
        notes.append("Images with labels at random win, which they cannot: something is wrong with this study.")
    if settings.withhold:
        notes.append(f"The classifiers were shown no image of {settings.withhold}: a control that must help.")
    for label, name in enumerate(images.classes):
        if made[0]["known"][label] < FLOOR:
            notes.append(
                f"The class {name} got none: a replicate has {made[0]['known'][label]} of it, fewer than {FLOOR}."
            )
        elif times := sum(name in found["refused"] for found in made):
            notes.append(
                f"The class {name} got none in {times} of {len(made)} replicates: its images are too much alike."
            )
    if none := sum(not found["kept"] for found in made):
        notes.append(
            f"In {none} of {len(made)} replicates no generated image passed: there the GAN's arm is the baseline; a "
            "longer training may mend that, by --kimg."
        )
    notes.append(
        "Replicates draw from one training part and share one test part, so they overlap: the intervals hold for other "
        "draws from these images, and are somewhat too narrow for other images."
    )
    return notes
