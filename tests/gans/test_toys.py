"""The mathematics of the losses: closed forms, optimal discriminators, and toys that must converge or must not."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganfold.gans import noise
from ganfold.gans.contract import Batch, Shape
from ganfold.gans.losses import LOSSES, relativistic, relativistic_hinge
from ganfold.gans.wgan_gp import WGANGP
from ganfold.gans.wgan_gp import Config as WGANGPConfig
from ganfold.training.ranks import Ranks
from ganfold.training.trainer import Trainer
from toy_gans import MIXTURES, PLANE, SAMPLES, TOYS, Config, Mixture, Points, Toy, trained


def linear(inputs: int, length: float) -> nn.Sequential:
    """A critic w x + 3 with |w| of this length."""
    layer = nn.Linear(inputs, 1)
    with torch.no_grad():
        layer.weight.copy_(F.normalize(noise.normal(3, torch.arange(1), inputs)) * length)
        layer.bias.fill_(3.0)
    return nn.Sequential(nn.Flatten(), layer, nn.Flatten(0))


# What limits D


@pytest.mark.parametrize("length", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0])  # all images equal, the usual case, far away
def test_the_penalty_of_a_linear_critic_is_known(length: float, scale: float) -> None:
    """Gulrajani 2017, eq. 3: the gradient is w everywhere, so the penalty is lambda (|w| - 1)^2."""
    torch.manual_seed(0)
    gan = WGANGP(WGANGPConfig(networks="mlp", z_dim=4), Shape(3, 8))
    gan.D = linear(3 * 64, length)
    rows = torch.arange(16)
    batch = Batch({"image": scale * noise.normal(1, rows, 3, 8, 8)}, rows)
    batch.begin("test")
    penalty = gan.critic(batch)["penalty"].item()
    assert penalty == pytest.approx(gan.config.penalty * (length - 1) ** 2, rel=1e-6, abs=1e-6)

    toy = Toy(Config("wasserstein", "penalty", 7.0), PLANE)
    toy.D = linear(2, length)
    batch = Batch({"image": scale * noise.normal(1, rows, 2, 1, 1)}, rows)
    batch.begin("test")
    assert toy.discriminator(batch)["penalty"].item() == pytest.approx(7 * (length - 1) ** 2, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("length", [0.5, 2.0])
def test_the_slopes_of_a_linear_critic_are_its_squared_length(length: float) -> None:
    """(D(x + s n) - D(x)) / s = w n is normal with variance |w|^2, so that its square is |w|^2 in the mean, with
    variance 2 |w|^4: the mean of N has deviation |w|^2 sqrt(2 / N). Four of those are allowed."""
    count = 40_000
    toy = Toy(TOYS["relativistic, R1 + R2"], PLANE)
    toy.D = linear(2, length)
    rows = torch.arange(count)
    points = noise.normal(1, rows, 2, 1, 1)
    batch = Batch({"image": points}, rows)
    batch.begin("test")
    terms = {name: 2 / toy.config.strength * term.item() for name, term in toy.discriminator(batch).items()}
    allowed = 4 * length**2 * math.sqrt(2 / count)
    assert abs(terms["R1"] - length**2) < allowed
    assert abs(terms["R2"] - length**2) < allowed
    assert terms["R1"] != terms["R2"]  # other directions


# Each loss by itself


def value_and_slope(loss: Callable[[Tensor], Tensor], d: float) -> tuple[float, float]:
    x = torch.tensor(d, dtype=torch.float64, requires_grad=True)
    y = loss(x)
    (slope,) = torch.autograd.grad(y, x)
    return y.item(), slope.item()


LOG2, LOG3 = math.log(2), math.log(3)  # sigmoid(log 3) = 3 / 4
KNOWN: dict[
    tuple[str, float], list[tuple[float, float]]
] = {  # at D = 0 and at D = log 3, or 2: (value, derivative) of real, fake, generator
    ("nonsaturating", 0.0): [(LOG2, -1 / 2), (LOG2, 1 / 2), (LOG2, -1 / 2)],
    ("nonsaturating", LOG3): [(math.log(4 / 3), -1 / 4), (math.log(4), 3 / 4), (math.log(4 / 3), -1 / 4)],
    ("minimax", 0.0): [(LOG2, -1 / 2), (LOG2, 1 / 2), (-LOG2, -1 / 2)],
    ("minimax", LOG3): [(math.log(4 / 3), -1 / 4), (math.log(4), 3 / 4), (-math.log(4), -3 / 4)],
    ("lsgan", 0.0): [(1 / 2, -1), (0, 0), (1 / 2, -1)],
    ("lsgan", 2.0): [(1 / 2, 1), (2, 2), (1 / 2, 1)],
    ("hinge", 0.0): [(1, -1), (1, 1), (0, -1)],
    ("hinge", 2.0): [(0, 0), (3, 1), (-2, -1)],
    ("hinge", -2.0): [(3, -1), (0, 0), (2, -1)],
    ("wasserstein", 0.0): [(0, -1), (0, 1), (0, -1)],
    ("wasserstein", 2.0): [(-2, -1), (2, 1), (-2, -1)],
}


def test_every_loss_is_known() -> None:
    assert {name for name, _ in KNOWN} == LOSSES.keys()


@pytest.mark.parametrize(("name", "d"), KNOWN)
def test_values_and_derivatives(name: str, d: float) -> None:
    for loss, known in zip(LOSSES[name], KNOWN[name, d], strict=True):
        assert value_and_slope(loss, d) == pytest.approx(known, abs=1e-12)


def test_the_relativistic_loss_is_log_2_where_nothing_differs() -> None:
    one = torch.tensor([5.0, LOG3 - 2])
    other = torch.tensor([5.0, -2.0])
    assert relativistic(one, other).tolist() == pytest.approx([LOG2, math.log(4 / 3)], abs=1e-6)
    assert relativistic(other, one).tolist() == pytest.approx([LOG2, math.log(4)], abs=1e-6)


def test_the_relativistic_hinge_asks_for_a_lead_of_one_and_no_more() -> None:
    ahead = torch.tensor([0.0, 0.25, 1.0, 7.0, -3.0], requires_grad=True)
    found = relativistic_hinge(ahead + 5, torch.full((5,), 5.0))
    assert found.tolist() == [1, 0.75, 0, 0, 4]
    found.sum().backward()
    assert ahead.grad is not None
    assert ahead.grad.tolist() == [-1, -1, 0, 0, -1]


VANISHES = {"nonsaturating": False, "minimax": True, "lsgan": False, "hinge": False, "wasserstein": False}


@pytest.mark.parametrize("name", LOSSES)
def test_where_the_gradient_for_the_generator_vanishes(name: str) -> None:
    """At D = -20, where D is sure that an image is a fake (Goodfellow 2014, sec. 3)."""
    _, slope = value_and_slope(LOSSES[name].generator, -20.0)
    assert slope < 0  # it always leads upwards
    assert (abs(slope) < 1e-6) == VANISHES[name]


# The best D of discrete p and q

P = torch.tensor([0.5, 0.3, 0.1, 0.1], dtype=torch.float64)
Q = torch.tensor([0.1, 0.3, 0.2, 0.4], dtype=torch.float64)


def best(name: str, p: Tensor, q: Tensor) -> tuple[Tensor, float]:
    """The optimal D as a table, found by gradient descent, and its loss."""
    loss, table = LOSSES[name], torch.full_like(p, 0.1, requires_grad=True)
    optimizer = torch.optim.Adam([table], lr=0.2)
    for step in range(400):
        optimizer.param_groups[0]["lr"] = 0.2 * (1 - step / 400)
        value = (p * loss.real(table) + q * loss.fake(table)).sum()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return table.detach(), value.item()


def divergence(p: Tensor, q: Tensor) -> float:
    """The divergence of Jensen and Shannon."""
    middle = (p + q) / 2
    return float(sum(torch.xlogy(x, x / middle).sum() for x in (p, q))) / 2


@pytest.mark.parametrize("name", ["nonsaturating", "minimax"])
def test_the_best_discriminator_is_p_over_p_plus_q(name: str) -> None:
    """Goodfellow 2014, prop. 1 and theorem 1: C(G) = -log 4 + 2 JS; D minimises -C here."""
    table, value = best(name, P, Q)
    assert torch.allclose(table.sigmoid(), P / (P + Q), atol=1e-6)
    assert -value == pytest.approx(-math.log(4) + 2 * divergence(P, Q), abs=1e-9)
    assert best(name, P, P)[1] == pytest.approx(math.log(4), abs=1e-6)


def test_the_best_discriminator_of_least_squares_is_p_over_p_plus_q_too() -> None:
    """Mao 2017, sec. 3.2: (b p + a q) / (p + q) with a = 0, b = 1."""
    table, value = best("lsgan", P, Q)
    assert torch.allclose(table, P / (P + Q), atol=1e-6)
    assert value == pytest.approx(float((P * Q / (P + Q)).sum()) / 2, abs=1e-9)


def test_the_best_discriminator_of_hinge_is_the_sign_of_p_minus_q() -> None:
    """Lim, Ye 2017: +1 where p > q, -1 where p < q, anything between where they are equal; the value is
    2 - sum |p - q|."""
    table, value = best("hinge", P, Q)
    differs = P != Q
    assert torch.allclose(table[differs], (P - Q).sign()[differs], atol=0.01)
    assert table[~differs].abs().max() <= 1
    assert value == pytest.approx(2 - float((P - Q).abs().sum()), abs=0.01)


def test_a_critic_without_a_limit_has_no_best() -> None:
    """The loss falls without end. This is why WGAN needs a limit."""
    _, value = best("wasserstein", P, Q)
    assert value < -20 * float((P - Q).abs().max())


# The Dirac-GAN


LR = 0.2


class Place(nn.Module):
    """A generator that knows one point."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(1.0))

    def forward(self, z: Tensor) -> Tensor:
        return self.theta.expand(len(z), 1, 1, 1)


class Dirac(Toy):
    """Mescheder 2018, arXiv:1801.04406, sec. 2: the reals are all 0, the fakes all theta, and D(x) = psi x."""

    def __init__(self, config: Config) -> None:
        super().__init__(config, Shape(1, 1))
        self.G, self.D = Place(), nn.Sequential(nn.Flatten(), nn.Linear(1, 1, bias=False), nn.Flatten(0))
        with torch.no_grad():
            self.D[1].weight.fill_(0.5)
        self.optimizers = {name: torch.optim.SGD(getattr(self, name).parameters(), LR) for name in "DG"}

    def state(self) -> tuple[float, float]:
        return self.G.theta.item(), self.D[1].weight.item()


def path(config: Config, steps: int) -> list[tuple[float, float]]:
    """(theta, psi) before each step of a real trainer, which updates D and then G, and at the end."""
    gan, points = Dirac(config), Points(Mixture(torch.zeros(1, 1), 0.0), 0, config.batch)
    trainer = Trainer(gan, points, seed=0, device=torch.device("cpu"), ranks=Ranks("cpu"), ema_images=1000)
    found = [gan.state()]
    for _ in range(steps):
        trainer.step()
        found.append(gan.state())
    return found


def test_turn_by_turn_a_linear_wgan_circles_for_ever() -> None:
    """psi' = psi - h theta, theta' = theta + h psi' keeps theta^2 + psi^2 - h theta psi exactly: an ellipse."""
    ellipse = [theta**2 + psi**2 - LR * theta * psi for theta, psi in path(Config("wasserstein", batch=4), 200)]
    assert ellipse == pytest.approx([1 + 0.25 - LR * 0.5] * 201, rel=1e-4)


def test_at_once_a_linear_wgan_flies_apart() -> None:
    """Both updates from the same state multiply the distance by sqrt(1 + h^2) (Mescheder 2018, sec. 2)."""
    gan, steps = Dirac(Config("wasserstein", batch=4)), 100
    rows = torch.arange(4)
    batch = Batch({"image": torch.zeros(4, 1, 1, 1)}, rows)
    for step in range(steps):
        batch.begin("test", step)
        for phase in gan.phases:
            weights = list(getattr(gan, phase.optimizer).parameters())
            for weight, gradient in zip(
                weights, torch.autograd.grad(torch.stack(list(phase.loss(batch).values())).sum(), weights), strict=True
            ):
                weight.grad = gradient
        for optimizer in gan.optimizers.values():
            optimizer.step()
    assert math.hypot(*gan.state()) == pytest.approx(math.hypot(1, 0.5) * (1 + LR**2) ** (steps / 2), rel=1e-4)


LIMITS = {"penalty": Config("wasserstein", "penalty", 1.0, batch=4)}
ALONE = {name: Config(name, batch=4) for name in ("nonsaturating", "minimax", "hinge")}


@pytest.mark.parametrize("name", ALONE | LIMITS)
def test_without_r1_the_dirac_gan_does_not_converge(name: str) -> None:
    """Mescheder 2018, sec. 2 and 3: neither alone nor with WGAN-GP's penalty. The non-saturating one creeps inwards:
    in continuous time d(theta^2 + psi^2) / dt = -2 theta psi tanh(theta psi / 2), a distance of about sqrt(8 / t)."""
    assert min(math.hypot(*state) for state in path((ALONE | LIMITS)[name], 150)) > 0.3


@pytest.mark.parametrize("name", [*ALONE, "relativistic", "wasserstein"])
def test_with_r1_the_dirac_gan_converges(name: str) -> None:
    """Mescheder 2018, theorem 4.1: it converges to (0, 0)."""
    assert math.hypot(*path(Config(name, "slopes", 0.3, batch=16), 120)[-1]) < 0.01


# In the plane


@pytest.mark.parametrize("name", TOYS)
def test_a_phase_moves_exactly_what_its_optimizer_owns(name: str) -> None:
    torch.manual_seed(0)
    gan = Toy(TOYS[name], PLANE)
    points = Points(MIXTURES["grid"], 0, gan.config.batch)
    trainer = Trainer(gan, points, seed=0, device=torch.device("cpu"), ranks=Ranks("cpu"), ema_images=1000)
    for number, phase in enumerate(gan.phases):
        before = {key: weight.clone() for key, weight in gan.named_parameters()}
        batch = points.draw(0)
        batch.begin("test", number)
        trainer._update(number, phase, batch)
        moved = {key[0] for key, weight in gan.named_parameters() if not torch.equal(weight, before[key])}
        assert moved == {phase.optimizer}
    if gan.config.limit == "clip":
        largest = max(weight.abs().max().item() for weight in gan.D.parameters())
        assert largest == pytest.approx(gan.config.strength)


@pytest.mark.parametrize("name", MIXTURES)
def test_modes_are_counted(name: str) -> None:
    """Reals have all modes, and 1 - exp(-9/2) = 98.9 % lie within three deviations."""
    mixture = MIXTURES[name]
    reals = mixture.draw(0, 0, torch.arange(SAMPLES))
    found, good = mixture.modes(reals)
    assert found == len(mixture.centres)
    assert good == pytest.approx(1 - math.exp(-9 / 2), abs=4 * math.sqrt(0.989 * 0.011 / SAMPLES))  # binomial
    assert not torch.equal(reals, mixture.draw(0, 1, torch.arange(SAMPLES)))
    one = mixture.centres[:1].repeat(20, 1)
    found, good = mixture.modes(torch.cat([one, one[:19] + 10]))
    assert found == 1
    assert good == pytest.approx(20 / 39)
    assert mixture.modes(one[:19]) == (0, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, config in TOYS.items() if config.limit in ("penalty", "slopes")])
def test_a_limited_discriminator_finds_all_eight_modes(name: str) -> None:
    (points,) = trained(TOYS[name], MIXTURES["ring"], 0, steps=1000)
    assert MIXTURES["ring"].modes(points)[0] == 8
