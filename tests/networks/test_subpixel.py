"""The fast layer equals the convolution that it replaces."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from ganfold.networks.subpixel import OnShuffled


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (8, 8)])
def test_it_is_the_convolution_of_the_shuffled_map(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer = OnShuffled(5, 3).double()
    assert layer.bias is not None
    x = torch.randn(2, 20, *size, dtype=torch.float64, requires_grad=True)
    plain = F.conv2d(F.pixel_shuffle(x, 2), layer.weight, layer.bias, padding=4)
    made = layer(x)
    torch.testing.assert_close(made, plain)
    toward, to = torch.randn_like(plain), (x, layer.weight, layer.bias)
    for mine, theirs in zip(
        torch.autograd.grad((made * toward).sum(), to), torch.autograd.grad((plain * toward).sum(), to), strict=True
    ):
        torch.testing.assert_close(mine, theirs)
