"""CycleGAN: its networks, the pool of earlier fakes, the decay, the losses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganfold.data import ImageSet, load
from ganfold.errors import GanfoldError
from ganfold.gans import noise
from ganfold.gans.contract import Batch, Shape
from ganfold.gans.cyclegan import Config, CycleGAN, Generator
from ganfold.networks.patch import PatchGAN
from ganfold.networks.pool import Pool
from ganfold.training.batches import Batches
from ganfold.training.ranks import Ranks
from ganfold.training.trainer import Trainer

CPU = torch.device("cpu")


def build(shape: Shape = Shape(3, 16, inputs=3), **options: Any) -> CycleGAN:  # noqa: B008  frozen
    torch.manual_seed(0)
    return CycleGAN(Config(**({"batch": 4, "width": 4, "blocks": 1, "pool": 6} | options)), shape)


@pytest.fixture(scope="module")
def domains(squares: Path) -> ImageSet:
    images = load(squares, progress=False)
    return replace(images, inputs=replace(images, images=255 - images.images))


def trainer(domains: ImageSet, **options: Any) -> Trainer:
    ranks = Ranks("cpu")
    batches = Batches(domains, seed=0, size=4, ranks=ranks, device=CPU, flips=False)
    return Trainer(build(**options), batches, seed=0, device=CPU, ranks=ranks, ema_images=1000)


def test_the_networks_are_the_papers() -> None:
    """Sec. 7.2: 11.4 M weights with 9 blocks, 2.76 M in each D: the authors' code without biases before norms."""
    with torch.device("meta"):
        G, D = Generator(3, 3, 64, 9), PatchGAN(3, 64, 256, 70, nn.InstanceNorm2d)
    assert round(sum(w.numel() for w in G.parameters()) / 1e6, 1) == 11.4
    assert round(sum(w.numel() for w in D.parameters()) / 1e6, 2) == 2.76
    assert G(torch.empty(1, 3, 100, 64, device="meta")).shape == (1, 3, 100, 64)


def pooled(size: int, fresh: Tensor, parts: int = 1) -> tuple[Tensor, Pool]:
    pool = Pool(size, *fresh.shape[1:3])
    drawn = noise.uniform(7, torch.arange(len(fresh)), 2)
    pieces = zip(fresh.tensor_split(parts), drawn.tensor_split(parts), strict=True)
    return torch.cat([pool(*piece) for piece in pieces]), pool


def test_the_pool_fills_and_then_shows_earlier_fakes_half_of_the_time() -> None:
    fresh = torch.arange(1000.0)[:, None, None, None].expand(-1, 1, 2, 2)
    shown, pool = pooled(50, fresh)
    assert torch.equal(shown[:50], fresh[:50])
    earlier = shown[50:, 0, 0, 0] != torch.arange(50.0, 1000.0)
    assert 0.45 < earlier.float().mean() < 0.55
    values = shown[:, 0, 0, 0].tolist()
    assert all(value <= place for place, value in enumerate(values))
    kept = pool.images[:, 0, 0, 0].tolist()
    assert sorted(values[50:] + kept) == list(range(1000))  # a fake that D has seen from the pool has left it


def test_a_batch_in_parts_goes_through_the_pool_as_the_whole() -> None:
    fresh = torch.arange(40.0)[:, None, None, None].expand(-1, 1, 2, 2)
    (whole, pool), (parts, other) = pooled(8, fresh), pooled(8, fresh, 5)
    assert torch.equal(whole, parts)
    assert torch.equal(pool.images, other.images)


def test_the_pool_goes_on_to_the_bit_after_a_resume(domains: ImageSet) -> None:
    whole, first, second = (trainer(domains) for _ in range(3))
    for _ in range(6):
        whole.step()
    for _ in range(4):
        first.step()
    tensors, state = first.state()
    assert int(tensors["gan.pool_y.count"]) == 6  # the pool is full, and swaps
    second.load({name: value.clone() for name, value in tensors.items()}, state)
    for _ in range(2):
        second.step()
    ones, others = whole.state()[0], second.state()[0]
    assert all(torch.equal(value, others[name]) for name, value in ones.items())
    moved = trainer(domains)
    moved.load(
        {name: value.clone() for name, value in tensors.items()} | {"gan.pool_y.images": -tensors["gan.pool_y.images"]},
        state,
    )
    for _ in range(2):
        moved.step()
    assert not torch.equal(moved.gan.D_Y[0].weight, second.gan.D_Y[0].weight)  # the content of the pool matters


def test_a_step_in_parts_is_the_step_of_the_whole(domains: ImageSet) -> None:
    whole, parts = trainer(domains), trainer(domains)
    parts.parts = 2
    for subject in (whole, parts):
        for _ in range(3):
            subject.step()
    for (name, one), other in zip(whole.gan.state_dict().items(), parts.gan.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=2e-4, msg=name)


def test_the_rate_falls_in_the_second_half() -> None:
    gan = build(decay_kimg=100.0)
    assert [gan.rate(images) for images in (0, 50_000)] == [1, 1]
    assert gan.rate(75_000) == pytest.approx(0.5)
    assert gan.rate(100_000) == gan.rate(10**9) == 0.01


def test_the_losses_are_the_papers() -> None:
    gan = build(identity=0.5)
    fields = {
        name: noise.uniform(key, torch.arange(4), 3, 16, 16) * 2 - 1 for key, name in enumerate(("input", "image"))
    }
    batch = Batch(fields, torch.arange(4))
    batch.begin("test")
    batch.update(gan.fake(batch))
    x, y = batch["input"], batch["image"]
    torch.testing.assert_close(batch["fake"], gan.G(x))
    terms = gan.generator(batch)
    torch.testing.assert_close(
        terms["game"], (gan.D_Y(gan.G(x)) - 1).square().mean() + (gan.D_X(gan.F(y)) - 1).square().mean()
    )
    torch.testing.assert_close(
        terms["cycle"], 10 * ((gan.F(gan.G(x)) - x).abs().mean() + (gan.G(gan.F(y)) - y).abs().mean())
    )
    torch.testing.assert_close(terms["identity"], 5 * ((gan.G(y) - y).abs().mean() + (gan.F(x) - x).abs().mean()))
    d = gan.discriminator(batch)
    torch.testing.assert_close(d["real y"], (gan.D_Y(y) - 1).square().mean() / 2)
    torch.testing.assert_close(d["fake x"], gan.D_X(gan.F(y)).square().mean() / 2)
    assert "identity" not in build().generator(batch)


def test_the_two_kinds_may_differ_in_channels_unless_identity_compares_them() -> None:
    gan = build(Shape(3, 16, inputs=1))
    assert gan.F(gan.G(torch.zeros(1, 1, 16, 16))).shape == (1, 1, 16, 16)
    with pytest.raises(GanfoldError, match="1 and 3 channels differ"):
        build(Shape(3, 16, inputs=1), identity=0.5)


def test_smooth_smooths_the_images_of_both_generators() -> None:
    gan = build(Shape(3, 16, inputs=1), smooth=True)
    x = noise.uniform(3, torch.arange(4), 3, 16, 16) * 2 - 1
    for network, channels in ((gan.G, 3), (gan.F, 1)):
        drawn = nn.Sequential(*list(network)[:-1])(x[:, : 4 - channels])
        made = network(x[:, : 4 - channels])
        assert drawn.shape == (4, channels + 1, 16, 16)
        assert made.shape == (4, channels, 16, 16)
        assert 0 < made.diff(dim=3).abs().mean() < 0.9 * drawn[:, :-1].diff(dim=3).abs().mean()
