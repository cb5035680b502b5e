"""SRGAN after its pretraining, which the few steps of the contract's tests do not reach."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import ganfold
from ganfold.data import load
from ganfold.errors import GanfoldError
from ganfold.gans.contract import Batch, Shape
from ganfold.gans.srgan import SRGAN, Config, Discriminator, Generator
from ganfold.metrics.features import extractor
from ganfold.training import checkups
from ganfold.training.batches import Batches
from ganfold.training.ranks import Ranks
from ganfold.training.trainer import Trainer

SMALL = Config(batch=8, width=4, blocks=1, scale=2, pretrain_kimg=0.016)  # two steps of pretraining


def trainer(squares: Path, config: Config = SMALL) -> Trainer:
    torch.manual_seed(0)
    gan, cpu, ranks = SRGAN(config, Shape(3, 16)), torch.device("cpu"), Ranks("cpu")
    images = load(squares, progress=False)
    batches = Batches(images, seed=0, size=8, ranks=ranks, device=cpu, flips=False)
    return Trainer(gan, batches, seed=0, device=cpu, ranks=ranks, ema_images=1000)


def weights(module: nn.Module) -> list[Tensor]:
    return [weight.clone() for weight in module.parameters()]


def test_first_pixels_alone_then_content_and_the_adversary(squares: Path) -> None:
    subject = trainer(squares)
    begin = weights(subject.gan.D)
    for _ in range(2):
        subject.step()
    assert {"pretraining/pixels"} == {n for n in subject.meter.means() if n.startswith(("pretraining/", "G/", "D/"))}
    assert all(map(torch.equal, begin, weights(subject.gan.D)))
    subject.meter.clear()
    subject.step()
    terms = {name for name in subject.meter.means() if name.startswith(("G/", "D/"))}
    assert terms == {"G/fake", "G/pixels", "G/features", "D/real", "D/fake"}
    assert not any(map(torch.equal, begin, weights(subject.gan.D)))


@pytest.mark.parametrize(("content", "terms"), [("pixels", {"fake", "pixels"}), ("features", {"fake", "features"})])
def test_the_requested_content(squares: Path, content: str, terms: set[str]) -> None:
    subject = trainer(squares, replace(SMALL, content=content, pretrain_kimg=0.0))  # type: ignore[arg-type]
    subject.step()
    assert {name.removeprefix("G/") for name in subject.meter.means() if name.startswith("G/")} == terms


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_resume_around_the_end_of_pretraining_gives_the_same_bits(squares: Path, stop: int) -> None:
    whole, first, second = (trainer(squares) for _ in range(3))
    for _ in range(5):
        whole.step()
    for _ in range(stop):
        first.step()
    tensors, state = first.state()
    second.load({key: value.clone() for key, value in tensors.items()}, state)
    for _ in range(5 - stop):
        second.step()
    (one, counts), (other, others) = whole.state(), second.state()
    assert counts == others
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_learning_rate_of_each_part() -> None:
    gan = SRGAN(Config(width=4, blocks=1, pretrain_kimg=10, pretrain_lr=1e-3, lr=2e-4, drop_kimg=5), Shape(3, 16))
    assert [gan.rate(images) for images in (0, 10_000, 14_999, 15_000)] == [1.0, 1.0, 1.0, 0.1]
    rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in gan.optimizers.items()}
    assert rates == {"pretraining": 1e-3, "D": 2e-4, "G": 2e-4}


def test_a_plan_leaves_half_of_the_budget_to_the_adversary(squares: Path, tmp_path: Path) -> None:
    plan = ganfold.plan(squares, tmp_path, gan="srgan", minutes=2, progress=False)
    assert plan.options["pretrain_kimg"] == pytest.approx(plan.kimg / 2, rel=0.1)


def test_pretraining_learns(squares: Path) -> None:
    subject = trainer(squares, Config(batch=8, width=8, blocks=1, scale=2, pretrain_lr=3e-3))
    losses = []
    for _ in range(60):
        subject.step()
        losses.append(subject.meter.means()["pretraining/pixels"])
        subject.meter.clear()
    assert sum(losses[-5:]) < 0.2 * sum(losses[:5])


def test_the_networks_are_the_papers() -> None:
    gan = SRGAN(Config(), Shape(3, 96))
    convolutions = [m for m in gan.D.modules() if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [64, 64, 128, 128, 256, 256, 512, 512]
    assert [c.stride[0] for c in convolutions] == [1, 2, 1, 2, 1, 2, 1, 2]
    assert [m.out_features for m in gan.D.modules() if isinstance(m, nn.Linear)] == [1024, 1]
    assert sum(isinstance(m, nn.BatchNorm2d) for m in gan.D.modules()) == 7
    kernels = [m.kernel_size[0] for m in gan.G.modules() if isinstance(m, nn.Conv2d)]
    assert kernels == [9] + [3] * (32 + 1 + 2) + [9]
    assert sum(isinstance(m, nn.PReLU) for m in gan.G.modules()) == 1 + 16 + 2
    assert sum(isinstance(m, nn.BatchNorm2d) for m in gan.G.modules()) == 33


@pytest.mark.parametrize("resolution", [16, 32, 48, 64, 96, 128])
def test_the_discriminator_takes_every_size(resolution: int) -> None:
    judge = Discriminator(4, Shape(3, resolution))
    assert judge(torch.zeros(3, 3, resolution, resolution)).shape == (3,)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_the_generator_takes_every_size_and_sees_no_further_than_its_reach(scale: int) -> None:
    torch.manual_seed(0)
    config = Config(width=4, blocks=2, scale=scale)  # type: ignore[arg-type]
    network = Generator(config, 3).eval()
    reach = SRGAN(config, Shape(3, 16)).reach
    image = torch.randn(1, 3, 9, 51)
    changed = image.clone()
    changed[:, :, :, 25] += 1
    with torch.no_grad():
        difference = (network(image) - network(changed)).abs().amax((0, 1, 2))
    assert len(difference) == 51 * scale
    (touched,) = torch.nonzero(difference, as_tuple=True)
    assert touched.min() >= (25 - reach) * scale
    assert touched.max() < (26 + reach) * scale
    assert touched.min() < (25 - reach + 4) * scale  # and `reach` is not much too large


def test_the_condition_is_the_small_image_in_eight_bits() -> None:
    gan = SRGAN(SMALL, Shape(3, 16))
    low = gan.condition(Batch({"image": torch.rand(2, 3, 16, 16) * 2 - 1}, torch.arange(2)))["low"]
    assert low.shape == (2, 3, 8, 8)
    torch.testing.assert_close((low + 1) * 127.5, ((low + 1) * 127.5).round(), rtol=0, atol=1e-4)


def test_the_content_network_is_neither_trained_nor_saved(squares: Path) -> None:
    subject = trainer(squares, replace(SMALL, pretrain_kimg=0.0))
    subject.step()
    assert {name.split(".")[0] for name in subject.gan.state_dict()} == {"G", "D", "seen"}
    assert not any("features" in name for name in subject.state()[0] if not name.startswith("meter"))


def test_a_checkup_leaves_out_a_discriminator_that_has_learnt_nothing(
    squares: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkups, "efficientnet", lambda size, device: extractor("pixels"))
    monkeypatch.setattr(checkups, "LEAST", 20)
    subject = trainer(squares)
    examine = checkups.Checkup(load(squares, held_out=0.4, progress=False), 0, torch.device("cpu"))
    assert "opinion/fake" not in examine(subject)
    for _ in range(3):
        subject.step()
    assert "opinion/fake" in examine(subject)


def test_what_cannot_be_made_is_refused() -> None:
    with pytest.raises(GanfoldError, match=r"16, 32, 48, \.\.\. 256 pixels a side, not 40: give --resolution"):
        SRGAN(SMALL, Shape(3, 40))


def test_a_wrong_file_of_weights_fails_in_the_first_step(squares: Path, tmp_path: Path) -> None:
    subject = trainer(squares, replace(SMALL, vgg=str(tmp_path / "vgg19.pth")))
    with pytest.raises(GanfoldError, match=r"there is no file .*vgg19\.pth: give --vgg the state dict"):
        subject.step()
