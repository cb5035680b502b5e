"""The report of a study: one HTML file with the score of each replicate, the intervals, and the selected images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ganfold.errors import printable
from ganfold.files import read_json, write_bytes
from ganfold.pages.plots import COLOURS, INK, STYLE, embedded, encoded, svg
from ganfold.studies.conclusions import ArmRow, Study
from ganfold.studies.statistics import Difference

ARMS = {  # what the classifier is trained on
    "real": "the real images as they are",
    "classical": "real images, shifted, recoloured, and mirrored where that is valid",
    "randaugment": "real images, shifted, mirrored where that is valid, and changed by RandAugment",
    "oversampling": "augmented as above, with classes drawn equally often",
    "logit adjustment": "augmented as above, with logits adjusted for the frequencies of the classes",
    "GAN": "the best of the above, and generated images that passed the selection",
    "real copies": "control: as many copies of real images instead",
    "GAN, not selected": "control: as many generated images without selection",
    "GAN, labels at random": "control: the selected images with labels at random; it must not win",
}
MORE = "the best baseline, and new real images: this share of the generated images' number, or all that are left"


def write_report(folder: Path, study: Study) -> Path:
    """Write `report.html` into the folder of a study.

    Returns:
        Its path.
    """
    from jinja2 import Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("ganfold", "pages"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    settings = read_json(folder / "settings.json")
    page = environment.get_template("study.html.jinja").render(
        name=folder.resolve().name,
        study=study,
        points=[(name, _points([row for row in study.rows if row.classifier == name])) for name in study.verdicts],
        differences=_differences([*study.primary, *study.controls]),
        curves=[(name, _curve(exchange, _arm(study, name, "GAN"))) for name, exchange in study.exchange.items()],
        arms=[(arm, ARMS.get(arm, MORE)) for arm in _names(study)],
        selected=embedded(folder / "selected.png"),
        rejected=embedded(folder / "rejected.png"),
        settings=[(key, value) for key, value in settings.items() if value not in (None, [], {}, "")],
    )
    path = folder / "report.html"
    write_bytes(path, encoded(page))
    return path


def _names(study: Study) -> list[str]:
    return list(dict.fromkeys(row.arm for row in study.rows))


def _arm(study: Study, classifier: str, arm: str) -> ArmRow:
    return next(row for row in study.rows if (row.classifier, row.arm) == (classifier, arm))


def _points(rows: list[ArmRow]) -> str:
    """A line for each arm: its replicates, one above the other in their order, with mean and interval."""

    def draw(axes: Any) -> None:
        for height, row in enumerate(reversed(rows)):
            heights = height + np.linspace(-0.25, 0.25, len(row.each)) if len(row.each) > 1 else [height]
            axes.plot(100 * np.array(row.each), heights, ".", color=COLOURS[0], alpha=0.55, markersize=5)
            _bar(axes, row.accuracy, row.low, row.high, height)
        axes.set_yticks(range(len(rows)), [printable(row.arm) for row in reversed(rows)])
        axes.set_xlabel("balanced accuracy on the test part, %", color=INK)

    return _drawn(draw, 0.9 + 0.36 * len(rows))


def _differences(differences: list[Difference]) -> str:
    """A line for each difference: its replicates, with mean and interval."""

    def draw(axes: Any) -> None:
        axes.axvline(0, color=INK, linewidth=0.8, linestyle=":")
        for height, difference in enumerate(reversed(differences)):
            each = difference.each
            heights = height + np.linspace(-0.2, 0.2, len(each)) if len(each) > 1 else [height]
            axes.plot(100 * np.array(each), heights, ".", color=COLOURS[1], alpha=0.6, markersize=5)
            _bar(axes, difference.mean, difference.low, difference.high, height)
        axes.set_yticks(range(len(differences)), [printable(each.name) for each in reversed(differences)])
        axes.set_xlabel("difference in points, paired", color=INK)

    return _drawn(draw, 0.9 + 0.42 * len(differences))


def _curve(exchange: dict[str, Any], gan: ArmRow) -> str:
    """The learning curve of more real images, and the level of the GAN's arm."""

    def draw(axes: Any) -> None:
        axes.plot(exchange["added"], 100 * np.array(exchange["accuracy"]), "o-", color=COLOURS[0], label="more reals")
        level = 100 * gan.accuracy
        axes.axhline(level, color=COLOURS[1], label=f"{exchange['generated']:.0f} generated images")
        axes.set_xlabel("new real images added", color=INK)
        axes.set_ylabel("balanced accuracy, %", color=INK)
        axes.legend(frameon=False, labelcolor=INK)

    return _drawn(draw, 2.8)


def _bar(axes: Any, mean: float, low: float, high: float, y: float) -> None:
    """A mean and its interval at this height."""
    if np.isfinite([low, high]).all():
        axes.plot([100 * low, 100 * high], [y, y], color=INK, linewidth=2, solid_capstyle="butt")
    axes.plot([100 * mean], [y], "D", color=INK, markersize=5)


def _drawn(draw: Callable[[Any], None], height: float) -> str:
    """A plot of this height in inches, as SVG."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(7.4, height), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.tick_params(colors=INK, which="both")
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(INK)
        return svg(figure)
