"""The example of a GAN from outside the package: `docs/examples/sngan.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ganfold import gans
from ganfold.data import ImageSet, load
from ganfold.gans.contract import Shape
from ganfold.training.batches import Batches
from ganfold.training.ranks import Ranks
from ganfold.training.trainer import Trainer

FILE = Path(__file__).parents[2] / "docs" / "examples" / "sngan.py"
SNGAN = gans.find(f"{FILE}:SNGAN")


@pytest.fixture(scope="module")
def images(squares: Path) -> ImageSet:
    return load(squares, progress=False)


@pytest.mark.parametrize("rounds", [1, 2])
def test_it_keeps_the_contract(rounds: int) -> None:
    found = gans.check(SNGAN, rounds=rounds)
    assert all(case.ok for case in found.cases), str(found)


def test_it_is_short() -> None:
    assert len(FILE.read_text().splitlines()) < 90


def test_no_layer_of_d_has_a_singular_value_above_one(images: ImageSet) -> None:
    """Miyato 2018, eq. 8: W / sigma(W) has the largest singular value 1. Power iteration comes close to that."""
    torch.manual_seed(0)
    gan: Any = SNGAN(SNGAN.config_class(batch=16, width=8, z_dim=8, lr=1e-3), Shape(3, 16))
    cpu, ranks = torch.device("cpu"), Ranks("cpu")
    batches = Batches(images, seed=0, size=16, ranks=ranks, device=cpu, flips=True)
    trainer = Trainer(gan, batches, seed=0, device=cpu, ranks=ranks, ema_images=1000)
    layers: list[Any] = [layer for layer in gan.D.modules() if isinstance(layer, nn.Conv2d)]
    raw = [layer.parametrizations.weight.original.clone() for layer in layers]
    for _ in range(30):
        trainer.step()
    gan.eval()
    assert len(layers) == 3  # 16 to 8, 8 to 4, and the logit
    for layer, before in zip(layers, raw, strict=True):
        largest = torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2)
        assert 0.95 <= largest <= 1.05
        assert not torch.equal(layer.parametrizations.weight.original, before)


def test_what_is_normalised_was_initialised_as_in_dcgan() -> None:
    """`initialise` does not reach a weight that is normalised already: the file must call it first."""
    torch.manual_seed(0)
    gan: Any = SNGAN(SNGAN.config_class(), Shape(3, 32))
    for layer in (layer for layer in gan.D.modules() if isinstance(layer, nn.Conv2d)):
        assert layer.parametrizations.weight.original.std().item() == pytest.approx(0.02, rel=0.1)
