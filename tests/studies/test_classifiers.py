"""Classifiers: they learn, equal seeds give equal answers, and each option of a recipe does what it should."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from blobs import blobs
from ganfold.errors import GanfoldError
from ganfold.studies.classifiers import (
    BATCH,
    Recipe,
    Training,
    _sampling,
    _views,
    _weighted,
    augmented,
    find_classifier,
    score,
)

CLASSICAL = Recipe(augment="classical")


@pytest.mark.parametrize("name", ["cnn", "features"])
def test_what_differs_is_told_apart_and_seeds_repeat(name: str) -> None:
    images, labels = blobs((12, 12, 6))
    test, answers = blobs((5, 5, 5), seed=1)
    classify = find_classifier(name, steps=40)
    training = Training(images, labels, 3)
    probabilities = classify(training, CLASSICAL, test, 0)
    assert probabilities.shape == (15, 3)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    assert score(probabilities, answers)["balanced_accuracy"] > 0.6
    np.testing.assert_array_equal(probabilities, classify(training, CLASSICAL, test, 0))
    assert not np.array_equal(probabilities, classify(training, CLASSICAL, test, 1))


def test_ones_own_classifier_needs_only_fit_and_predict() -> None:
    from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
    from sklearn.svm import LinearSVC

    images, labels = blobs((20, 20, 10))
    test, answers = blobs((10, 10, 10), seed=1)
    for make in (partial(KNeighborsClassifier, 3), NearestCentroid, LinearSVC):
        probabilities = find_classifier(make)(
            Training(images, labels, 3, images[40:], labels[40:]), Recipe(balanced=True), test, 0
        )
        assert score(probabilities, answers)["balanced_accuracy"] > 0.5
    assert score(probabilities, answers)["calibration_error"] is None  # answers without probabilities
    with pytest.raises(GanfoldError, match="there is no classifier 'cn'"):
        find_classifier("cn")


def test_oversampling_and_adjustment_raise_the_recall_of_a_rare_class() -> None:
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], [190, 10])
    images = random.integers(0, 256, (200, 1, 8, 8))
    images = (images * 0.5 + 30 * labels[:, None, None, None] + random.normal(0, 30, (200, 1, 1, 1))).clip(0, 255)
    images = images.astype(np.uint8)
    both = np.concatenate([images[:60], images[190:]]), np.concatenate([labels[:60], labels[190:]])
    for classifier in ("cnn", partial(LogisticRegression, C=0.01)):
        classify = find_classifier(classifier, steps=60)
        rare = {
            recipe: score(classify(Training(images, labels, 2), recipe, both[0], 0), both[1])["recall"][1]
            for recipe in (Recipe(), Recipe(balanced=True), Recipe(adjusted=True))
        }
        plain, *others = rare.values()
        assert min(others) > plain


def test_added_images_fill_half_a_batch_at_most_and_weigh_less() -> None:
    images, labels = blobs((10, 10, 5))
    many, many_labels = blobs((0, 0, 500))
    training = Training(images, labels, 3, many, many_labels)
    chances, prior, added = _sampling(training, Recipe())
    assert added == BATCH // 2
    assert prior.sum() == pytest.approx(1)
    assert [len(chance) for chance in chances] == [25, 500]
    _, weights = _weighted(training, Recipe())
    assert weights[25:].sum() == pytest.approx(25)  # as much as all reals
    few = Training(images, labels, 3, many[:5], many_labels[:5])
    assert _sampling(few, Recipe())[2] == round(BATCH * 5 / 30)
    assert _weighted(few, Recipe())[1][25:].tolist() == [0.5] * 5
    assert _sampling(few, Recipe(balanced=True))[1].tolist() == pytest.approx([1 / 3] * 3, abs=0.02)
    assert _sampling(Training(images, labels, 3), Recipe())[2] == 0
    withheld = _sampling(Training(images[:20], labels[:20], 3), Recipe(adjusted=True))[1]
    assert withheld.tolist() == pytest.approx([0.5, 0.5, 1])  # whose logarithm shifts nothing
    shown, (answers, weights) = _views(few, CLASSICAL, 0), _weighted(few, CLASSICAL)
    assert [len(part) for part in shown] == [100, 20]
    assert answers.tolist() == labels.tolist() * 4 + [2] * 20
    assert weights.sum() == pytest.approx(25 + 2.5)
    balanced = _weighted(few, Recipe(balanced=True))
    np.testing.assert_allclose(np.bincount(*balanced), 10)


def test_a_class_that_nobody_shows_is_never_answered() -> None:
    images, labels = blobs((8, 8, 0))
    for name in ("cnn", "features"):
        probabilities = find_classifier(name, steps=20)(
            Training(images, labels, 3), Recipe(balanced=True, adjusted=True), images, 0
        )
        assert not (probabilities.argmax(1) == 2).any()


def test_augmentation_changes_as_it_says() -> None:
    images = torch.zeros(64, 3, 16, 16, dtype=torch.uint8)
    images[:, :, 8, 4] = 255
    random = torch.Generator().manual_seed(0)
    plain = augmented(images, Recipe(), random)
    assert plain.min() == -1
    assert plain.max() == 1
    changed = augmented(images, Recipe(augment="classical", flips=True), random)
    assert changed.shape == images.shape
    place = changed.mean(1).flatten(1).argmax(1)
    rows, columns = place // 16, place % 16
    assert set(rows.tolist()) == set(range(6, 11))
    assert set(columns.tolist()) == set(range(2, 7)) | set(range(9, 14))


def test_randaugment_comes_from_a_library_or_is_refused_in_a_sentence() -> None:
    images = torch.randint(0, 256, (8, 1, 16, 16), dtype=torch.uint8)
    recipe, random = Recipe(augment="randaugment"), torch.Generator().manual_seed(0)
    try:
        import kornia  # noqa: F401
    except ImportError:
        with pytest.raises(GanfoldError, match=r"pip install \"ganfold\[study\]\""):
            augmented(images, recipe, random)
        return
    found = augmented(images, recipe, random)
    assert found.shape == images.shape
    torch.testing.assert_close(found, augmented(images, recipe, torch.Generator().manual_seed(0)))
    one = augmented(images[:1].expand(64, -1, -1, -1), recipe, random)
    assert len(torch.unique(one, dim=0)) > 10  # not one change for the whole batch


def test_metrics_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2], [0.3, 0.7]])
    metrics = score(probabilities, np.array([0, 0, 1, 1]))
    assert metrics["recall"] == [1.0, 0.5]
    assert metrics["balanced_accuracy"] == 0.75
    assert metrics["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert metrics["calibration_error"] == pytest.approx((0.1 + 0.4 + 0.8 + 0.3) / 4)
