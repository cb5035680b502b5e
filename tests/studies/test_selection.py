"""Selection: it detects the copies and the wrong classes that are planted."""

from __future__ import annotations

import numpy as np
import pytest

from blobs import blobs
from ganfold.studies.selection import Selection, select


@pytest.fixture(scope="module")
def selection() -> Selection:
    """The judgement of 3 x 8 images of two classes: 8 like the reals, 8 copies of them, 8 with the other label."""
    reals, labels = blobs((30, 30))
    good, good_labels = blobs((4, 4), seed=1)
    copies = np.concatenate([reals[:4], reals[30:34]])
    wrong, wrong_labels = blobs((4, 4), seed=2)
    made = np.concatenate([good, copies, wrong])
    intended = np.concatenate([good_labels, good_labels, 1 - wrong_labels])
    return select(made, intended, reals, labels, 2)


def test_copies_are_rejected(selection: Selection) -> None:
    assert selection.copied[8:16].all()
    assert selection.copied[:8].mean() < 0.2
    assert not selection.kept[8:16].any()
    assert selection.distance[8:16].max() == 0


def test_what_looks_like_another_class_is_rejected(selection: Selection) -> None:
    assert min(selection.real_recall) > 0.8
    assert selection.agreement[:8].mean() > 0.5 > selection.agreement[16:].mean()
    assert not selection.kept[16:].any()


def test_acceptance_by_class_adds_up(selection: Selection) -> None:
    rows = selection.acceptance(("red", "green"))
    assert [row["class"] for row in rows] == ["red", "green"]
    assert sum(row["made"] for row in rows) == 24
    assert sum(row["kept"] for row in rows) == selection.kept.sum()
    assert all(row["copied"] >= 4 for row in rows)


def test_one_image_again_and_again_is_no_diversity() -> None:
    reals, labels = blobs((30, 30))
    one, two = blobs((1, 1), seed=3)[0]
    made = np.concatenate([np.repeat(one[None], 20, 0), np.repeat(two[None], 20, 0)])
    collapsed = select(made, np.repeat([0, 1], 20), reals, labels, 2)
    assert collapsed.refused() == [0, 1]
    varied, intended = blobs((20, 20), seed=1)
    assert select(varied, intended, reals, labels, 2).refused() == []
