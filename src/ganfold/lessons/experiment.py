"""What an experiment is: it measures rows, claims something about them, and draws one figure."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ganfold import device as devices
from ganfold.files import write_atomically, write_json
from ganfold.interface.result import Result, protocol_line, stamp, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 110


@dataclass(frozen=True)
class Row:
    """What one run measured."""

    variant: str  # what was changed
    values: dict[str, float | str]
    seed: int = 0


@dataclass(frozen=True)
class Claim:
    """Something that an experiment should show, and what this run says about it."""

    expected: str  # a sentence without numbers
    measured: str  # a sentence with this run's numbers
    holds: bool

    def line(self) -> str:
        """One line for a terminal."""
        if self.holds:
            return f"{self.expected} {self.measured}"
        return f"THIS DID NOT HAPPEN: {self.expected} {self.measured}"


@dataclass
class Outcome:
    """The rows of an experiment, and the arrays that its figure shows."""

    rows: list[Row] = field(default_factory=list)
    shown: dict[str, Any] = field(default_factory=dict)

    def add(self, variant: str, seed: int = 0, **values: float | str) -> None:
        """Keep what one run measured. In the names of values a space is written as `_`."""
        self.rows.append(Row(variant, {name.replace("_", " "): value for name, value in values.items()}, seed))

    def of(self, variant: str, name: str) -> list[float]:
        """A value of a variant, for each seed."""
        return [float(row.values[name]) for row in self.rows if row.variant == variant and name in row.values]

    def mean(self, variant: str, name: str) -> float:
        """The mean of a value over the seeds."""
        return statistics.mean(self.of(variant, name))

    def variants(self, name: str) -> list[str]:
        """The variants that have a value."""
        return list(dict.fromkeys(row.variant for row in self.rows if name in row.values))


class Bench:
    """Where an experiment runs: its share of the full budget, and its progress bar."""

    def __init__(self, share: float = 1.0, progress: bool = True) -> None:
        self.share = share
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not progress or not Console(stderr=True).is_terminal,
        )
        self._task = self._bar.add_task("", total=1.0)
        self._done, self._part = 0.0, 1.0

    @property
    def seeds(self) -> tuple[int, ...]:
        """One seed where the budget is far too small for a claim, otherwise two."""
        return (0, 1) if self.share >= 0.1 else (0,)

    def scaled(self, full: int, least: int = 2) -> int:
        """So much of a full number of steps or images."""
        return max(min(least, full), round(full * self.share))

    def each(self, parts: Iterable[Any], part_of_all: float = 1.0) -> Iterator[Any]:
        """Go through the parts of the work. The bar names each, and advances with `tick`."""
        parts = list(parts)
        begin = self._done
        for number, part in enumerate(parts):
            self._done, self._part = begin + part_of_all * number / len(parts), part_of_all / len(parts)
            self._bar.update(self._task, description=_name(part), completed=self._done)
            yield part
        self._done = begin + part_of_all

    def tick(self, share: float) -> None:
        """This share of the current part is done."""
        self._bar.update(self._task, completed=self._done + self._part * share)

    @contextmanager
    def running(self, seed: int = 0) -> Iterator[None]:
        """Show the bar. Random numbers of the caller stay as they are."""
        with self._bar, torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield


def _name(part: Any) -> str:
    return part[0] if isinstance(part, tuple) and len(part) == 1 else _with_seed(part)


def _with_seed(part: Any) -> str:
    return f"{part[0]}, seed {part[1]}" if isinstance(part, tuple) else str(part)


@dataclass(frozen=True)
class Experiment:
    """One lesson."""

    measure: Callable[[Bench], Outcome]
    claims: Callable[[Outcome], list[Claim]]
    draw: Callable[[Outcome, Figure], None]
    size: tuple[float, float] = (9.0, 3.2)  # of the figure, in inches


@dataclass(frozen=True, repr=False)
class Lesson(Result):
    """What a run of an experiment showed."""

    name: str
    question: str
    rows: list[Row]
    claims: list[Claim]
    figure: str  # the file
    protocol: dict[str, Any]

    @property
    def holds(self) -> bool:
        """Whether all that was expected happened."""
        return all(claim.holds for claim in self.claims)

    def lines(self) -> list[str]:
        """The question, the numbers, what they show, and where the figure is."""
        claims = [f"- {claim.line()}" for claim in self.claims]
        small = [f"This was {self.protocol['budget']:g} of the full budget, and the claims are for all of it."]
        return [
            self.question,
            "",
            *tables(self.rows),
            *claims,
            *(small if self.protocol["budget"] < 1 else []),
            "",
            f"Figure: {self.figure}",
            f"Page: docs/learn/{self.name}.md",
            protocol_line(self.protocol),
        ]

    def image_files(self) -> list[Path]:
        return [Path(self.figure)]


def tables(rows: list[Row]) -> list[str]:
    """The rows as tables, one for each set of values; a cell holds the values of all seeds."""
    groups: dict[tuple[str, ...], dict[str, list[Row]]] = {}
    for row in rows:
        groups.setdefault(tuple(row.values), {}).setdefault(row.variant, []).append(row)
    lines: list[str] = []
    for names, variants in groups.items():
        cells = [["", *names]]
        for variant, runs in variants.items():
            cells.append([variant, *(", ".join(_short(run.values[name]) for run in runs) for name in names)])
        lines += [*table(cells), ""]
    return lines


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def several(values: Iterable[float]) -> str:
    """The values of the seeds, for a sentence."""
    texts = [_short(value) for value in values]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def run(name: str, question: str, experiment: Experiment, share: float, out: Path, progress: bool) -> Lesson:
    """Run an experiment, and write NAME.png and NAME.json into a folder."""
    from matplotlib.figure import Figure

    begin, used = time.perf_counter(), time.process_time()
    bench = Bench(share, progress)
    with bench.running():
        outcome = experiment.measure(bench)
    protocol = {
        "budget": share,
        "seconds": round(time.perf_counter() - begin, 1),
        "CPU seconds": round(time.process_time() - used, 1),
        "threads": torch.get_num_threads(),
        "torch": devices.describe(torch.device("cpu"))["torch"],
        **stamp(),
    }
    figure = Figure(figsize=experiment.size, layout="constrained")
    experiment.draw(outcome, figure)
    path = out / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png", dpi=DPI))
    lesson = Lesson(name, question, outcome.rows, experiment.claims(outcome), str(path), protocol)
    write_json(out / f"{name}.json", lesson.to_dict())
    return lesson
