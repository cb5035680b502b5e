"""The networks of DCGAN, and the two arguments of D that have nothing to do with each other."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ganfold.errors import GanfoldError
from ganfold.networks import strided
from ganfold.networks.dcgan import Discriminator, Generator, initialise
from ganfold.networks.strided import Halve, halvings, pyramid


@pytest.mark.parametrize("resolution", [16, 32, 64, 128, 256])
def test_they_are_built_for_every_power_of_two(resolution: int) -> None:
    with torch.device("meta"):
        images = Generator(5, 2, 3, resolution)(torch.empty(4, 5))
        assert images.shape == (4, 3, resolution, resolution)
        assert Discriminator(2, 3, resolution)(images).shape == (4,)
    assert pyramid(2, resolution) == [2 << n for n in range(halvings(resolution))]


@pytest.mark.parametrize("resolution", [8, 48, 512])
def test_other_sizes_are_refused(resolution: int) -> None:
    with pytest.raises(GanfoldError, match=f"256 pixels a side, not {resolution}: give --resolution"):
        Discriminator(2, 3, resolution)


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("twice", [True, False])
def test_norm_and_second_derivatives_are_chosen_apart(norm: bool, twice: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strided, "WIDE", 0)  # as in a wide network: layers are matrix products unless `twice`
    torch.manual_seed(0)
    D = Discriminator(4, 3, 16, norm=nn.BatchNorm2d if norm else None, twice=twice).double()
    layers = list(D.modules())
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in layers) == norm
    assert all(layer.twice == twice for layer in layers if isinstance(layer, Halve))
    x = torch.randn(4, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(D(x).square().sum(), x, create_graph=True)
    if twice:
        slope.square().sum().backward()
    else:
        with pytest.raises(RuntimeError, match="once_differentiable"):
            slope.square().sum().backward()


def test_initialise_leaves_fully_connected_layers_alone() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Embedding(3, 4))
    before, state = {name: value.clone() for name, value in network.state_dict().items()}, torch.random.get_rng_state()
    network.apply(initialise)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)  # and draws nothing for them
