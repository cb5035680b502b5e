"""The running average of a network."""

import torch
from torch import nn

from ganfold.training.average import Average


def test_the_half_life_is_one() -> None:
    network = nn.Linear(1, 1)
    nn.init.constant_(network.weight, 0.0)
    average = Average(network, half_life_images=1000)
    nn.init.constant_(network.weight, 1.0)
    for step in range(100):
        average.update(network, images_step=10, images_seen=10**6 + 10 * step)
    assert torch.allclose(average.network.weight, torch.tensor(0.5), atol=1e-3)


def test_a_young_average_forgets_the_first_weights() -> None:
    network = nn.Linear(1, 1)
    nn.init.constant_(network.weight, 0.0)
    average = Average(network, half_life_images=10**6)
    nn.init.constant_(network.weight, 1.0)
    for step in range(1, 101):
        average.update(network, images_step=10, images_seen=10 * step)
    assert average.network.weight.item() > 0.99


def test_running_statistics_are_averaged_too_and_nothing_takes_gradients() -> None:
    network = nn.BatchNorm1d(2)
    average = Average(network, 0)
    network(torch.randn(8, 2) + 5)
    average.update(network, 8, 8)
    assert isinstance(average.network, nn.BatchNorm1d)
    assert torch.equal(average.network.running_mean, network.running_mean)
    assert not any(weight.requires_grad for weight in average.parameters())
    assert not average.network.training
