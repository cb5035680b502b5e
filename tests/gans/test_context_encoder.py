"""The context encoder: what it hides, what D sees, and how errors count."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ganfold.gans.context_encoder import ChannelWise, Config, ContextEncoder
from ganfold.gans.contract import Batch, Shape
from ganfold.networks.degrade import centre_hole


def build(resolution: int = 32, channels: int = 3, **config: Any) -> ContextEncoder:
    torch.manual_seed(0)
    return ContextEncoder(Config(batch=4, width=4, **config), Shape(channels, resolution)).eval()


def batch(images: Tensor) -> Batch:
    made = Batch({"image": images}, torch.arange(len(images)))
    made.begin("test")
    return made


def images(count: int = 4, resolution: int = 32, channels: int = 3) -> Tensor:
    return torch.rand(count, channels, resolution, resolution, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("holes", ["centre", "random"])
def test_g_does_not_see_the_hole_and_keeps_all_else(holes: str) -> None:
    gan, real = build(holes=holes), images()
    condition = gan.condition(batch(real))
    other = torch.where(condition["mask"] > 0, -real, real)
    again = gan.condition(batch(other))
    assert torch.equal(condition["input"], again["input"])
    made = gan.sample(torch.zeros(4, 1), condition)
    outside = condition["mask"].expand_as(real) == 0
    assert torch.equal(made[outside], real[outside])
    assert (made - condition["input"])[~outside].abs().min() > 0
    assert 0 < condition["mask"].mean() < 0.6


def test_a_hole_in_the_middle_is_a_quarter_of_the_image_and_of_one_colour() -> None:
    for channels, colour in ((1, 118.0), (3, 123.7), (4, 123.7)):
        condition = build(channels=channels).condition(batch(images(channels=channels)))
        assert condition["mask"].mean() == 0.25
        assert condition["input"][0, 0, 16, 16] == pytest.approx(colour / 127.5 - 1)
        assert channels < 4 or condition["input"][0, 3, 16, 16] == 1  # opaque


def test_random_holes_differ_from_image_to_image_and_follow_from_the_batch() -> None:
    gan, real = build(holes="random"), images()
    masks, again = (gan.condition(batch(real))["mask"] for _ in range(2))
    assert torch.equal(masks, again)
    assert not torch.equal(masks[0], masks[1])


def test_d_sees_the_hole_alone_if_it_is_in_the_middle() -> None:
    real = images()
    outside = torch.where(centre_hole(real) > 0, real, -real)
    inside = torch.where(centre_hole(real) > 0, -real, real)
    centre, whole = build(), build(holes="random")
    assert torch.equal(centre.judge(batch(real), real), centre.judge(batch(real), outside))
    assert not torch.equal(centre.judge(batch(real), real), centre.judge(batch(real), inside))
    assert not torch.equal(whole.judge(batch(real), real), whole.judge(batch(real), outside))


def test_the_border_around_the_hole_weighs_ten_times() -> None:
    gan = build(64)
    assert gan.border == 4  # 7 pixels of 128, so 4 of 64
    real = images(resolution=64)
    mask = centre_hole(real)
    border, hole = 40**2 - 32**2, 32**2
    for where, expected in (
        (mask, hole),  # an error of 1 in the hole alone
        (1 - mask, 10 * border),  # an error outside alone, of which the border counts
    ):
        terms = batch(real)
        terms.update({"mask": mask, "painted": real + where})
        assert gan.reconstruction(terms).item() == pytest.approx(expected / (border + hole), rel=1e-5)


def test_losses_have_the_papers_weights() -> None:
    gan = build()
    step = batch(images())
    step.update(gan.fake(step))
    terms = gan.generator(step)
    assert terms["reconstruction"].item() == pytest.approx(0.999 * gan.reconstruction(step).item())
    logits = gan.judge(step, step["fake"])
    assert terms["adversarial"].item() == pytest.approx(0.001 * torch.nn.functional.softplus(-logits).mean().item())
    rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in gan.optimizers.items()}
    assert rates["G"] == pytest.approx(10 * rates["D"])


def test_the_bottleneck_connects_all_pixels_of_a_channel_and_then_the_channels() -> None:
    torch.manual_seed(0)
    layer = ChannelWise(3)
    x = torch.zeros(1, 3, 4, 4)
    x[0, 1, 0, 0] = 1
    torch.nn.init.dirac_(layer.mix.weight)
    made = layer(x)
    assert (made[0, 1] != 0).all()  # from one corner to everywhere ...
    assert (made[0, [0, 2]] == 0).all()  # ... in its channel
    assert torch.allclose(made[0, 1].flatten(), layer.weight[1, 0])
    torch.nn.init.ones_(layer.mix.weight)
    assert (layer(x) != 0).all()
