"""The report of a study: one HTML file with every replicate's point, the intervals, and what was selected."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ganfold.files import read_json, write_bytes
from ganfold.pages.run_page import COLOURS, INK, embedded, svg
from ganfold.studies.conclusions import Row, Study
from ganfold.studies.statistics import Difference

ARMS = {  # what the page says of each
    "real": "the real images as they are",
    "classical": "shifted, recoloured, and mirrored where that is valid",
    "randaugment": "shifted, mirrored where that is valid, and RandAugment",
    "oversampling": "the same, and classes drawn equally often",
    "logit adjustment": "augmented, and logits adjusted for the classes' frequencies",
    "GAN": "the best of the above, with generated images that passed the selection",
    "real copies": "control: as many real images once more in their place",
    "GAN, not selected": "control: as many generated images as they come",
    "GAN, labels at random": "control: the selected images, each given any class; it must not win",
}
MORE = "the best baseline with new real images, so many for each generated one, as far as there are any"


def write_report(folder: Path, found: Study) -> Path:
    """Write `report.html` into a study's folder."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("ganfold", "pages"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    settings = read_json(folder / "settings.json")
    page = environment.get_template("study.html.jinja").render(
        name=folder.resolve().name,
        found=found,
        points=[(name, _points([row for row in found.rows if row.classifier == name])) for name in found.verdicts],
        differences=_differences([*found.primary, *found.controls]),
        curves=[(name, _curve(exchange, _arm(found, name, "GAN"))) for name, exchange in found.exchange.items()],
        arms=[(arm, ARMS.get(arm, MORE)) for arm in _names(found)],
        selected=embedded(folder / "selected.png"),
        rejected=embedded(folder / "rejected.png"),
        settings=[(key, value) for key, value in settings.items() if value not in (None, [], {}, "")],
    )
    path = folder / "report.html"
    write_bytes(path, page.encode())
    return path


def _names(found: Study) -> list[str]:
    return list(dict.fromkeys(row.arm for row in found.rows))


def _arm(found: Study, classifier: str, arm: str) -> Row:
    return next(row for row in found.rows if (row.classifier, row.arm) == (classifier, arm))


def _points(rows: list[Row]) -> str:
    """Each arm a line: every replicate, its mean and interval; the replicates' order is their height."""

    def draw(axes: Any) -> None:
        for place, row in enumerate(reversed(rows)):
            heights = place + np.linspace(-0.25, 0.25, len(row.each)) if len(row.each) > 1 else [place]
            axes.plot(100 * np.array(row.each), heights, ".", color=COLOURS[0], alpha=0.55, markersize=5)
            _bar(axes, row.accuracy, row.low, row.high, place)
        axes.set_yticks(range(len(rows)), [row.arm for row in reversed(rows)])
        axes.set_xlabel("balanced accuracy on the test part, %", color=INK)

    return _drawn(draw, 0.9 + 0.36 * len(rows))


def _differences(found: list[Difference]) -> str:
    def draw(axes: Any) -> None:
        axes.axvline(0, color=INK, linewidth=0.8, linestyle=":")
        for place, difference in enumerate(reversed(found)):
            each = difference.each
            heights = place + np.linspace(-0.2, 0.2, len(each)) if len(each) > 1 else [place]
            axes.plot(100 * np.array(each), heights, ".", color=COLOURS[1], alpha=0.6, markersize=5)
            _bar(axes, difference.mean, difference.low, difference.high, place)
        axes.set_yticks(range(len(found)), [difference.name for difference in reversed(found)])
        axes.set_xlabel("difference in points, paired", color=INK)

    return _drawn(draw, 0.9 + 0.42 * len(found))


def _curve(exchange: dict[str, Any], gan: Row) -> str:
    def draw(axes: Any) -> None:
        axes.plot(exchange["added"], 100 * np.array(exchange["accuracy"]), "o-", color=COLOURS[0], label="more reals")
        level = 100 * gan.accuracy
        axes.axhline(level, color=COLOURS[1], label=f"{exchange['generated']:.0f} generated images")
        axes.set_xlabel("new real images added", color=INK)
        axes.set_ylabel("balanced accuracy, %", color=INK)
        axes.legend(frameon=False, labelcolor=INK)

    return _drawn(draw, 2.8)


def _bar(axes: Any, mean: float, low: float, high: float, place: float) -> None:
    if np.isfinite([low, high]).all():
        axes.plot([100 * low, 100 * high], [place, place], color=INK, linewidth=2, solid_capstyle="butt")
    axes.plot([100 * mean], [place], "D", color=INK, markersize=5)


def _drawn(draw: Callable[[Any], None], height: float) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "ganfold", "font.family": "sans-serif", "font.size": 10}):
        figure = Figure(figsize=(7.4, height), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.tick_params(colors=INK, which="both")
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(INK)
        return svg(figure)
