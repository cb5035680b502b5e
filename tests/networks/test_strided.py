"""Each layer gives PyTorch's values and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganfold.networks import strided
from ganfold.networks.strided import Double, Forms, FromLatent, Halve, ToLogit


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


def taken(module: nn.Module, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the layer takes the matrix product."""
    calls = []
    for name in ("_Halve", "_Double"):
        function = getattr(strided, name)
        with monkeypatch.context() as patch:
            patch.setattr(function, "apply", lambda *a, f=function.apply: calls.append(1) or f(*a))
            module(x)
    return bool(calls)


@pytest.mark.parametrize("is_faster", [True, False])
def test_a_form_is_measured_once_for_each_shape_and_then_used(is_faster: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[Any] = []
    monkeypatch.setattr(strided, "_is_faster", lambda *a: measured.append(a) or is_faster)
    monkeypatch.setattr(strided, "LEAST", 24)
    noted: list[tuple[str, bool]] = []
    forms = Forms(note=lambda shape, faster: noted.append((shape, faster)))
    layer, x = Halve(4, 6), torch.randn(5, 4, 8, 8)
    with forms.used():
        assert [taken(layer, x, monkeypatch) for _ in range(3)] == [is_faster] * 3
        assert len(measured) == 1
        Halve(4, 5)(x)  # it has too few channels
        layer(torch.randn(5, 4, 64, 64))  # its smaller map is larger than what the product is measured for
        assert len(measured) == 1
    assert noted == [("Halve 6x4 4 px, 8 images", is_faster)]
    assert not taken(layer, x, monkeypatch), "outside, the fixed rule holds"
    with Forms(forms.table).used():
        assert taken(layer, x, monkeypatch) == is_faster
        layer(torch.randn(1, 4, 8, 8))
    assert len(measured) == 1, "without `note` nothing is measured"


def test_measuring_changes_neither_random_numbers_nor_gradients_and_works_while_sampling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(strided, "LEAST", 0)
    layer, x = Double(6, 4), torch.randn(2, 6, 4, 4)
    state = torch.get_rng_state()
    with Forms(note=lambda *_: None).used():
        with torch.inference_mode():
            layer(x)
        layer(torch.cat([x, x, x])).sum().backward()
    assert torch.equal(torch.get_rng_state(), state)
    expected = Double(6, 4)
    expected.load_state_dict(layer.state_dict())
    expected(torch.cat([x, x, x])).sum().backward()
    torch.testing.assert_close(layer.weight.grad, expected.weight.grad)


def test_the_first_map_can_be_exported_for_any_batch() -> None:
    layer, z = FromLatent(5, 7), torch.randn(4, 5)
    exported = torch.export.export(layer, (z[:2],), dynamic_shapes={"z": {0: torch.export.Dim("batch")}}).module()
    torch.testing.assert_close(exported(z), layer(z))
