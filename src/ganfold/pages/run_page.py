"""`ganfold report`: one HTML file that shows a run, and opens with no network."""

from __future__ import annotations

import base64
import io
import json
import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ganfold.files import read_json, read_run, write_bytes
from ganfold.training.diagnosis import Diagnosis, diagnose

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 500  # of a curve
COLOURS = ["#2563eb", "#dc7b18", "#15976b", "#b0439c", "#6b7280", "#b91c1c"]
INK = "#7a7f87"  # legible on white and on near-black

PLOTS = [  # (title, how the log's columns for it begin, logarithmic where it spans a decade, how to read it)
    (
        "Distance from real images",
        "KID",
        True,
        "KID of the averaged generator to held-out images, with its standard error: the lower the better. The best "
        "checkpoint is the lowest point. It is measured more lightly than by ganfold evaluate, so the two are not "
        "to be compared.",
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


def report(run: str | Path) -> Path:
    """Write `report.html` into a run's folder: verdict, pictures, the doctor's findings, figures, copies, curves,
    data, settings, how to repeat it. Figures are those that `ganfold evaluate` and `ganfold copies` have left there.

    Returns:
        Its path. The file holds everything that it shows; what the run does not have yet is left out.

    Raises:
        GanfoldError: the folder is not a run, one of its files is damaged, or the disk is full.
    """
    from jinja2 import Environment, PackageLoader

    folder = Path(run)
    config = read_run(folder)
    state, found = _optional(folder / "state.json"), _optional(folder / "data.json")
    rows = _log(folder / "log.jsonl")
    evaluation, copies = (_optional(folder / f"{name}.json") for name in ("evaluation", "copies"))
    found_wrong = diagnose(rows, config, state)
    grids = [path for path in sorted((folder / "samples").glob("*.png")) if path.stem != "reals"]
    environment = Environment(
        loader=PackageLoader("ganfold", "pages"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("run.html.jinja").render(
        name=folder.resolve().name,
        config=config,
        found=found,
        summary=_summary(config, state, rows, evaluation, copies, found_wrong),
        diagnoses=found_wrong,
        looked=bool(rows),
        evaluation=evaluation,
        figures=[_figure(figure) for figure in evaluation.get("figures", [])],
        class_figures=_class_table(evaluation),
        copies=copies,
        pairs=embedded(folder / "copies.png") if copies else None,
        newest=embedded(grids[-1]) if grids else None,
        newest_kimg=_kimg(grids[-1]) if grids else None,
        reals=embedded(folder / "samples" / "reals.png"),
        film=embedded(folder / "progress.webp"),
        earlier=[(_kimg(path), embedded(path)) for path in _spread(grids[:-1], 4)],
        contact=embedded(folder / "contact.png"),
        curves=[
            (title, how, _curve(rows, names, log))
            for title, prefix, log, how in PLOTS
            if (names := _columns(rows, prefix))
        ],
        settings=_table(config.get("config", {})) + _table(config.get("settings", {})),
        machine=_table(config.get("machine", {})),
    )
    path = folder / "report.html"
    write_bytes(path, page.encode())
    return path


def _log(path: Path) -> list[dict[str, float]]:
    """The log's rows; a last line that a running training has half written is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.exists() else {}


def _columns(rows: list[dict[str, float]], prefix: str) -> list[str]:
    """The columns to draw together: those with two values at least."""
    counts = Counter(name for row in rows for name in row if name.startswith(prefix) and name != "KID/error")
    return [name for name, count in counts.items() if count > 1]


def _summary(
    config: dict[str, Any],
    state: dict[str, Any],
    rows: list[dict[str, float]],
    evaluation: dict[str, Any],
    copies: dict[str, Any],
    found: list[Diagnosis],
) -> list[str]:
    """The verdict: what was trained, how good it is, what is wrong with it."""
    data = config["data"]
    kind = {1: "grey ", 3: "colour ", 4: "transparent "}.get(data["channels"], "")
    held = f" ({data['held_out']:,} more were held out)" if data["held_out"] else ""
    end = {
        "done": "the budget is spent",
        "stopped": f"it was stopped by {state.get('why')}, and the same command goes on",
        "failed": f"it failed ({state.get('why')}), and the last good checkpoint is kept",
        "running": "it was still running when this was written",
    }.get(state.get("status", ""), "it has just begun")
    seen = f" for {state['images'] / 1000:,.1f} kimg in {state['minutes']:,.1f} minutes" if state else ""
    sentences = [
        f"{config['gan']} learnt from {data['images']:,} {kind}images of {data['resolution']} pixels out of "
        f"{data['source']}{held}{seen}; {end}."
    ]
    best = state.get("best")
    if evaluation:
        sentences.append(evaluation["notes"][0])
    elif best:
        sentences.append(
            f"The best checkpoint is that of {best['kimg']:g} kimg, with a KID of {best['KID']:.3g} to held-out images "
            "in the quick look while training; ganfold evaluate has not looked closely yet."
        )
    else:
        sentences.append("How good the images are was not measured: ganfold evaluate does it.")
    alarms = [diagnosis.sentence for diagnosis in found if diagnosis.alarm]
    if not rows:
        health = "No report has been logged yet, so there are no curves"
    elif alarms:
        health = "The doctor says: " + "; ".join(alarms)
    else:
        health = "The doctor found nothing wrong with the training"
    sentences.append(health + (f"; {copies['verdict']}." if copies else "."))
    return sentences


def _figure(figure: dict[str, Any]) -> dict[str, str]:
    """One line of the table of figures; an interval is two standard errors each way."""

    def shown(value: float, error: float | None) -> str:
        return f"{value:.4g}" + (f" ± {2 * error:.2g}" if error is not None else "")

    return {
        "name": figure["name"],
        "value": shown(figure["value"], figure["error"]),
        "floor": shown(figure["floor"], figure["floor_error"]),
        "better": figure["better"],
    }


def _class_table(evaluation: dict[str, Any]) -> dict[str, Any]:
    """Header and rows of the figures by class, each generated / real."""
    classes = evaluation.get("classes") or {}
    names = list(dict.fromkeys(figure["name"] for figures in classes.values() for figure in figures))
    rows = []
    for name, figures in classes.items():
        found = {figure["name"]: f"{figure['value']:.3g} / {figure['floor']:.3g}" for figure in figures}
        rows.append([name, *(found.get(n, "") for n in names)])
    return {"names": names, "rows": rows}


def _kimg(path: Path) -> str:
    kimg = float(path.stem)
    return f"{kimg:,.0f}" if kimg >= 10 else f"{kimg:g}"


def _spread(paths: list[Path], count: int) -> list[Path]:
    """A few of them, early ones denser, since that is when most changes."""
    if len(paths) <= count:
        return paths
    places = np.geomspace(1, len(paths), count).round().astype(int) - 1
    return [paths[place] for place in sorted(set(places.tolist()))]


def embedded(path: Path) -> str | None:
    """A picture as a data URI: PNG as lossless WebP where that is smaller; None where there is no such file."""
    if not path.exists():
        return None
    content, kind = path.read_bytes(), path.suffix[1:]
    if kind == "png":
        with Image.open(path) as picture:
            smaller = io.BytesIO()
            picture.save(smaller, "WEBP", lossless=True)
        if smaller.tell() < len(content):
            content, kind = smaller.getvalue(), "webp"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _curve(rows: list[dict[str, float]], names: list[str], log: bool) -> str:
    """A plot as inline SVG, of at most `POINTS` means of neighbouring rows a curve."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "ganfold", "font.family": "sans-serif", "font.size": 10}):
        figure = Figure(figsize=(4.6, 2.8), layout="constrained")
        axes = figure.add_subplot()
        for name, colour in zip(names, COLOURS, strict=False):
            shown = [row for row in rows if name in row]
            x, y = _means([row["kimg"] for row in shown]), _means([row[name] for row in shown])
            axes.plot(x, y, color=colour, linewidth=1.3, label=name)
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


def svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _table(values: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, _shown(value)) for name, value in values.items() if value is not None]


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:g}"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
