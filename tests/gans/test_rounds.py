"""Where `rounds` and `early` meet: every round has fresh fakes, and each phase learns through its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ganfold.data import ImageSet
from ganfold.gans.contract import Batch, Phase, Shape, Terms
from ganfold.gans.dcgan import DCGAN, Config
from ganfold.gans.wgan import WGAN
from ganfold.gans.wgan import Config as WGANConfig
from ganfold.networks.mlp import Discriminator
from ganfold.training.batches import Batches
from ganfold.training.ranks import Ranks
from ganfold.training.trainer import Trainer
from tiny import rich_images

CPU = torch.device("cpu")


class Rounds(DCGAN):
    """DCGAN with two updates of D. `given` has each loss, its batch and its fakes; `made` counts calls of `fake`."""

    def __init__(self, config: Config, shape: Shape, rounds: tuple[int, int] = (2, 1)) -> None:
        super().__init__(config, shape)
        self.G = torch.nn.Sequential(
            *(torch.nn.Linear(6, 32), torch.nn.LeakyReLU(0.2), torch.nn.Linear(32, 3 * 16 * 16)),
            *(torch.nn.Tanh(), torch.nn.Unflatten(1, (3, 16, 16))),
        )  # without BatchNorm images do not depend on each other
        self.D = Discriminator(3, 16)  # type: ignore[assignment]
        self.optimizers = {
            name: torch.optim.Adam(getattr(self, name).parameters(), config.lr, config.betas) for name in "DG"
        }
        self.phases = [
            Phase(self.discriminator, "D", rounds=rounds[0]),
            Phase(self.generator, "G", rounds=rounds[1], early=self.fake),
        ]
        self.given: list[tuple[str, Batch, Tensor]] = []
        self.made = 0

    def fake(self, batch: Batch) -> Terms:
        self.made += 1
        return super().fake(batch)

    def discriminator(self, batch: Batch) -> Terms:
        terms = super().discriminator(batch)
        self.given.append(("D", batch, batch["fake"]))
        return terms

    def generator(self, batch: Batch) -> Terms:
        terms = super().generator(batch)
        self.given.append(("G", batch, batch["fake"]))
        return terms


@pytest.fixture(scope="module")
def images(squares: Path) -> ImageSet:
    return rich_images(squares)


def trainer(images: ImageSet, gan_class: type[Rounds] = Rounds, **options: Any) -> Any:
    torch.manual_seed(0)
    gan, ranks = gan_class(Config(batch=8, width=4, z_dim=6), Shape(3, 16), **options), Ranks("cpu")
    batches = Batches(images, seed=0, size=8, ranks=ranks, device=CPU, flips=True)
    return Trainer(gan, batches, seed=0, device=CPU, ranks=ranks, ema_images=1000)


def test_each_round_of_d_has_fresh_reals_and_fresh_fakes(images: ImageSet) -> None:
    subject = trainer(images, rounds=(3, 1))
    subject.step()
    shown = [batch["image"] for name, batch, _ in subject.gan.given if name == "D"]
    fakes = [fake for name, _, fake in subject.gan.given if name == "D"]
    assert len(fakes) == 3
    for some in (shown, fakes):
        assert all(not torch.equal(one, other) for i, one in enumerate(some) for other in some[:i])
    assert not any(fake.requires_grad for fake in fakes)
    assert subject.draws == 3


def test_g_learns_through_the_fakes_of_its_own_batch(images: ImageSet) -> None:
    subject = trainer(images, rounds=(2, 2))
    before = subject.gan.G[0].weight.clone()
    subject.step()
    (first, first_fake), (second, second_fake) = ((b, f) for name, b, f in subject.gan.given if name == "G")
    assert first_fake.grad_fn is not None
    assert second_fake.grad_fn is not None
    assert not torch.equal(first_fake, second_fake)
    assert first is subject.gan.given[0][1]  # the batch that the step began with, and that its fakes were made from
    assert second is not first
    assert not torch.equal(subject.gan.G[0].weight, before)
    assert not subject.gan.given[-1][1]["fake"].requires_grad  # a constant for the phases that follow


def test_g_does_not_run_for_a_field_that_no_loss_reads(images: ImageSet) -> None:
    class Blind(Rounds):
        def discriminator(self, batch: Batch) -> Terms:
            assert "nothing" not in batch
            assert batch.get("nothing") is None
            return {"real": self.judge(batch, batch["image"]).mean()}

    subject = trainer(images, Blind, rounds=(4, 1))
    subject.step()
    assert subject.gan.made == 1
    asking = trainer(images, rounds=(4, 1))
    asking.step()
    assert asking.gan.made == 4


def test_a_critic_that_makes_its_own_fakes_runs_g_no_more_often(images: ImageSet) -> None:
    torch.manual_seed(0)
    gan, ranks, calls = WGAN(WGANConfig(batch=8, width=4, z_dim=6), Shape(3, 16)), Ranks("cpu"), []
    gan.G.register_forward_hook(lambda *_: calls.append(1))
    batches = Batches(images, seed=0, size=8, ranks=ranks, device=CPU, flips=True)
    Trainer(gan, batches, seed=0, device=CPU, ranks=ranks, ema_images=1000).step()
    assert len(calls) == 5 + 1


def test_a_phase_after_later_rounds_sees_the_fakes_of_the_last_batch(images: ImageSet) -> None:
    class Lazy(Rounds):
        def __init__(self, config: Config, shape: Shape) -> None:
            super().__init__(config, shape)
            self.phases.insert(1, Phase(self.discriminator, "D"))

    subject = trainer(images, Lazy)
    subject.step()
    (_, first, _), (_, second, fake), (_, third, again), (name, _, _) = subject.gan.given
    assert second is third is not first
    assert fake is again
    assert name == "G"


def test_a_field_that_early_does_not_make_is_a_key_error(images: ImageSet) -> None:
    class Wrong(Rounds):
        def discriminator(self, batch: Batch) -> Terms:
            return {"real": batch["nothing"].mean() if self.given else self.judge(batch, batch["image"]).mean()}

    subject = trainer(images, Wrong)
    subject.gan.given.append(("D", Batch({}, torch.arange(1)), torch.zeros(1)))
    with pytest.raises(KeyError, match="nothing"):
        subject.step()


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("stop", [1, 2])
def test_resume_gives_the_same_bits(parts: int, stop: int, images: ImageSet) -> None:
    whole, first, second = (trainer(images, rounds=(2, 2)) for _ in range(3))
    whole.parts = first.parts = parts
    for _ in range(3):
        whole.step()
    for _ in range(stop):
        first.step()
    tensors, state = first.state()
    second.load({name: value.clone() for name, value in tensors.items()}, state)
    for _ in range(3 - stop):
        second.step()
    (one, counts), (other, others) = whole.state(), second.state()
    assert counts == others
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("parts", [2, 3])
def test_parts_see_what_the_whole_sees(parts: int, images: ImageSet) -> None:
    whole, split = trainer(images, rounds=(2, 2)), trainer(images, rounds=(2, 2))
    split.parts = parts
    whole.step()
    split.step()
    fakes = [fake for _, _, fake in whole.gan.given]
    halves = [fake for _, _, fake in split.gan.given]
    for turn, fake in enumerate(fakes):
        joined = torch.cat(halves[turn * parts : (turn + 1) * parts])
        torch.testing.assert_close(joined, fake, rtol=1e-3, atol=1e-4)
    expected, found = whole.meter.means(), split.meter.means()
    for name in ("D/real", "D/fake", "G/fake"):
        assert found[name] == pytest.approx(expected[name], rel=1e-3, abs=1e-5)
