"""docs/learn/first-weights.md: how far apart the first weights should lie."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ganfold.lessons.drawing import COLOURS, bars, clean, pictures
from ganfold.lessons.experiment import Bench, Claim, Experiment, Outcome
from ganfold.lessons.plain import Change, compare, convolutional, kids, samples

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SMALL, PAPER, LARGE, UNIFORM = "N(0, 0.002)", "N(0, 0.02), the paper", "N(0, 0.2)", "uniform, deviation 0.02"
LAYERS = "deviation after layer "


def drawn(deviation: float, uniform: bool, G: nn.Module, D: nn.Module) -> None:
    """Draw the weights of all convolutions anew."""
    for layer in [*G.modules(), *D.modules()]:
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            edge = deviation * 3**0.5  # of the uniform distribution of this deviation
            nn.init.uniform_(layer.weight, -edge, edge) if uniform else nn.init.normal_(layer.weight, 0, deviation)


VARIANTS: dict[str, Change] = {
    SMALL: partial(drawn, 0.002, False),
    PAPER: partial(drawn, 0.02, False),
    LARGE: partial(drawn, 0.2, False),
    UNIFORM: partial(drawn, 0.02, True),
}


def deviations(G: nn.Module) -> list[float]:
    """The deviation of what leaves each transposed convolution of G."""
    found: list[float] = []

    def note(_: nn.Module, __: tuple[Tensor, ...], made: Tensor) -> None:
        found.append(float(made.std()))

    handles = [layer.register_forward_hook(note) for layer in G.modules() if isinstance(layer, nn.ConvTranspose2d)]
    samples(G, 64)
    for handle in handles:
        handle.remove()
    return found


def measure(bench: Bench) -> Outcome:
    outcome = compare(bench, VARIANTS)
    for norm in (True, False):
        for variant, change in VARIANTS.items():
            torch.manual_seed(0)
            G, D = convolutional()
            change(G, D)
            if not norm:
                for place, layer in enumerate(list(G.children())):
                    if isinstance(layer, nn.BatchNorm2d):
                        setattr(G, str(place), nn.Identity())
            name = f"{variant}, {'BatchNorm' if norm else 'no BatchNorm'}"
            outcome.add(name, 0, **{f"{LAYERS}{n}": value for n, value in enumerate(deviations(G), 1)})
    return outcome


def claims(outcome: Outcome) -> list[Claim]:
    paper = outcome.mean(PAPER, "KID")
    last = {name: outcome.mean(f"{name}, no BatchNorm", f"{LAYERS}3") for name in (SMALL, PAPER, LARGE)}
    return [
        Claim(
            "Weights that begin ten times too large make the samples worse.",
            f"KID was {kids(outcome, LARGE)} with 0.2, and {kids(outcome, PAPER)} with 0.02.",
            min(outcome.of(LARGE, "KID")) > max(outcome.of(PAPER, "KID")),
        ),
        Claim(
            "Against the books: weights that begin ten times too small do no harm here.",
            f"KID was {kids(outcome, SMALL)} with 0.002.",
            max(outcome.of(SMALL, "KID")) < 1.25 * max(outcome.of(PAPER, "KID")),
        ),
        Claim(
            "The shape of the distribution matters little.",
            f"KID was {kids(outcome, UNIFORM)} with uniform weights of the same deviation.",
            0.7 * paper < outcome.mean(UNIFORM, "KID") < 1.4 * paper,
        ),
        Claim(
            "Without BatchNorm the scale of the weights multiplies from layer to layer.",
            f"The last layer's deviation was {last[SMALL]:.2g}, {last[PAPER]:.2g} and {last[LARGE]:.2g} for 0.002, "
            "0.02 and 0.2.",
            last[SMALL] < last[PAPER] / 50 and last[PAPER] < last[LARGE] / 50,
        ),
    ]


def draw(outcome: Outcome, figure: Figure) -> None:
    left, middle, right = figure.subplot_mosaic([["layers", "KID", "samples"]], width_ratios=[1.2, 1, 1.5]).values()
    for colour, variant in zip(COLOURS, (SMALL, PAPER, LARGE), strict=False):
        for end, line in (("BatchNorm", "-"), ("no BatchNorm", ":")):
            values = [outcome.mean(f"{variant}, {end}", f"{LAYERS}{layer}") for layer in (1, 2, 3)]
            left.semilogy([1, 2, 3], values, line, marker="o", color=colour, label=f"{variant.split(',')[0]}, {end}")
    left.set_xticks([1, 2, 3])
    left.set_xlabel("layer of G", fontsize=8)
    left.set_title("Deviation of its output at the start", fontsize=10)
    labels = [SMALL, "N(0, 0.02)", LARGE]
    lines = [line for line in left.get_lines() if line.get_linestyle() == "-"]
    left.legend(lines, labels, fontsize=7, title="solid: with BatchNorm\ndotted: without", title_fontsize=7)
    clean(left)
    bars(middle, outcome, "KID", "KID after 32 kimg\n(lower is better)")
    middle.set_yticks(range(4), ["0.002", "0.02", "0.2", "0.02,\nuniform"])
    right.set_axis_off()
    for number, (variant, images) in enumerate(outcome.shown["samples"].items()):
        part = right.inset_axes((0.52 * (number % 2), 0.52 - 0.54 * (number // 2), 0.46, 0.42))
        pictures(part, images, variant)


EXPERIMENT = Experiment(measure, claims, draw, (10.5, 3.6))
