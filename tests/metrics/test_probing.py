"""A linear classifier on D's features: the features themselves, the controls, and what is refused."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganfold
from ganfold.errors import GanfoldError
from ganfold.gans import find
from ganfold.gans.contract import Shape
from ganfold.metrics.probing import features_of
from ganfold.runs.run import Run


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 images of 16 px in three classes: noise, somewhat red, green or blue."""
    random = np.random.default_rng(0)
    labels = np.arange(240) % 3
    images = random.integers(0, 160, (240, 16, 16, 3))
    images[np.arange(240), :, :, labels] += 60
    path = tmp_path_factory.mktemp("coloured") / "coloured.npz"
    np.savez(path, images=images.astype(np.uint8), labels=labels)
    return path


def trained(gan: str, data: Path, out: Path, **options: Any) -> Run:
    options = {"batch": 8, "resolution": 16, "held_out": 0.25, "evaluate_every": 0} | options
    if "width" in {field.name for field in fields(find(gan).config_class)}:
        options["width"] = 4
    return ganfold.train(gan, data, out, kimg=0.1, progress=False, **options)


@pytest.fixture(scope="module")
def run(coloured: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained("dcgan", coloured, tmp_path_factory.mktemp("probe") / "run")


def test_features_are_each_layers_map_pooled_to_four_by_four() -> None:
    torch.manual_seed(0)
    gan_class = find("dcgan")
    gan: Any = gan_class(gan_class.config_class(width=4), Shape(3, 32)).eval()
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32), np.uint8)
    found = features_of(gan.D, images)
    assert found.shape == (5, 16 * (4 + 8 + 16))
    trunk = gan.D[0]
    first = trunk[1](trunk[0](torch.from_numpy(images).float() / 127.5 - 1))
    pooled = torch.nn.functional.max_pool2d(first, 4).flatten(1)
    np.testing.assert_allclose(found[:, :64], pooled.detach().numpy(), rtol=1e-4, atol=1e-5)
    assert not any(layer._forward_hooks for layer in gan.modules())  # nothing stays behind


def test_what_can_be_told_apart_is_and_the_table_has_its_controls(run: Run) -> None:
    result = ganfold.probe(run, labels=(5, 20), draws=2, progress=False)
    assert result["pixels"].accuracy[1] > 0.95
    assert all(0 <= value <= 1 for row in result.rows for value in row.accuracy)
    assert {row.name for row in result.rows} >= {"this D", "the same D untrained", "an ImageNet network"}
    assert result["this D"].accuracy != result["the same D untrained"].accuracy
    assert json.loads((run.path / "probe.json").read_text())["labels"] == [5, 20]
    assert ganfold.probe(run, labels=(5, 20), draws=2, progress=False).rows == result.rows
    assert any("5 a class" in line and "20 a class" in line for line in result.lines())


def test_labels_without_any_relation_to_the_images_give_chance(squares: Path, tmp_path: Path) -> None:
    run = trained("dcgan", squares, tmp_path / "run", held_out=0.5)
    result = ganfold.probe(run, labels=(10,), progress=False)
    assert all(abs(row.accuracy[0] - 1 / 3) < 0.2 for row in result.rows)


def test_other_images_can_be_classified(run: Run, squares: Path, tmp_path: Path) -> None:
    with pytest.raises(GanfoldError, match="holds out no image of"):
        ganfold.probe(run, squares, labels=(5,), progress=False)  # too few for a held-out part


def test_refusals_are_sentences(run: Run, coloured: Path, tmp_path: Path) -> None:
    with pytest.raises(GanfoldError, match="fewer than the 500 labels requested: give fewer by --labels"):
        ganfold.probe(run, labels=(500,), progress=False)
    with pytest.raises(GanfoldError, match="--labels must be 3 or more"):
        ganfold.probe(run, labels=(1,), progress=False)
    plain = tmp_path / "plain.npy"
    np.save(plain, np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), np.uint8))
    with pytest.raises(GanfoldError, match="has no classes to tell apart"):
        ganfold.probe(run, plain, labels=(5,), progress=False)
    told = trained("cgan", coloured, tmp_path / "told")
    with pytest.raises(GanfoldError, match="is a cgan: it has no discriminator that judges an image by itself"):
        ganfold.probe(told, labels=(5,), progress=False)


@pytest.mark.parametrize("gan", ["gan", "r3gan", "infogan", "wgan-gp", "rsgan"])
def test_every_other_discriminator_has_features(gan: str, coloured: Path, tmp_path: Path) -> None:
    run = trained(gan, coloured, tmp_path / gan)
    result = ganfold.probe(run, labels=(5,), draws=1, progress=False)
    assert result.protocol["features of D"] > 16
