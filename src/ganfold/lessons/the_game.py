"""docs/learn/the-game.md: a game of two numbers on a line, with the best D exactly, and then with one that learns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganfold.lessons.drawing import COLOURS, clean, rolling
from ganfold.lessons.experiment import Bench, Claim, Experiment, Outcome, several

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FAR = 4.0  # where the fakes begin; the reals lie around 0, both with deviation 1
LINE = torch.linspace(-8, 12, 2001)
UPDATES, GAME = 1000, 3000  # of D alone; of both
MINIMAX, SAVING = "log(1 - D(G(z)))", "-log D(G(z))"
PLAYED, BLIND = "D learns", "D never learns"


def density(mean: float) -> Tensor:
    return torch.exp(-0.5 * (LINE - mean) ** 2) / math.sqrt(2 * math.pi)


def best(mean: float) -> tuple[Tensor, float, float, float]:
    """The best D on the line, the game's value, and the means of D(x) and D(G(z))."""
    p, q = density(0.0), density(mean)
    logit = ((LINE - mean) ** 2 - LINE**2) / 2  # log p - log q: D = p / (p + q) is its sigmoid
    D = logit.sigmoid()
    width = float(LINE[1] - LINE[0])
    on_real, on_fake = (float((density * D).sum() * width) for density in (p, q))
    value = float((p * F.logsigmoid(logit) + q * F.logsigmoid(-logit)).sum() * width)
    return D, value, on_real, on_fake


def critic() -> nn.Module:
    return nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))


def learn(D: nn.Module, optimizer: torch.optim.Optimizer, mean: Tensor, random: torch.Generator) -> None:
    """One update of D."""
    real = torch.randn(256, 1, generator=random)
    fake = mean.detach() + torch.randn(256, 1, generator=random)
    loss = F.softplus(-D(real)).mean() + F.softplus(D(fake)).mean()
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def slopes(D: nn.Module, mean: Tensor, random: torch.Generator) -> tuple[float, float]:
    """How steep both losses of G are in the place of its fakes."""
    logits = D(mean + torch.randn(1024, 1, generator=random))
    losses = (-F.softplus(logits).mean(), F.softplus(-logits).mean())
    minimax, saving = (torch.autograd.grad(loss, mean, retain_graph=True)[0].abs().item() for loss in losses)
    return minimax, saving


def gain(bench: Bench, outcome: Outcome, seed: int) -> None:
    """Let D learn while G stands still, and watch the slope of both losses."""
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    D, mean = critic(), torch.tensor(2 * FAR, requires_grad=True)
    optimizer = torch.optim.Adam(D.parameters(), 1e-2, fused=True)
    steps = bench.scaled(UPDATES, 20)
    curve = []
    for step in range(steps):
        learn(D, optimizer, mean, random)
        if step % max(1, steps // 100) == 0 or step == steps - 1:
            curve.append((step + 1, *slopes(D, mean, random)))
            bench.tick(step / steps)
    for place, loss in enumerate((MINIMAX, SAVING), 1):
        outcome.add(f"slope of {loss}", seed, steepest=max(row[place] for row in curve), at_the_end=curve[-1][place])
    outcome.shown.setdefault("slopes", curve)


def play(bench: Bench, outcome: Outcome, variant: str, seed: int) -> None:
    """Let both learn, by the loss -log D(G(z))."""
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    D, mean = critic(), torch.tensor(FAR, requires_grad=True)
    for_D = torch.optim.Adam(D.parameters(), 1e-2 if variant == PLAYED else 0.0, (0.5, 0.999), fused=True)
    for_G = torch.optim.Adam([mean], 1e-2 if variant == PLAYED else 0.0, (0.5, 0.999))
    steps = bench.scaled(GAME, 20)
    log = torch.zeros(steps, 3)
    for step in range(steps):
        learn(D, for_D, mean, random)
        fake = mean + torch.randn(256, 1, generator=random)
        loss = F.softplus(-D(fake)).mean()
        for_G.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for_G.step()
        with torch.no_grad():
            opinions = [D(points).sigmoid().mean() for points in (torch.randn(256, 1, generator=random), fake)]
        log[step] = torch.stack([*opinions, mean.detach()])
        bench.tick(step / steps)
    log[:, 2].abs_()
    on_real, on_fake, away = log[-max(1, steps // 4) :].mean(0).tolist()
    outcome.add(variant, seed, **{"D(x)": on_real, "D(G(z))": on_fake, "fakes away from reals": away})
    outcome.shown.setdefault(variant, log.numpy())


def measure(bench: Bench) -> Outcome:
    outcome = Outcome()
    for mean in (FAR, 1.0, 0.0):
        D, value, on_real, on_fake = best(mean)
        outcome.add(f"the best D, fakes at {mean:g}", 0, **{"D(x)": on_real, "D(G(z))": on_fake, "value": value})
        outcome.shown[f"best {mean:g}"] = D
    for _, seed in bench.each([("D learns, G waits", seed) for seed in bench.seeds], 0.3):
        gain(bench, outcome, seed)
    for variant, seed in bench.each([(variant, seed) for variant in (PLAYED, BLIND) for seed in bench.seeds], 0.7):
        play(bench, outcome, variant, seed)
    return outcome


def claims(outcome: Outcome) -> list[Claim]:
    equal, far = (f"the best D, fakes at {mean:g}" for mean in (0.0, FAR))
    left = {}
    for loss in (MINIMAX, SAVING):
        both = (outcome.of(f"slope of {loss}", name) for name in ("at the end", "steepest"))
        left[loss] = [end / steepest for end, steepest in zip(*both, strict=True)]
    value = outcome.mean(equal, "value")
    away = {variant: outcome.of(variant, "fakes away from reals") for variant in (PLAYED, BLIND)}
    half = {variant: outcome.of(variant, "D(G(z))") for variant in (PLAYED, BLIND)}
    return [
        Claim(
            "Where fakes equal reals, the best D says 0.5 everywhere, and the value is -log 4.",
            f"D(x) is {outcome.mean(equal, 'D(x)'):.3f} and the value {value:.3f}; with fakes at 4 they are "
            f"{outcome.mean(far, 'D(x)'):.3f} and {outcome.mean(far, 'value'):.3f}.",
            abs(outcome.mean(equal, "D(x)") - 0.5) < 1e-3 and abs(value + math.log(4)) < 1e-3,
        ),
        Claim(
            f"When D wins, {MINIMAX} has no slope left, and {SAVING} has.",
            f"At the end {several(100 * share for share in left[MINIMAX])} % of the steepest slope were left, and "
            f"{several(100 * share for share in left[SAVING])} %.",
            max(left[MINIMAX]) < 0.05 and min(left[SAVING]) > 0.1,
        ),
        Claim(
            "A game that is played well brings the fakes to the reals.",
            f"They end {several(away[PLAYED])} away, and D(G(z)) is {several(half[PLAYED])}.",
            max(away[PLAYED]) < 0.5,
        ),
        Claim(
            "0.5 alone proves nothing: a D that never learnt says it too.",
            f"Its D(G(z)) is {several(half[BLIND])}, with fakes {several(away[BLIND])} away.",
            all(abs(share - 0.5) < 0.15 for share in half[BLIND]) and min(away[BLIND]) > 2,
        ),
    ]


def draw(outcome: Outcome, figure: Figure) -> None:
    exact, slope, game = figure.subplots(1, 3)
    exact.plot(LINE, density(0.0), color=COLOURS[0], label="reals")
    for colour, mean in zip((COLOURS[1], COLOURS[2]), (FAR, 1.0), strict=True):
        exact.plot(LINE, density(mean), color=colour, label=f"fakes at {mean:g}")
        exact.plot(LINE, outcome.shown[f"best {mean:g}"], "--", color=colour, label="best D for them")
    exact.axhline(0.5, color=COLOURS[4], linewidth=0.8, linestyle=":")
    exact.set(xlim=(-4, 8), title="The best D: p / (p + q)")
    updates, minimax, saving = zip(*outcome.shown["slopes"], strict=True)
    slope.loglog(updates, minimax, color=COLOURS[5], label=MINIMAX)
    slope.loglog(updates, saving, color=COLOURS[2], label=SAVING)
    slope.set(title="Slope of G's loss while only D learns", xlabel="updates of D")
    for name, style in ((PLAYED, "-"), (BLIND, ":")):
        for column, colour in ((0, COLOURS[0]), (1, COLOURS[1])):
            label = f"{('D(x)', 'D(G(z))')[column]}, {name}"
            game.plot(rolling(outcome.shown[name][:, column], 50), style, color=colour, label=label)
    game.set(title="The game", xlabel="steps", ylim=(0, 1))
    for axes in (exact, slope, game):
        axes.legend(fontsize=7)
        axes.title.set_fontsize(10)
        clean(axes)


EXPERIMENT = Experiment(measure, claims, draw, (11, 3.3))
