"""pix2pix: the form of the U-Net, dropout from z, the loss, and inputs made of images."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganfold.errors import GanfoldError
from ganfold.gans import find, noise
from ganfold.gans.contract import Batch, Shape
from ganfold.gans.pix2pix import Config, Generator, Pix2Pix
from ganfold.networks.patch import PatchGAN


def build(channels: int = 3, resolution: int = 16, **options: Any) -> Pix2Pix:
    torch.manual_seed(0)
    return Pix2Pix(Config(**({"batch": 4, "width": 4} | options)), Shape(channels, resolution, inputs=2))


def batch_of(channels: int = 3, count: int = 4, side: int = 16) -> Batch:
    image = noise.uniform(1, torch.arange(count), channels, side, side) * 2 - 1
    batch = Batch({"image": image, "input": image[:, :2]}, torch.arange(count))
    batch.begin("test")
    return batch


def test_the_networks_are_the_papers() -> None:
    """Sec. 6.1 at 256 px: widths on the way down, inputs on the way up, and 54.4 M weights as its code has (with the
    biases before BatchNorm that do nothing); D sees 70 x 70 pixels and has 2.77 M."""
    with torch.device("meta"):
        G, D = Generator(3, 64, Shape(3, 256)), PatchGAN(6, 64, 256, 70, nn.BatchNorm2d)
    down = [m.out_channels for m in G.down.modules() if isinstance(m, nn.Conv2d)]
    assert down == [64, 128, 256, 512, 512, 512, 512, 512]
    up = [m.in_channels for m in G.up.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert up == [512, 1024, 1024, 1024, 1024, 512, 256, 128]
    assert G.dropped == [512, 512, 512]
    assert round(sum(w.numel() for w in G.parameters()) / 1e6, 1) == 54.4
    assert round(sum(w.numel() for w in D.parameters()) / 1e6, 2) == 2.77
    assert D(torch.empty(1, 6, 256, 256, device="meta")).shape == (1, 1, 30, 30)


@pytest.mark.parametrize(("resolution", "reach", "seen"), [(128, 70, 70), (64, 70, 34), (64, 16, 16), (16, 70, 16)])
def test_a_logit_sees_this_many_pixels(resolution: int, reach: int, seen: int) -> None:
    torch.manual_seed(0)
    D = PatchGAN(1, 4, resolution, reach, nn.Identity).double()
    images = torch.zeros(1, 1, 256, 256, dtype=torch.float64, requires_grad=True)
    logits = D(images)
    middle = logits.shape[2] // 2
    (gradient,) = torch.autograd.grad(logits[0, 0, middle, middle], images)
    touched = gradient[0, 0].abs().sum(0).nonzero().flatten()
    assert int(touched[-1] - touched[0]) + 1 == seen


def test_dropout_comes_from_z() -> None:
    gan, batch = build().eval(), batch_of()
    condition = gan.condition(batch)
    one, same, other = (gan.sample(noise.normal(key, torch.arange(4), *gan.latent), condition) for key in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    scaled = gan.sample(3 * noise.normal(1, torch.arange(4), *gan.latent), condition)
    assert torch.equal(one, scaled)  # only its signs count
    assert gan.latent == (16 + 8,)  # at 16 px two maps are dropped from, with 4 and 2 times the width


def test_the_loss_is_the_papers() -> None:
    gan, batch = build(), batch_of()
    batch.update(gan.fake(batch))
    x, y, fake = batch["input"], batch["image"], batch["fake"]
    terms = gan.generator(batch)
    torch.testing.assert_close(terms["l1"], 100 * (fake - y).abs().mean())
    logits = gan.D(torch.cat([x, fake], 1))
    torch.testing.assert_close(terms["fake"], -logits.sigmoid().log().mean())
    torch.testing.assert_close(gan.discriminator(batch)["fake"], -(1 - logits.sigmoid()).log().mean() / 2)


@pytest.mark.parametrize(("kind", "inputs"), [("edges", 1), ("grey", 1), ("lowres", 3), ("masked", 4), ("pairs", 2)])
def test_inputs_are_made_of_the_images(kind: str, inputs: int) -> None:
    gan, batch = build(input=kind), batch_of()
    assert gan.data_kind(gan.config) == ("pairs" if kind == "pairs" else "images")
    made = gan.fake(batch)
    assert made["input"].shape == (4, inputs, 16, 16)
    assert made["fake"].shape == batch["image"].shape
    if kind == "masked":
        seen = made["input"][:, 3:]
        assert set(seen.unique().tolist()) == {-1.0, 1.0}
        torch.testing.assert_close(made["input"][:, :3], torch.where(seen > 0, batch["image"], torch.zeros(())))


def test_d_sees_the_holes_that_g_saw() -> None:
    gan, batch, seen = build(input="masked"), batch_of(), []
    batch.update(gan.fake(batch))

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0][:, :4])

    gan.D.register_forward_pre_hook(note)
    batch.begin("another phase")
    gan.discriminator(batch)
    gan.generator(batch)
    assert len(seen) == 3
    assert all(torch.equal(x, batch["input"]) for x in seen)


@pytest.mark.parametrize(
    ("options", "channels", "message"),
    [({"input": "grey"}, 1, "--channels 3"), ({"input": "lowres", "scale": 3}, 3, "--scale 3 must divide")],
)
def test_what_cannot_be_made_is_refused(options: dict[str, Any], channels: int, message: str) -> None:
    with pytest.raises(GanfoldError, match=message):
        build(channels, **options)


def test_it_learns_to_copy() -> None:
    """If input and target are the same, the L1 falls to a fraction within some steps."""
    gan_class = find("pix2pix")
    torch.manual_seed(0)
    gan: Any = gan_class(gan_class.config_class(width=8, lr=2e-3), Shape(1, 16, inputs=1))
    losses = []
    for step in range(60):
        image = (noise.uniform(step, torch.arange(16), 1, 4, 4) * 2 - 1).repeat_interleave(4, 2).repeat_interleave(4, 3)
        batch = Batch({"image": image, "input": image}, torch.arange(16))
        batch.begin(step)
        batch.update(gan.fake(batch))
        loss = gan.generator(batch)["l1"]
        gan.optimizers["G"].zero_grad()
        loss.backward()
        gan.optimizers["G"].step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 3


def test_the_rate_falls_in_the_second_half() -> None:
    gan = build(decay_kimg=100.0)
    assert [gan.rate(images) for images in (0, 50_000, 75_000, 10**9)] == [1, 1, pytest.approx(0.5), 0.01]
