"""R3GAN: its penalty compared with second derivatives, its schedules, its labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from ganfold.errors import GanfoldError
from ganfold.gans.contract import Batch, Shape
from ganfold.gans.r3gan import R3GAN, Config

SHAPE = Shape(3, 16)
LABELLED = Shape(3, 16, 3)


pytestmark = pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")


def build(shape: Shape = SHAPE, seen: int = 0, **options: Any) -> R3GAN:
    torch.manual_seed(0)
    gan = R3GAN(replace(Config(batch=8), **options), shape)
    for block in gan.modules():
        if isinstance(block, torch.nn.Conv2d) and not block.weight.any():  # as after some training
            torch.nn.init.normal_(block.weight, 0, 0.05)
    gan.seen.fill_(seen)
    return gan


def batch(count: int = 8, classes: int = 0, key: int = 0) -> Batch:
    source = torch.Generator().manual_seed(7)
    fields = {name: torch.randn(count, 3, 16, 16, generator=source) for name in ("image", "fake")}
    if classes:
        fields["label"] = torch.arange(count) % classes
    drawn = Batch(fields, torch.arange(count))
    drawn.begin("test", key)
    return drawn


def gradient(value: Tensor, gan: R3GAN) -> Tensor:
    weights = list(gan.D.parameters())
    found = torch.autograd.grad(value, weights, allow_unused=True)
    return torch.cat([(w * 0 if g is None else g).flatten() for w, g in zip(weights, found, strict=True)]).detach()


def test_differences_estimate_the_exact_penalty() -> None:
    """R1 + R2 over 1,000 images agree within 20 %, and their gradients in D's weights have the same direction."""
    gan = build(augment=0.0, share=1.0)
    drawn = batch(500)
    _, _, exact = gan.exact(drawn, drawn["image"], drawn["fake"])
    found, slope = [], torch.zeros(())
    for key in range(8):
        drawn.begin("test", key)
        _, _, difference = gan.differences(drawn, drawn["image"], drawn["fake"])
        found.append(float(difference))
        slope = slope + gradient(difference, gan) / 8
    errors = [abs(value / float(exact) - 1) for value in found]
    assert sum(errors) / len(errors) < 0.2
    assert abs(sum(found) / len(found) / float(exact) - 1) < 0.05
    # one direction for each image is noisy: 0.6 after one draw, 0.88 after these eight
    assert torch.cosine_similarity(slope, gradient(exact, gan), dim=0) > 0.8


@pytest.mark.parametrize("way", ["differences", "exact"])
def test_both_ways_judge_the_images_alike(way: str) -> None:
    gan = build(LABELLED, seen=10**6, augment=0.0)
    drawn = batch(8, classes=3)
    real, made, penalty = getattr(gan, way)(drawn, drawn["image"], drawn["fake"])
    assert torch.allclose(real, gan.D(drawn["image"], drawn["label"], torch.ones(())), atol=1e-5)
    assert torch.allclose(made, gan.D(drawn["fake"], drawn["label"], torch.ones(())), atol=1e-5)
    assert penalty > 0


def test_the_penalty_is_weighted_by_a_gamma_that_falls_to_a_tenth() -> None:
    terms = {}
    for seen in (0, 50_000, 10**6):
        gan = build(seen=seen, augment=0.0, gamma=2.0, decay_kimg=100.0)
        drawn = batch()
        _, _, slopes = gan.differences(drawn, drawn["image"], drawn["fake"])
        drawn.begin("test", 0)
        terms[seen] = float(gan.discriminator(drawn)["penalty"] / slopes)
    assert terms == pytest.approx({0: 1.0, 50_000: 0.55, 10**6: 0.1}, rel=1e-4)
    assert build().gamma == pytest.approx(5e-4 * 16 * 16)


def test_the_learning_rate_falls_along_a_cosine() -> None:
    gan = build(lr=4e-4, lr_end=1e-4, decay_kimg=100.0)
    assert [gan.rate(images) for images in (0, 50_000, 100_000, 10**7)] == pytest.approx([1, 0.625, 0.25, 0.25])


def test_d_and_g_want_the_opposite() -> None:
    gan = build(augment=0.0, centring=0.0)
    drawn = batch()
    real, made = gan.judge(drawn, drawn["image"]), gan.judge(drawn, drawn["fake"])
    d = float(gan.discriminator(drawn)["game"])
    g = float(gan.generator(drawn)["game"])
    assert d == pytest.approx(float(torch.log1p((made - real).exp()).mean()), rel=1e-5)
    assert g == pytest.approx(float(torch.log1p((real - made).exp()).mean()), rel=1e-5)


def test_centring_pulls_the_sum_of_the_logits_to_zero() -> None:
    gan = build(augment=0.0, centring=0.5)
    drawn = batch()
    total = gan.judge(drawn, drawn["image"]) + gan.judge(drawn, drawn["fake"])
    assert float(gan.discriminator(drawn)["centring"]) == pytest.approx(0.5 * float(total.square().mean()), rel=1e-4)


def test_d_judges_each_image_by_itself() -> None:
    gan, drawn = build(augment=0.0), batch()
    together = gan.judge(drawn, drawn["image"])
    alone = torch.cat([gan.judge(drawn, drawn["image"][i : i + 1]) for i in range(8)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_labels_count_more_and_more() -> None:
    z, label, drawn = torch.randn(3, 64), torch.tensor([0, 1, 2]), batch(3, classes=3)
    apart: dict[int, tuple[float, ...]] = {}
    for seen in (0, 25_000, 50_000, 10**6):
        gan = build(LABELLED, seen=seen, augment=0.0).eval()
        same, other = gan.sample(z, {"label": label}), gan.sample(z, {"label": label.roll(1)})
        judged = gan.judge(drawn, drawn["image"])
        drawn["label"] = drawn["label"].roll(1)
        otherwise = gan.judge(drawn, drawn["image"])
        apart[seen] = tuple(float((one - two).abs().mean()) for one, two in ((same, other), (judged, otherwise)))
        drawn["label"] = drawn["label"].roll(-1)
    assert max(apart[0]) == 0
    assert all(0 < early < late for early, late in zip(apart[25_000], apart[50_000], strict=True))
    assert apart[50_000] == pytest.approx(apart[10**6])


def test_it_is_unconditional_without_labels_or_on_request() -> None:
    assert build(LABELLED).conditional
    assert build(LABELLED).temper == 0.5
    for gan in (build(SHAPE), build(LABELLED, labels=False)):
        assert not gan.conditional
        assert gan.temper == 1.0
        assert gan.sample(torch.randn(2, 64)).shape == (2, 3, 16, 16)


def test_a_resolution_that_it_cannot_make_is_refused() -> None:
    with pytest.raises(GanfoldError, match="16, 32, 64, 128 or 256 pixels a side, not 48"):
        build(Shape(3, 48))
