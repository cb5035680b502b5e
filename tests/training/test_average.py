"""The running average of a network."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import nn

from ganfold.data import load
from ganfold.gans import find
from ganfold.interface.settings import Settings
from ganfold.runs.record import DataRecord, RunRecord
from ganfold.training.average import Average
from ganfold.training.ranks import Ranks
from ganfold.training.trainer import make_trainer


def test_the_half_life_is_one() -> None:
    network = nn.Linear(1, 1)
    nn.init.constant_(network.weight, 0.0)
    average = Average(network, half_life_images=1000)
    nn.init.constant_(network.weight, 1.0)
    for step in range(100):
        average.update(network, images_step=10, images_seen=10**6 + 10 * step)
    assert isinstance(average.network, nn.Linear)
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
    assert average.network.running_mean is not None
    assert network.running_mean is not None
    assert torch.equal(average.network.running_mean, network.running_mean)
    assert not any(weight.requires_grad for weight in average.parameters())
    assert not average.network.training


def test_a_larger_share_remembers_longer() -> None:
    left = []
    for share in (0.05, 0.2):
        network = nn.Linear(1, 1)
        nn.init.constant_(network.weight, 0.0)
        average = Average(network, half_life_images=10**6, share=share)
        nn.init.constant_(network.weight, 1.0)
        for step in range(50, 101):
            average.update(network, images_step=10, images_seen=10 * step)
        left.append(1 - average.network.weight.item())
    assert left[0] < 0.01 < left[1]


@pytest.mark.parametrize(("gan", "asked", "kimg", "share"), [
    ("dcgan", None, 10, 0.05), ("rsgan", None, 100, 0.2), ("rsgan", 3.0, 3, 0.2),
])  # fmt: skip
def test_each_gan_has_its_own_unless_the_user_asks(
    gan: str, asked: float | None, kimg: float, share: float, squares: Path
) -> None:
    images, settings = load(squares, held_out=0, progress=False), Settings(ema_kimg=asked)
    config = find(gan).config_class(batch=8, width=4)
    record = RunRecord(gan, asdict(config), settings, DataRecord.of(images))
    trainer = make_trainer(record, find(gan), images, torch.device("cpu"), Ranks("cpu"))
    assert (trainer.averages["G"].half_life_images, trainer.averages["G"].share) == (1000 * kimg, share)
