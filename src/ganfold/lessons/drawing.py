"""Parts of figures that several lessons share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ganfold.images.grids import grid
from ganfold.lessons.experiment import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#2563eb", "#dc7b18", "#15976b", "#b0439c", "#6b7280", "#b91c1c")


def bars(axes: Axes, outcome: Outcome, name: str, title: str, variants: list[str] | None = None) -> None:
    """A bar for the mean of each variant, and a dot for each seed."""
    variants = variants or outcome.variants(name)
    places = np.arange(len(variants))
    axes.barh(places, [outcome.mean(variant, name) for variant in variants], color=COLOURS[0], alpha=0.45)
    for place, variant in zip(places, variants, strict=True):
        values = outcome.of(variant, name)
        axes.plot(values, [place] * len(values), "o", color=COLOURS[0], markersize=4)
    axes.set_yticks(places, variants)
    axes.invert_yaxis()
    axes.set_title(title, fontsize=10)
    clean(axes)


def clean(axes: Axes) -> None:
    """Take the upper and the right line off."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def pictures(axes: Axes, images: np.ndarray, title: str, columns: int = 4) -> None:
    """A grid of images uint8 (N, 1, H, W)."""
    show(axes, np.asarray(grid(images.transpose(0, 2, 3, 1), columns)), title, cmap="grey", vmin=0, vmax=255)


def show(axes: Axes, values: np.ndarray, title: str, **options: Any) -> None:
    """An array as an image without axes."""
    axes.imshow(values, interpolation="nearest", **options)
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()


def rolling(values: np.ndarray, width: int) -> np.ndarray:
    """The mean over a window, which starts at each place where it fits."""
    width = max(1, min(width, len(values)))
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    means: np.ndarray = (sums[width:] - sums[:-width]) / width
    return means
