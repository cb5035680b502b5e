"""What every GAN must do. A new one joins by standing in `GANS`: it needs no test code of its own."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ganfold.data import ImageSet
from ganfold.data.fields import Fields
from ganfold.errors import GanfoldError
from ganfold.gans import GANS, find, noise
from ganfold.gans.contract import GAN, Batch, Shape, Terms
from ganfold.training.trainer import Trainer
from tiny import RGB, images_for, rich_images, small_gan, small_trainer


@pytest.fixture(scope="module")
def images(squares: Path) -> ImageSet:
    return rich_images(squares)


def given(gan: GAN, images: ImageSet, count: int) -> Terms:
    """What its samples are made from, of the first images."""
    fields = Fields(images, torch.device("cpu"))(np.arange(count), np.arange(count))
    batch = Batch(fields, torch.arange(count))
    batch.begin("test")
    return gan.given(batch)


def same(one: Trainer, other: Trainer) -> bool:
    (tensors, state), (others, other_state) = one.state(), other.state()
    return (
        tensors.keys() == others.keys()
        and all(torch.equal(value, others[name]) for name, value in tensors.items())
        and state == other_state
    )


@pytest.mark.parametrize("name", GANS)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_have_the_asked_for_shape_and_range(name: str, channels: int, images: ImageSet) -> None:
    gan = small_gan(name, replace(RGB, channels=channels, inputs=channels)).eval()
    pixels = np.repeat(images.images[:, :1], channels, 1)
    shown = replace(images, images=pixels, inputs=replace(images, images=pixels))
    made = gan.sample(noise.normal(1, torch.arange(5), *gan.latent), given(gan, images_for(name, shown), 5))
    assert made.shape == (5, channels, 16, 16)
    assert made.abs().max() <= 1
    assert made.std() > 0


@pytest.mark.parametrize("name", GANS)
def test_a_phase_moves_exactly_what_its_optimizer_owns(name: str, images: ImageSet) -> None:
    subject = small_trainer(name, images)
    subject.step()  # what begins at zero hides what stands before it from the first gradient
    subject.gan.seen.fill_(10**6)  # and so does what is let in slowly
    names = {id(weight): key for key, weight in subject.gan.named_parameters()}
    batch = subject.batches.draw(0)
    for number, phase in enumerate(subject.gan.phases):
        batch.begin("test", number)
        if phase.early:
            batch.update({key: value.detach() for key, value in phase.early(batch).items()})
    for number, phase in enumerate(subject.gan.phases):
        batch.begin("test", number)
        if phase.early:
            with subject._training(phase):
                batch.update(phase.early(batch))
        before = {key: weight.clone() for key, weight in subject.gan.named_parameters()}
        subject._update(number, phase, batch)
        moved = {key for key, weight in subject.gan.named_parameters() if not torch.equal(weight, before[key])}
        owned = {
            names[id(w)] for group in subject.gan.optimizers[phase.optimizer].param_groups for w in group["params"]
        }
        assert moved == owned
        assert not any(weight.requires_grad for weight in subject.gan.parameters())


@pytest.mark.parametrize("name", GANS)
def test_every_weight_is_owned_and_every_phase_has_terms(name: str, images: ImageSet) -> None:
    subject = small_trainer(name, images)
    owned = [weight for weights in subject._owned.values() for weight in weights]
    assert {id(w) for w in owned} == {id(w) for w in subject.gan.parameters()}
    subject.step()
    means = subject.meter.means()
    for phase in (phase for phase in subject.gan.phases if phase.since <= 0 < phase.until):
        total = sum(value for key, value in means.items() if key.startswith(f"{phase.optimizer}/"))
        assert means[f"Loss_{phase.optimizer}"] == pytest.approx(total, rel=1e-5)
        assert means[f"grad_norm/{phase.optimizer}"] > 0


@pytest.mark.parametrize("name", GANS)
def test_the_same_seed_gives_the_same_bits(name: str, images: ImageSet) -> None:
    one, other = small_trainer(name, images), small_trainer(name, images)
    for _ in range(3):
        one.step()
        torch.rand(7)  # whatever else draws from torch's own generator must not matter
        other.step()
    assert same(one, other)


@pytest.mark.parametrize("name", GANS)
@pytest.mark.parametrize("stop", [0, 1, 3])
def test_resume_gives_the_same_bits(name: str, stop: int, images: ImageSet) -> None:
    whole, first, second = (small_trainer(name, images) for _ in range(3))
    for _ in range(5):
        whole.step()
    for _ in range(stop):
        first.step()
    tensors, state = first.state()
    second.load({key: value.clone() for key, value in tensors.items()}, state)
    for _ in range(5 - stop):
        second.step()
    assert same(whole, second)


@pytest.mark.parametrize("name", GANS)
def test_the_averaged_generator_follows_and_makes_the_samples(name: str, images: ImageSet) -> None:
    subject = small_trainer(name, images)
    z, made_from = noise.normal(0, torch.arange(4), *subject.gan.latent), given(subject.gan, subject.batches.data, 4)
    before = subject.sample(z, made_from)
    for _ in range(3):
        subject.step()
    for network in subject.gan.averaged:
        live = dict(getattr(subject.gan, network).named_parameters())
        for key, weight in subject.averages[network].network.named_parameters():
            assert not torch.equal(weight, live[key])  # it lags behind
    assert not torch.equal(subject.sample(z, made_from), before)


@pytest.mark.parametrize("name", GANS)
def test_the_file_leaves_to_the_trainer_what_is_its(name: str) -> None:
    text = Path(__import__(GANS[name][0], fromlist=["x"]).__file__).read_text()
    code = re.sub(r'""".*?"""|#.*', "", text, flags=re.S)
    for word in (
        ".item(",
        "detach",
        "no_grad",
        "zero_grad",
        "retain_graph",
        ".backward",
        ".cuda",
        "device",
        "torch.rand",
        "open(",
    ):
        assert word not in code, f"{name} says {word}"
    assert len(text.splitlines()) <= 150
    imported = set(re.findall(r"^(?:from|import) (\S+)", code, flags=re.M))
    allowed = re.compile(
        r"__future__|collections|dataclasses|itertools|math|typing|torch|ganfold\.(errors|gans|networks)"
    )
    assert all(allowed.match(module) for module in imported), imported


@pytest.mark.parametrize("name", GANS)
def test_every_default_is_explained(name: str) -> None:
    text = Path(__import__(GANS[name][0], fromlist=["x"]).__file__).read_text()
    block = text[text.index("class Config") : text.index("\n\n\n", text.index("class Config"))]
    for line in block.splitlines()[1:]:
        assert "  # " in line, f"no reason given: {line}"


@pytest.mark.parametrize("name", GANS)
@pytest.mark.parametrize("native", [8, 16, 28, 32, 48, 60, 64, 100, 1000])
def test_the_default_resolution_can_be_made(name: str, native: int) -> None:
    resolution = find(name).resolution(native)
    small_gan(name, replace(RGB, resolution=resolution))
    assert resolution <= max(64, native)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(GanfoldError, match=r"no GAN 'dcgam'; did you mean 'dcgan'\?"):
        find("dcgam")
    with pytest.raises(GanfoldError, match="known: rsgan, r3gan, dcgan"):
        find("zzz")


def test_dcgan_refuses_a_resolution_that_it_cannot_make() -> None:
    with pytest.raises(GanfoldError, match="16, 32, 64, 128 or 256 pixels a side, not 48"):
        small_gan("dcgan", Shape(3, 48))


def test_dcgan_is_the_papers() -> None:
    """Weights at 64 px as in the paper's fig. 1 at half its width, and as pytorch/examples counts them."""
    kind = find("dcgan")
    torch.manual_seed(0)
    gan = kind(kind.config_class(), Shape(3, 64))
    count = {name: sum(w.numel() for w in net.parameters()) for name, net in gan.named_children()}
    assert count == {"G": 3_576_704, "D": 2_765_568}
    convolutions = [w for w in gan.parameters() if w.ndim == 4]
    assert all(abs(w.std() - 0.02) < 0.002 for w in convolutions)
    gains = torch.cat([m.weight for m in gan.modules() if isinstance(m, torch.nn.BatchNorm2d)])
    assert abs(gains.mean() - 1) < 0.005
    assert abs(gains.std() - 0.02) < 0.005
    with torch.no_grad():
        assert gan.D(torch.zeros(5, 3, 64, 64)).shape == (5,)
