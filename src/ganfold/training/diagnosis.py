"""The training doctor: what is wrong with a run, each with its evidence and the one thing to change.

`diagnose` depends on the log, the record and the state alone. A run that was stopped and resumed therefore gets the
same diagnoses. The signs come from the literature where it has them: Karras et al. 2020, arXiv:2006.06676, sec. 3, for
an overfitting D; Karras et al. 2018, arXiv:1710.10196, app. A.2, for collapse. The limits were set on planted failures
and healthy runs: docs/guide/the-doctor.md has the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median
from typing import Any

from ganfold.runs.record import RunRecord

Row = dict[str, float]

SETTLED_KIMG = 10.0  # before that even a healthy G makes one grey image
RECENT = 0.25  # the share of newest rows that a diagnosis looks at
MOVE = 0.01  # share of the weights' length that one update moves; 0.002 to 0.006 is usual with Adam
STILL = 1e-6  # below this share the weights do not move at all
SPREAD = 0.2  # share of the real images' deviation over a batch
MISSING = 0.2  # share of the coverage of all classes together
OVERFIT = 0.2  # share of the way from D's opinion of training images to its opinion of samples
NEARER = 0.7  # share of the distance from held-out to training images
TOLD_APART = 0.02  # difference of two probabilities
STARVED = 0.005  # D(G(z)): G's images are hopeless
LOST = 0.5  # share of the gain in KID, lost at two checkups in a row


@dataclass(frozen=True)
class Diagnosis:
    """One thing that the doctor found."""

    name: str
    alarm: bool  # False: a hint, nothing is wrong
    sentence: str  # what is wrong
    evidence: str  # the numbers that show it
    remedy: str  # the one thing to change

    def __str__(self) -> str:
        return f"{self.sentence} ({self.evidence}). {self.remedy}"


def diagnose(rows: list[Row], record: RunRecord, state: dict[str, Any]) -> list[Diagnosis]:
    """The diagnoses of a run, the worst first; none for a healthy run that is under way.

    Args:
        rows: the rows of `log.jsonl`, reports and checkups alike.
        record, state: the run's `config.json` and `state.json`.
    """
    log = _Log(rows, [row for row in rows if "KID" in row], record, state)
    return [diagnosis for check in (CHECKS if rows else [_not_begun]) if (diagnosis := check(log))]


@dataclass(frozen=True)
class _Log:
    """The log, as the checks read it."""

    rows: list[Row]
    checkups: list[Row]
    record: RunRecord
    state: dict[str, Any]

    @property
    def kimg(self) -> float:
        return self.rows[-1]["kimg"]

    def recent(self, name: str, share: float = RECENT) -> list[float]:
        """The newest values of a column, all from after `SETTLED_KIMG`."""
        values = [row[name] for row in self.rows if name in row and row["kimg"] >= SETTLED_KIMG]
        return values[-max(2, round(share * len(values))) :]

    def has(self, option: str) -> bool:
        return option in self.record.config


def _non_finite(log: _Log) -> Diagnosis | None:
    if log.state.get("status") != "failed":
        return None
    return Diagnosis(
        "diverged",
        True,
        "Training diverged and stopped",
        log.state["why"],
        "Begin anew with a lower --lr; the best and the last good checkpoint are kept.",
    )


def _rescued(log: _Log) -> Diagnosis | None:
    rescues = log.state.get("rescues", [])
    if not rescues:
        return None
    last = rescues[-1]
    return Diagnosis(
        "rescued",
        True,
        f"Training diverged {len(rescues)} time{'s' * (len(rescues) > 1)} and went on from an earlier checkpoint with "
        "half the learning rate each time",
        f"last at {last['at']:g} kimg, back to {last['to']:g}: {last['why']}",
        f"For the next run set --lr to {0.5 ** len(rescues):g} of what it was.",
    )


def _not_begun(log: _Log) -> Diagnosis | None:
    """A phase that begins later than training ended, such as that of D after a beginning without it."""
    waiting = log.state.get("not begun", [])
    if log.state.get("status") != "done" or not waiting:
        return None
    kimg, begins = log.state["images"] / 1000, min(phase["at"] for phase in waiting)
    names, several = " and ".join(phase["phase"] for phase in waiting), len(waiting) > 1
    sooner = "".join(
        f"; or begin anew with --{option.replace('_', '-')} {kimg / 2:.2g} and --restart"
        for option in dict.fromkeys(phase["option"] for phase in waiting if phase["option"])
    )
    return Diagnosis(
        "phase not begun",
        True,
        f"Training ended before its phase{'s' * several} {names} began",
        f"{'they begin' if several else 'it begins'} at {begins:g} kimg, and training ended at {kimg:.3g}",
        f"Give the same command with a larger --kimg or --minutes{sooner}.",
    )


def _rate(log: _Log) -> Diagnosis | None:
    """An update that changes over one percent of a network's weights forgets as fast as it learns.

    A GAN with the option `lr_end` begins at a high rate on purpose, and is left out.
    """
    if log.has("lr_end"):
        return None
    too_fast = {}
    for name in ("G", "D"):
        moves = [row[f"move/{name}"] for row in log.rows if f"move/{name}" in row]
        if len(moves) >= 2 and (middle := median(moves)) > MOVE:
            too_fast[name] = middle
    if not too_fast:
        return None
    return Diagnosis(
        "learning rate",
        True,
        "The learning rate is far too high",
        " and ".join(f"one update moves the weights of {n} by {m:.1%} of their length" for n, m in too_fast.items())
        + "; 0.1 to 0.6 % is usual",
        f"Divide --lr by {_round(max(too_fast.values()) / (MOVE / 3))}.",
    )


def _collapse(log: _Log) -> Diagnosis | None:
    shares = [
        fake / real for fake, real in zip(log.recent("spread/fake"), log.recent("spread/real"), strict=True) if real > 0
    ]
    if shares and max(shares) < SPREAD:
        return Diagnosis(
            "mode collapse",
            True,
            "Mode collapse: the generated images hardly differ from each other",
            f"the pixels of a batch of them vary by {fmean(shares):.0%} of what the real ones do",
            "Go back to the best checkpoint, and begin anew with half the --lr.",
        )
    repeats = log.recent("repeats")
    if repeats and min(repeats) > 0.5 and repeats[-1] > 0.9 * repeats[0]:  # and does not improve
        return Diagnosis(
            "mode collapse",
            True,
            "Mode collapse: the same few images are generated over and over",
            f"{repeats[-1]:.0%} of the samples are nearer to another sample than nearly all real images are to each "
            "other",
            "Go back to the best checkpoint, and begin anew with half the --lr.",
        )
    return None


def _class_missing(log: _Log) -> Diagnosis | None:
    rows = [row for row in log.checkups[-2:] if "worst class" in row and row["coverage"] >= 0.3]
    if len(rows) < 2 or any(row["coverage/worst class"] > MISSING * row["coverage"] for row in rows):
        return None
    name = log.record.data.classes[int(rows[-1]["worst class"])]
    return Diagnosis(
        "class missing",
        True,
        f"Mode collapse in one class: {name} is hardly generated",
        f"{rows[-1]['coverage/worst class']:.0%} of its real images are covered, {rows[-1]['coverage']:.0%} of all",
        "More images of that class are the cure.",
    )


def _d_wins(log: _Log) -> Diagnosis | None:
    reals, fakes = log.recent("D(x)"), log.recent("D(G(z)) after")
    if not reals or not fakes or min(reals) < 0.95 or max(fakes) > STARVED:
        return None
    return Diagnosis(
        "D wins",
        True,
        "D wins: it tells real from generated without fail, so G learns little",
        f"D(x) {fmean(reals):.3f}, D(G(z)) {fmean(fakes):.4f}",
        _weaken_d(log),
    )


def _g_wins(log: _Log) -> Diagnosis | None:
    reals, fakes = log.recent("D(x)", 0.5), log.recent("D(G(z)) before", 0.5)
    moves = log.recent("move/D")
    if moves and max(moves) < STILL:
        return Diagnosis(
            "G wins",
            True,
            "D does not learn, so G has nothing to learn from",
            f"D's weights have not moved by more than {max(moves):.2g} of their length an update",
            "Raise D's learning rate.",
        )
    if not reals or not fakes or not _far(log) or fmean(reals) - fmean(fakes) > TOLD_APART:
        return None
    return Diagnosis(
        "G wins",
        True,
        "G wins: D no longer tells generated images from real ones, although they are far from real",
        f"D(x) {fmean(reals):.3f}, D(G(z)) {fmean(fakes):.3f}, quick KID {log.checkups[-1]['KID']:.3g}",
        "Make D stronger: a larger --width, or a higher learning rate for D.",
    )


def _overfits(log: _Log) -> Diagnosis | None:
    """The r_v of Karras 2020, eq. 1."""
    shares = []
    for row in log.checkups[-2:]:
        if "opinion/held-out" in row:
            train, unseen, fake = (row[f"opinion/{name}"] for name in ("train", "held-out", "fake"))
            shares.append((train - unseen) / max(train - fake, 1e-9) if train > fake else 0.0)
    if len(shares) < 2 or min(shares) < OVERFIT:
        return None
    return Diagnosis(
        "D overfits",
        True,
        "D overfits: it knows its training images by heart and takes real images that it has not seen for generated",
        f"its opinion of held-out images is {shares[-1]:.0%} of the way from training images to generated ones",
        _more_data(log),
    )


def _memorises(log: _Log) -> Diagnosis | None:
    shares = [row["nearest/fake"] / row["nearest/held-out"] for row in log.checkups[-2:] if row.get("nearest/held-out")]
    if len(shares) < 2 or max(shares) > NEARER:
        return None
    return Diagnosis(
        "memorisation",
        True,
        "G copies: its images lie closer to the training images than real images that it has not seen do",
        f"at {shares[-1]:.0%} of their distance; ganfold copies shows the pairs",
        _more_data(log),
    )


def _leaks(log: _Log) -> Diagnosis | None:
    rows = [row for row in log.checkups[-2:] if "augmented/fake" in row]
    if len(rows) < 2 or any(row["augmented/fake"] < row["augmented/real changed"] for row in rows):
        return None
    fake, changed, real = (rows[-1][f"augmented/{name}"] for name in ("fake", "real changed", "real"))
    return Diagnosis(
        "augmentation leaks",
        True,
        "The augmentation leaks: the samples look like augmented images",
        f"a classifier takes {fake:.0%} of them for augmented, {changed:.0%} of real images that are, and {real:.0%} "
        "of real images that are not",
        "Lower --augment to 0.5 or less.",
    )


def _lost(log: _Log) -> Diagnosis | None:
    """Two checkups in a row have lost most of the gain."""
    if not lost_its_gain(log.rows):
        return None
    best = min(log.checkups, key=lambda row: row["KID"])
    return Diagnosis(
        "diverges",
        True,
        "Training gets worse",
        f"the quick KID was {best['KID']:.3g} at {best['kimg']:g} kimg and is {log.checkups[-1]['KID']:.3g} now",
        "The best checkpoint is kept and used; begin anew with half the --lr to get further.",
    )


def _oscillates(log: _Log) -> Diagnosis | None:
    values = [row["KID"] for row in log.checkups][-6:]
    if len(values) < 6:
        return None
    steps = [after - before for before, after in pairwise(values)]
    turns = sum(before * after < 0 for before, after in pairwise(steps))
    swing = fmean(map(abs, steps)) / fmean(values)
    if turns < 4 or swing < 0.3:
        return None
    return Diagnosis(
        "oscillation",
        True,
        "Training swings instead of settling",
        f"the quick KID went up and down by {swing:.0%} of itself over the last {len(values)} checkups",
        "Begin anew with half the --lr, or average longer by --ema-kimg.",
    )


def _improving(log: _Log) -> Diagnosis | None:
    values = [row["KID"] for row in log.checkups]
    if log.state.get("status") != "done" or len(values) < 4:
        return None
    best = min(values)
    gain = 1 - best / min(values[:-2]) if min(values[:-2]) > 0 else 0.0
    if gain < 0.05 or values[-1] > best + 2 * log.checkups[-1].get("KID/error", 0.0):  # it has got worse since
        return None
    return Diagnosis(
        "unfinished",
        False,
        "The budget was spent while the images were still getting better",
        f"the last two checkups lowered the best quick KID by {gain:.0%}",
        "Give the same command with a larger --kimg or --minutes: it goes on where it stopped.",
    )


def _wasted(log: _Log) -> Diagnosis | None:
    values = [row["KID"] for row in log.checkups]
    if log.state.get("status") != "done" or len(values) < 6:
        return None
    best = values.index(min(values))
    if best >= len(values) / 2 or min(values) > 0.5 * values[0]:  # early KID goes up and down
        return None
    return Diagnosis(
        "no gain",
        False,
        "Much of the budget brought nothing",
        f"no checkup after {log.checkups[best]['kimg']:g} of {log.kimg:g} kimg was better",
        "The best checkpoint is kept and used; a shorter run would have done.",
    )


CHECKS: list[Callable[[_Log], Diagnosis | None]] = [
    _non_finite,
    _not_begun,
    _rescued,
    _rate,
    _collapse,
    _class_missing,
    _g_wins,
    _d_wins,
    _overfits,
    _memorises,
    _leaks,
    _lost,
    _oscillates,
    _improving,
    _wasted,
]


def lost_its_gain(rows: list[Row]) -> bool:
    """Whether the last two checkups lost over half of the gain from the first checkup to the best."""
    values = [row["KID"] for row in rows if "KID" in row]
    if len(values) < 4:
        return False
    best = min(values)
    return min(values[-2:]) > max(2 * best, best + LOST * (values[0] - best))


def _far(log: _Log) -> bool:
    """Whether the last checkup found images that are clearly not real."""
    return bool(log.checkups) and log.checkups[-1]["coverage"] < 0.3


def _weaken_d(log: _Log) -> str:
    if log.has("label_smoothing") and not log.record.option("label_smoothing"):
        return "Make it harder for D: --label-smoothing 0.1 --input-noise 0.1."
    return "Lower D's learning rate."


def _more_data(log: _Log) -> str:
    if log.has("augment") and log.record.option("augment") < 0.5:
        return "Give --augment 0.5, so that D cannot know them by heart."
    return "More images are the cure; until then use the best checkpoint, not the last."


def _round(number: float) -> str:
    return f"{float(f'{number:.1g}'):g}"
