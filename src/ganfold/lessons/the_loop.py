"""docs/learn/the-loop.md: the plain loop on digits, and what its usual mistakes do."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganfold.lessons.drawing import COLOURS, clean, pictures, rolling
from ganfold.lessons.experiment import Bench, Claim, Experiment, Outcome
from ganfold.lessons.plain import FAKES, SIDE, Z, as_bytes, digits, kids, samples, train
from ganfold.lessons.plain import measure as measure_samples
from ganfold.networks import mlp

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS, BATCH = 800, 64
BEFORE, AFTER, PILED = "before training", "after training", "after training, gradients never cleared"
RUNS = "none: it runs"


def networks() -> tuple[nn.Module, nn.Module]:
    return mlp.Generator(Z, 1, SIDE), mlp.Discriminator(1, SIDE)


class Piling(nn.Module):
    """A network whose gradients `zero_grad` of an optimizer does not reach: those of all steps add up."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.piles = network, [torch.zeros_like(weight) for weight in network.parameters()]
        for weight, pile in zip(network.parameters(), self.piles, strict=True):
            weight.register_hook(pile.add_)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.network(x)
        return made


def shape_for_number(x: Tensor) -> str:
    torch.randn(x.size(), 100)  # type: ignore[call-overload]  # meant: x.size(0)
    return ""


def wrong_name(x: Tensor) -> str:
    real = torch.ones(len(x))
    F.binary_cross_entropy(torch.full_like(real, 0.5), real_)  # type: ignore[name-defined]  # noqa: F821
    return ""


def method_for_its_result(x: Tensor) -> str:
    F.binary_cross_entropy(x.mean((1, 2, 3)).sigmoid().squeeze, torch.ones(len(x)))  # type: ignore[arg-type]
    return ""


def squeezed_away(x: Tensor) -> str:
    """A batch of one loses its only dimension."""
    F.binary_cross_entropy(x[:1].mean((1, 2, 3)).sigmoid().squeeze(), torch.ones(1))
    return ""


def element_of_a_scalar(x: Tensor) -> str:
    x.mean().data[0]
    return ""


def copy_dropped(x: Tensor) -> str:
    z = torch.randn(4, 100)
    z.to("meta")  # as `z.cuda()` without `z =`
    return f"z is still on the {z.device}"


def no_detach(x: Tensor) -> str:
    """D's update through G changes D in the same way, and costs a backward pass through G."""
    gradients = []
    for detach in (True, False):
        torch.manual_seed(0)
        G, D = networks()
        fake = G(torch.randn(8, Z))
        F.softplus(D(fake.detach() if detach else fake)).mean().backward()  # type: ignore[no-untyped-call]
        gradients.append(torch.cat([weight.grad.flatten() for weight in D.parameters() if weight.grad is not None]))
    return f"D's gradients differ by {(gradients[0] - gradients[1]).abs().max():.1g}; only time is lost"


def sigmoid_then_log(x: Tensor) -> str:
    logit = torch.tensor([-120.0], requires_grad=True)
    (bad,) = torch.autograd.grad(F.binary_cross_entropy(logit.sigmoid(), torch.ones(1)), logit)
    (good,) = torch.autograd.grad(F.softplus(-logit).sum(), logit)
    return f"at logit -120 the gradient is {bad.item():.3g}, and {good.item():.3g} from the logit itself"


def softmax_of_one(x: Tensor) -> str:
    logit = torch.tensor([[-3.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(logit.softmax(1).sum(), logit)
    return f"D says {logit.softmax(1).item():.0f} to everything, with gradient {gradient.item():.0f}"


def sign_forgotten(x: Tensor) -> str:
    opinion = torch.tensor(0.9)
    right = F.binary_cross_entropy(opinion, torch.tensor(1.0))
    return f"the loss is {opinion.log():.3f} where BCELoss gives {right:+.3f}"


MISTAKES: dict[str, Callable[[Tensor], str]] = {
    "x.size() for x.size(0)": shape_for_number,
    "real_ for real": wrong_name,
    "squeeze without ()": method_for_its_result,
    "squeeze() of a batch of one": squeezed_away,
    "loss.data[0] for loss.item()": element_of_a_scalar,
    "z.cuda() without z =": copy_dropped,
    "no detach()": no_detach,
    "sigmoid, then log": sigmoid_then_log,
    "softmax of one output": softmax_of_one,
    "cross-entropy without its minus": sign_forgotten,
}


def measure(bench: Bench) -> Outcome:
    outcome = Outcome()
    for name, mistake in MISTAKES.items():
        try:
            said, error = mistake(digits()[0][:4]), RUNS
        except Exception as raised:
            said, error = "", type(raised).__name__
        outcome.add(name, 0, error=error, what_happens=said)
    for variant, seed in bench.each([(variant, seed) for variant in (AFTER, PILED) for seed in bench.seeds]):
        torch.manual_seed(seed)
        G, D = networks()
        count = bench.scaled(FAKES, 20)
        if variant == AFTER:
            measure_samples(outcome, bench, BEFORE, seed, samples(G, count), None)
            outcome.shown.setdefault("samples", {})[BEFORE] = as_bytes(samples(G, 16))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            players = (G, D) if variant == AFTER else (Piling(G), Piling(D))
            log = train(*players, digits()[0], bench.scaled(STEPS), batch=BATCH, seed=seed, bench=bench)
        measure_samples(outcome, bench, variant, seed, samples(G, count), log)
        outcome.shown["samples"][variant] = as_bytes(samples(G, 16))
        outcome.shown.setdefault(variant, log.numpy())
    return outcome


def claims(outcome: Outcome) -> list[Claim]:
    errors = [str(row.values["error"]) for row in outcome.rows if "error" in row.values]
    silent = errors.count(RUNS)
    return [
        Claim(
            "Twenty lines of PyTorch begin to learn digits.",
            f"KID fell from {kids(outcome, BEFORE)} to {kids(outcome, AFTER)}.",
            max(outcome.of(AFTER, "KID")) < 0.75 * min(outcome.of(BEFORE, "KID")),
        ),
        Claim(
            "Python reports only some of the mistakes.",
            f"{len(errors) - silent} of {len(errors)} stop with an error, and {silent} run on.",
            0 < silent < len(errors),
        ),
        Claim(
            "Gradients that are never cleared spoil the training, without an error.",
            f"KID was {kids(outcome, PILED)} without clearing.",
            min(outcome.of(PILED, "KID")) > 1.5 * max(outcome.of(AFTER, "KID")),
        ),
    ]


def draw(outcome: Outcome, figure: Figure) -> None:
    curves, *parts = figure.subplot_mosaic([["curves", *"abc"]], width_ratios=[2.4, 1.3, 1.3, 1.3]).values()
    log = outcome.shown[AFTER]
    for column, name in enumerate(("D(x)", "D(G(z))", "loss of D", "loss of G")):
        curves.plot(rolling(log[:, column], 30), color=COLOURS[column], label=name)
    curves.axhline(0.5, color=COLOURS[4], linewidth=0.8, linestyle=":")
    curves.set_title("The loop on digits", fontsize=10)
    curves.set_xlabel("steps", fontsize=8)
    curves.legend(fontsize=7)
    clean(curves)
    for axes, (variant, images) in zip(parts, outcome.shown["samples"].items(), strict=True):
        pictures(axes, images, variant.replace(", ", ",\n"))


EXPERIMENT = Experiment(measure, claims, draw, (10.5, 3))
