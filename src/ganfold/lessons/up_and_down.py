"""docs/learn/up-and-down.md: sizes, overlaps, what a transposed convolution is, and what pooling does to gradients."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganfold.lessons.drawing import bars, show
from ganfold.lessons.experiment import Bench, Claim, Experiment, Outcome
from ganfold.lessons.plain import Change, compare, kids, nothing, swapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STRIDE, AVERAGE, MAXIMUM = "stride 2", "average pooling", "max pooling"
KERNELS = {3: (1, 1), 4: (1, 0), 5: (2, 1)}  # kernel: padding and output padding that double the size at stride 2
GIVEN_BACK: dict[str, Callable[[Tensor], Tensor]] = {
    STRIDE: lambda x: F.conv2d(x, torch.ones(1, 1, 4, 4), stride=2, padding=1),
    AVERAGE: lambda x: F.avg_pool2d(x, 2),
    MAXIMUM: lambda x: F.max_pool2d(x, 2),
}


def pooled(pool: type[nn.Module]) -> Change:
    """D with 3x3 convolutions, each followed by pooling, in the place of its strided ones."""

    def change(G: nn.Module, D: nn.Module) -> None:
        def layer(old: nn.Module) -> nn.Module:
            assert isinstance(old, nn.Conv2d)
            new = nn.Conv2d(old.in_channels, old.out_channels, 3, padding=1, bias=False)
            nn.init.normal_(new.weight, 0.0, 0.02)
            return new if old.stride == (1, 1) else nn.Sequential(new, pool(2))

        trunk = next(D.children())
        swapped(trunk, nn.Conv2d, layer)

    return change


VARIANTS: dict[str, Change] = {STRIDE: nothing, AVERAGE: pooled(nn.AvgPool2d), MAXIMUM: pooled(nn.MaxPool2d)}


def sizes() -> tuple[int, int]:
    """How many cases of both formulae of the output size were tried, and how many were wrong."""
    tried = wrong = 0
    for n, k, s, p, d in product(range(4, 12), range(1, 6), range(1, 4), range(3), (1, 2)):
        if n + 2 * p < d * (k - 1) + 1 or p >= d * (k - 1) + 1:
            continue
        x, w = torch.zeros(1, 1, n, n), torch.zeros(1, 1, k, k)
        down = F.conv2d(x, w, stride=s, padding=p, dilation=d).shape[-1]
        wrong += down != (n + 2 * p - d * (k - 1) - 1) // s + 1
        tried += 1
        size = (n - 1) * s - 2 * p + d * (k - 1) + 1
        if size > 0:
            wrong += F.conv_transpose2d(x, w, stride=s, padding=p, dilation=d).shape[-1] != size
            tried += 1
    return tried, wrong


def overlaps(kernel: int) -> Tensor:
    """How many stamps of the kernel each output pixel gets, (16, 16)."""
    padding, more = KERNELS[kernel]
    weight = torch.ones(1, 1, kernel, kernel)
    made: Tensor = F.conv_transpose2d(torch.ones(1, 1, 8, 8), weight, None, 2, padding, more)
    return made[0, 0]


def measure(bench: Bench) -> Outcome:
    outcome = compare(bench, VARIANTS)
    tried, wrong = sizes()
    outcome.add("output sizes by the formulae", 0, cases=tried, wrong=wrong)
    for kernel in KERNELS:
        outcome.shown[f"kernel {kernel}"] = counts = overlaps(kernel)
        inner = np.unique(counts[4:-4, 4:-4].int().numpy()).tolist()
        outcome.add(f"kernel {kernel}, stride 2", 0, stamps_on_a_pixel=", ".join(map(str, inner)))
    random = torch.Generator().manual_seed(0)
    x = torch.randn(1, 3, 16, 16, generator=random, requires_grad=True)
    weight, back = torch.randn(5, 3, 4, 4, generator=random), torch.randn(1, 5, 8, 8, generator=random)
    small = F.conv2d(x, weight, None, 2, 1)
    (gradient,) = torch.autograd.grad(small, x, back)
    difference = (gradient - F.conv_transpose2d(back, weight, None, 2, 1)).abs().max().item()
    there = F.conv_transpose2d(small, weight, None, 2, 1)
    scale = (there * x).sum() / there.square().sum()  # the best factor that an inverse up to scale could have
    outcome.add(
        "transposed convolution",
        0,
        from_the_gradient=difference,
        from_the_inverse=((scale * there - x).norm() / x.norm()).item(),
    )
    for variant, smaller in GIVEN_BACK.items():
        x = torch.randn(1, 1, 16, 16, generator=random, requires_grad=True)
        (gradient,) = torch.autograd.grad(smaller(x).sum(), x)
        outcome.shown[f"gradient of {variant}"] = gradient[0, 0]
        outcome.add(f"gradient through {variant}", 0, places_without_gradient=(gradient == 0).float().mean().item())
    return outcome


def claims(outcome: Outcome) -> list[Claim]:
    stamps = {kernel: _words(outcome, f"kernel {kernel}, stride 2") for kernel in KERNELS}
    wrong, cases = (
        outcome.mean("output sizes by the formulae", "wrong"),
        outcome.of("output sizes by the formulae", "cases"),
    )
    off = {name: outcome.mean("transposed convolution", f"from the {name}") for name in ("gradient", "inverse")}
    none = {name: outcome.mean(f"gradient through {name}", "places without gradient") for name in GIVEN_BACK}
    return [
        Claim("Both formulae of the size are right.", f"Of {cases[0]:,.0f} cases {wrong:.0f} were wrong.", wrong == 0),
        Claim(
            "A transposed convolution is the gradient of a convolution, and not its inverse.",
            f"The first differs by {off['gradient']:.1g}, the second by {off['inverse']:.0%} of the image.",
            off["gradient"] < 1e-4 and off["inverse"] > 0.3,
        ),
        Claim(
            "Only a kernel that the stride divides stamps all pixels equally often.",
            f"A pixel gets {stamps[3]} stamps with kernel 3, {stamps[4]} with 4, {stamps[5]} with 5.",
            "," not in stamps[4] and "," in stamps[3] and "," in stamps[5],
        ),
        Claim(
            "Max pooling sends the gradient to one pixel of four; the others reach all.",
            f"Without gradient: {none[MAXIMUM]:.0%} with max, {none[AVERAGE]:.0%} with average, "
            f"{none[STRIDE]:.0%} with stride.",
            none[MAXIMUM] > 0.7 and none[AVERAGE] == none[STRIDE] == 0,
        ),
        Claim(
            "Max pooling in D makes the samples worse.",
            f"KID was {kids(outcome, MAXIMUM)}, and {kids(outcome, STRIDE)} with strides.",
            min(outcome.of(MAXIMUM, "KID")) > 1.2 * max(outcome.of(STRIDE, "KID")),
        ),
        Claim(
            "Against the books: average pooling comes close to strides.",
            f"KID was {kids(outcome, AVERAGE)} with average pooling.",
            outcome.mean(AVERAGE, "KID") < 1.3 * outcome.mean(STRIDE, "KID"),
        ),
    ]


def _words(outcome: Outcome, variant: str) -> str:
    return next(str(row.values["stamps on a pixel"]) for row in outcome.rows if row.variant == variant)


def draw(outcome: Outcome, figure: Figure) -> None:
    names: list[Any] = [
        [*(f"kernel {kernel}" for kernel in KERNELS), "KID"],
        [*(f"gradient of {name}" for name in GIVEN_BACK), "KID"],
    ]
    parts = figure.subplot_mosaic(names, width_ratios=[1, 1, 1, 1.6])
    for kernel in KERNELS:
        counts = outcome.shown[f"kernel {kernel}"].numpy()
        show(parts[f"kernel {kernel}"], counts, f"Stamps of kernel {kernel}, stride 2", vmin=0, vmax=9)
    for name in GIVEN_BACK:
        gradient = np.abs(outcome.shown[f"gradient of {name}"].numpy())
        show(parts[f"gradient of {name}"], gradient, f"Gradient through\n{name}", vmin=0)
    bars(parts["KID"], outcome, "KID", "KID by what halves the maps of D\n(lower is better)")


EXPERIMENT = Experiment(measure, claims, draw, (10, 5))
