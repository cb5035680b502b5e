"""Selection: what is planted is found."""

from __future__ import annotations

import numpy as np
import pytest

from blobs import blobs
from ganfold.studies.selection import Selection, acceptance, select


@pytest.fixture(scope="module")
def found() -> Selection:
    """Of 3 x 8 images of two classes: 8 like the reals, 8 copies of them, 8 with the other's label."""
    reals, labels = blobs((30, 30))
    good, good_labels = blobs((4, 4), seed=1)
    copies = np.concatenate([reals[:4], reals[30:34]])
    wrong, wrong_labels = blobs((4, 4), seed=2)
    made = np.concatenate([good, copies, wrong])
    intended = np.concatenate([good_labels, good_labels, 1 - wrong_labels])
    return select(made, intended, reals, labels, 2)


def test_copies_are_rejected(found: Selection) -> None:
    assert found.copied[8:16].all()
    assert found.copied[:8].mean() < 0.2
    assert not found.kept[8:16].any()
    assert found.distance[8:16].max() == 0


def test_what_looks_like_another_class_is_rejected(found: Selection) -> None:
    assert min(found.real_recall) > 0.8
    assert found.agreement[:8].mean() > 0.5 > found.agreement[16:].mean()
    assert not found.kept[16:].any()


def test_acceptance_by_class_adds_up(found: Selection) -> None:
    rows = acceptance(found, ("red", "green"))
    assert [row["class"] for row in rows] == ["red", "green"]
    assert sum(row["made"] for row in rows) == 24
    assert sum(row["kept"] for row in rows) == found.kept.sum()
    assert all(row["copied"] >= 4 for row in rows)


def test_one_image_again_and_again_is_no_diversity() -> None:
    reals, labels = blobs((30, 30))
    one, two = blobs((1, 1), seed=3)[0]
    made = np.concatenate([np.repeat(one[None], 20, 0), np.repeat(two[None], 20, 0)])
    collapsed = select(made, np.repeat([0, 1], 20), reals, labels, 2)
    assert collapsed.refused() == [0, 1]
    varied, intended = blobs((20, 20), seed=1)
    assert select(varied, intended, reals, labels, 2).refused() == []
