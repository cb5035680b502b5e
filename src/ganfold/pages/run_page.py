"""The page of a run: one HTML file with its verdict, images, curves, metrics, data and settings."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ganfold.errors import GanfoldError, printable
from ganfold.files import read_object, write_bytes
from ganfold.pages.plots import COLOURS, INK, STYLE, embedded, encoded, svg
from ganfold.runs.record import LOG, NEWEST, RunRecord, read_log
from ganfold.training.diagnosis import Diagnosis, diagnose

POINTS = 500  # most points of a curve

LogRow = dict[str, float]

PLOTS = [  # (title, prefix of the log's columns, whether it is logarithmic over a decade or more, how to read it)
    (
        "Distance from real images",
        "KID",
        True,
        "Quick KID of the averaged generator to held-out images, with its standard error: the lower the better. The "
        "best checkpoint is the lowest point. It sees fewer and smaller images than the KID of ganfold evaluate: do "
        "not compare the two.",
    ),
    (
        "What D believes",
        "D(",
        False,
        "D(x) is the mean probability that D gives real images, D(G(z)) what it gives generated ones before and after "
        "its own update. Near 0.5 each: D cannot tell them apart. D(x) near 1 and D(G(z)) near 0 for long: D wins, "
        "and G learns little.",
    ),
    (
        "Variety",
        "spread/",
        False,
        "How much a pixel varies over a batch of real and of generated images. Generated far below real for long: "
        "mode collapse.",
    ),
    (
        "D on images that it has not seen",
        "opinion/",
        False,
        "D's mean opinion of training images, held-out images and samples. Held-out images sinking from the training "
        "images towards the samples: D learns its images by heart.",
    ),
    (
        "Losses",
        "Loss_",
        False,
        "Each against the other's present skill: they tell of balance, not of quality.",
    ),
    (
        "Gradient norms",
        "grad_norm/",
        True,
        "Steady is good. A norm that climbs by orders of magnitude comes before a collapse; one that dies away "
        "starves its network.",
    ),
    ("Speed", "images/s", False, "Real images a second, reports, checkups and checkpoints included."),
]


def write_report(folder: Path) -> Path:
    """Write `report.html` into a run's folder.

    Metrics are those that `ganfold evaluate` and `ganfold copies` have left there. The page leaves out what the run
    does not have yet.

    Returns:
        Its path. The file holds everything that it shows.

    Raises:
        GanfoldError: the folder is not a run, one of its files is damaged, or the disk is full.
    """
    record = RunRecord.read(folder)
    names = ("state.json", "data.json", "evaluation.json", "copies.json")
    read: dict[str, Any] = {name: _optional(folder / name) for name in names}
    read[LOG] = read_log(folder / LOG)
    try:
        page = _page(folder, record, *read.values())
    except _faults() as error:
        culprit = _culprit(folder, record, read)
        raise GanfoldError(
            f"{culprit} is damaged ({type(error).__name__}: {error}): restore it from a copy, or delete it, and the "
            "report does without it"
        ) from error
    path = folder / "report.html"
    write_bytes(path, encoded(page))
    return path


def _faults() -> tuple[type[Exception], ...]:
    """What a file of a wrong content raises somewhere on the page."""
    from jinja2 import TemplateError

    return TemplateError, TypeError, KeyError, ValueError, AttributeError, IndexError, ArithmeticError


def _culprit(folder: Path, record: RunRecord, read: dict[str, Any]) -> Path:
    """The file without which there is a page."""
    for name, content in read.items():
        with suppress(*_faults()):
            _page(folder, record, *(read | {name: type(content)()}).values())
            return folder / name
    return folder


def _page(
    folder: Path,
    record: RunRecord,
    state: dict[str, Any],
    findings: dict[str, Any],
    evaluation: dict[str, Any],
    copies: dict[str, Any],
    rows: list[LogRow],
) -> str:
    from jinja2 import Environment, PackageLoader

    diagnoses = diagnose(rows, record, state)
    grids = [path for path in sorted((folder / "samples").glob("*.png")) if re.fullmatch(r"\d+\.\d+", path.stem)]
    newest = folder / NEWEST if (folder / NEWEST).exists() else grids[-1] if grids else None
    environment = Environment(
        loader=PackageLoader("ganfold", "pages"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page: str = environment.get_template("run.html.jinja").render(
        name=folder.resolve().name,
        record=record,
        findings=findings,
        summary=[
            _what_it_is(record, state),
            _how_good(state, evaluation),
            _how_healthy(rows, diagnoses, copies),
        ],
        diagnoses=diagnoses,
        has_log=bool(rows),
        evaluation=evaluation,
        metrics=[_metric(metric) for metric in evaluation.get("figures", [])],
        class_metrics=_class_table(evaluation),
        copies=copies,
        pairs=embedded(folder / "copies.png") if copies else None,
        newest=embedded(newest) if newest else None,
        newest_kimg=_kimg(newest) if newest else None,
        reals=embedded(folder / "samples" / "reals.png"),
        film=embedded(folder / "progress.webp"),
        earlier=[(_kimg(path), embedded(path)) for path in _spread([path for path in grids if path != newest], 4)],
        contact=embedded(folder / "contact.png"),
        curves=[
            (title, how, _curve(rows, names, log))
            for title, prefix, log, how in PLOTS
            if (names := _columns(rows, prefix))
        ],
        settings=_table(record.config) + _table(asdict(record.settings)),
        machine=_table(record.machine),
    )
    return page


def _optional(path: Path) -> dict[str, Any]:
    return read_object(path) if path.exists() else {}


def _columns(rows: list[LogRow], prefix: str) -> list[str]:
    """The columns to draw together: those with at least two values."""
    counts = Counter(name for row in rows for name in row if name.startswith(prefix) and name != "KID/error")
    return [name for name, count in counts.items() if count > 1]


def _what_it_is(record: RunRecord, state: dict[str, Any]) -> str:
    """What was trained, on which images, for how long."""
    data = record.data
    colour = {1: "grey ", 3: "colour ", 4: "transparent "}.get(data.channels, "")
    held = f" ({data.held_out:,} more were held out)" if data.held_out else ""
    end = {
        "done": "the budget is spent",
        "stopped": f"it was stopped by {state.get('why')}, and the same command goes on",
        "failed": f"it failed ({state.get('why')}), and the last good checkpoint is kept",
        "running": "it was still running when this was written",
    }.get(state.get("status", ""), "it has just begun")
    seen = f" for {state['images'] / 1000:,.1f} kimg in {state['minutes']:,.1f} minutes" if state else ""
    return (
        f"{record.gan} learnt from {data.images:,} {colour}images of {data.resolution} pixels out of "
        f"{data.source}{held}{seen}; {end}."
    )


def _how_good(state: dict[str, Any], evaluation: dict[str, Any]) -> str:
    """The verdict of the evaluation, or the best checkup while training."""
    if evaluation:
        return str(evaluation["notes"][0])
    if best := state.get("best"):
        return (
            f"The best checkpoint is that of {best['kimg']:g} kimg, with a quick KID of {best['KID']:.3g}. That is a "
            "light measure while training; ganfold evaluate has not measured this run yet."
        )
    return "How good the images are was not measured: ganfold evaluate does it."


def _how_healthy(rows: list[LogRow], diagnoses: list[Diagnosis], copies: dict[str, Any]) -> str:
    """The doctor's alarms, and whether the generator has copied."""
    alarms = [diagnosis.sentence for diagnosis in diagnoses if diagnosis.alarm]
    hints = [diagnosis.sentence for diagnosis in diagnoses if not diagnosis.alarm]
    if not rows and not alarms:
        health = "No report has been logged yet, so there are no curves"
    elif alarms:
        health = "The doctor says: " + "; ".join(alarms + hints)
    elif hints:
        health = "The doctor found nothing wrong with the training, and has a hint: " + "; ".join(hints)
    else:
        health = "The doctor found nothing wrong with the training"
    return health + (f"; {copies['verdict']}." if copies else ".")


def _metric(metric: dict[str, Any]) -> dict[str, str]:
    """One line of the table of metrics. An interval is two standard errors each way."""

    def shown(value: float, error: float | None) -> str:
        return f"{value:.4g}" + (f" ± {2 * error:.2g}" if error is not None else "")

    return {
        "name": metric["name"],
        "value": shown(metric["value"], metric["error"]),
        "floor": shown(metric["floor"], metric["floor_error"]),
        "better": metric["better"],
    }


def _class_table(evaluation: dict[str, Any]) -> dict[str, Any]:
    """The header and the rows of the metrics by class, each generated / real."""
    classes = evaluation.get("classes") or {}
    names = list(dict.fromkeys(metric["name"] for metrics in classes.values() for metric in metrics))
    rows = []
    for class_name, metrics in classes.items():
        shown = {metric["name"]: f"{metric['value']:.3g} / {metric['floor']:.3g}" for metric in metrics}
        rows.append([class_name, *(shown.get(name, "") for name in names)])
    return {"names": names, "rows": rows}


def _kimg(path: Path) -> str:
    """How far training was at a grid, as its name says, or its text where it is the newest."""
    if path.name == NEWEST:
        with Image.open(path) as image:
            kimg = float(image.info["kimg"])
    else:
        kimg = float(path.stem)
    return f"{kimg:,.0f}" if kimg >= 10 else f"{kimg:g}"


def _spread(paths: list[Path], count: int) -> list[Path]:
    """A few of the paths. Early ones are denser, because most changes early."""
    if len(paths) <= count:
        return paths
    places = np.geomspace(1, len(paths), count).round().astype(int) - 1
    return [paths[place] for place in sorted(set(places.tolist()))]


def _curve(rows: list[LogRow], names: list[str], log: bool) -> str:
    """A plot as inline SVG. A curve has at most `POINTS` points, each the mean of neighbouring rows."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(4.6, 2.8), layout="constrained")
        axes = figure.add_subplot()
        for name, colour in zip(names, COLOURS, strict=False):
            shown = [row for row in rows if name in row]
            x, y = _means([row["kimg"] for row in shown]), _means([row[name] for row in shown])
            axes.plot(x, y, color=colour, linewidth=1.3, label=printable(name))
            if name == "KID":
                axes.errorbar(x, y, [row["KID/error"] for row in shown], color=colour, linewidth=1, capsize=2)
        if log and _spans_a_decade(axes.get_lines()):
            axes.set_yscale("log")
        if all(name.startswith("D(") for name in names):
            axes.set_ylim(0, 1)
            axes.axhline(0.5, color=INK, linewidth=0.7, linestyle=":")
        axes.set_xlabel("kimg (thousand real images seen)", color=INK)
        axes.tick_params(colors=INK, which="both")
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(INK)
        if len(names) > 1:
            axes.legend(frameon=False, labelcolor=INK, loc="best")
        return svg(figure)


def _spans_a_decade(lines: Iterable[Any]) -> bool:
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in lines])
    return bool(values.min() > 0 and values.max() > 10 * values.min())


def _means(values: Iterable[float]) -> list[float]:
    numbers = np.array(list(values), float)
    return [part.mean() for part in np.array_split(numbers, min(POINTS, len(numbers)))]


def _table(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, _shown(value)) for name, value in values.items() if value is not None]


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:g}"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
