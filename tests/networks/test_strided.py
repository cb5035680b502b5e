"""Each layer gives PyTorch's values and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganfold.networks import strided
from ganfold.networks.strided import Double, FromLatent, Halve, ToLogit


def gradients(module: Any, x: Tensor, forward: Callable[[Any, Tensor], Tensor] | None) -> tuple[Tensor, ...]:
    x = x.clone().requires_grad_()
    out = forward(module, x) if forward else module(x)
    weight = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view(out.shape)
    return out, *torch.autograd.grad((out * weight).sum(), [x, module.weight])


def plain_latent(module: nn.Module, z: Tensor) -> Tensor:
    return nn.ConvTranspose2d.forward(module, z[:, :, None, None])  # type: ignore[arg-type]


def plain_logit(module: nn.Module, x: Tensor) -> Tensor:
    return nn.Conv2d.forward(module, x).flatten(0)  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("make", "shape", "plain"),
    [
        (lambda: Halve(5, 7), (3, 5, 8, 8), nn.Conv2d.forward),
        (lambda: Double(5, 7), (3, 5, 4, 4), nn.ConvTranspose2d.forward),
        (lambda: FromLatent(5, 7), (3, 5), plain_latent),
        (lambda: ToLogit(5), (3, 5, 4, 4), plain_logit),
    ],
)
def test_values_and_gradients_are_pytorchs(make, shape, plain, layout, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(strided, "WIDE", 0)
    torch.manual_seed(0)
    module = make().double().to(memory_format=layout)
    x = torch.randn(shape, dtype=torch.float64)
    for mine, theirs in zip(gradients(module, x, None), gradients(module, x, plain), strict=True):
        assert mine.shape == theirs.shape
        assert torch.allclose(mine, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("make", "shape"), [(Halve, (2, 256, 8, 8)), (Double, (2, 512, 4, 4))])
def test_the_product_is_taken_on_wide_and_small_maps_only(make, shape, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    taken = []
    for name in ("_Halve", "_Double"):
        function = getattr(strided, name)
        monkeypatch.setattr(function, "apply", lambda *a, f=function.apply: taken.append(1) or f(*a))
    module = make(shape[1], 768 - shape[1])
    module(torch.randn(shape))
    assert taken == [1]
    module(torch.randn(shape[0], shape[1], 16, 16))
    make(8, 8)(torch.randn(2, 8, 8, 8))
    assert taken == [1]


def test_a_nonlinearity_may_change_the_product_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strided, "WIDE", 0)
    torch.manual_seed(0)
    module, x = Halve(3, 4).double(), torch.randn(2, 3, 8, 8, dtype=torch.float64)
    for mine, other in zip(
        gradients(module, x, lambda m, x: F.leaky_relu(m(x), 0.2, inplace=True)),
        gradients(module, x, lambda m, x: F.leaky_relu(nn.Conv2d.forward(m, x), 0.2)),
        strict=True,
    ):
        torch.testing.assert_close(mine, other)


def test_a_second_derivative_through_the_product_is_refused_not_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strided, "WIDE", 0)
    module, x = Halve(3, 4), torch.randn(2, 3, 8, 8, requires_grad=True)
    (slope,) = torch.autograd.grad(module(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()
