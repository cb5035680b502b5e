"""Classifiers: they measure what images are worth as training images, and are the same for all arms of a study."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganfold.errors import GanfoldError, did_you_mean
from ganfold.images.pixels import to_bytes, to_float
from ganfold.metrics.features import efficientnet

STEPS = 500  # of the CNN, in every arm: more images must not mean more training
BATCH, WIDTH, RATE, DECAY = 64, 16, 2e-3, 0.02
SHIFT = 1 / 8  # largest shift, as a share of the side
EXTRA_WEIGHT = 0.5  # weight of an added image in the loss; a real one has 1
EXTRA_SHARE = 0.5  # largest share of added images in a batch
OFTEN = 100  # most repetitions of an image, for classifiers that take no weights
ALIKE = 4  # images that RandAugment changes in the same way
KEPT = 6  # sets of images whose features stay in memory
COPIES = 3  # augmented copies of each image, for classifiers that are not trained by steps
COST = 0.03  # C of the logistic regression, on standardised features
FEATURE_SIZE = 112  # pixels a side for EfficientNet-Lite0: a quarter of the work of its own 224


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained, apart from its images."""

    augment: Literal["none", "classical", "randaugment"] = "none"
    flips: bool = False  # the augmentation mirrors images too, since mirrored ones are valid
    balanced: bool = False  # classes are drawn equally often
    adjusted: bool = False  # logits are adjusted for the classes' frequencies (Menon 2021, arXiv:2007.07314)


@dataclass(frozen=True)
class Training:
    """Images to train on, uint8 (N, C, H, W), and their classes, int64 (N,); and images added to them."""

    images: np.ndarray
    labels: np.ndarray
    classes: int
    extra: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint8))  # generated images, or copies
    extra_labels: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))


Classifier = Callable[[Training, Recipe, np.ndarray, int], np.ndarray]
"""(training, recipe, images, seed) -> probabilities (n, classes) of the classes of these images, uint8 (n, C, H, W)."""


def find_classifier(
    classifier: str | Callable[[], Any], *, steps: int = STEPS, device: str | torch.device = "cpu"
) -> Classifier:
    """The classifier of this name, or the user's own.

    Args:
        classifier: "cnn", a small CNN from scratch; "features", logistic regression on features of an ImageNet network;
            or a callable that returns an object with fit(X, y) and predict(X), like those of scikit-learn. X is float32
            (N, C * H * W) in [0, 1].
        steps: of the CNN.
        device: where the CNN is trained.

    Raises:
        GanfoldError: there is no classifier of this name.
    """
    if callable(classifier):
        return partial(_own, classifier)
    if classifier not in ("cnn", "features"):
        hint = did_you_mean(classifier, ("cnn", "features"))
        raise GanfoldError(f"there is no classifier {classifier!r}{hint} (known: cnn, features)")
    return partial(_cnn, steps=steps, device=torch.device(device)) if classifier == "cnn" else _features


def score(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """The metrics of predictions, (n, K), for images of these classes, int64 (n,)."""
    from sklearn.metrics import f1_score, recall_score

    classes, answers = np.arange(probabilities.shape[1]), probabilities.argmax(1)
    recalls = recall_score(labels, answers, labels=classes, average=None, zero_division=0)
    return {
        "balanced_accuracy": float(np.mean(recalls)),
        "macro_f1": float(f1_score(labels, answers, labels=classes, average="macro", zero_division=0)),
        "calibration_error": _calibration(probabilities, labels),
        "recall": recalls.tolist(),
    }


def _calibration(probabilities: np.ndarray, labels: np.ndarray, bins: int = 10) -> float | None:
    """Expected calibration error of the top class (Guo 2017, arXiv:1706.04599, eq. 3).

    None where a classifier gives answers without probabilities.
    """
    confidence = probabilities.max(1)
    if (confidence == 1).all():
        return None
    right, own_bin = probabilities.argmax(1) == labels, np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(right[own_bin == b].sum() - confidence[own_bin == b].sum()) for b in range(bins)]
    return float(sum(gaps) / len(labels))


def augmented(images: Tensor, recipe: Recipe, random: torch.Generator) -> Tensor:
    """Images, uint8 (B, C, H, W), as float32 in [-1, 1], each changed as the recipe says."""
    pixels = to_float(images)
    if recipe.augment == "none":
        return pixels
    if recipe.flips:
        heads = torch.rand(len(pixels), generator=random) < 0.5
        pixels = torch.where(heads[:, None, None, None], pixels.flip(3), pixels)
    pixels = _shifted(pixels, random)
    if recipe.augment == "randaugment":
        return _randaugment(pixels, random)
    brightness, contrast, saturation = (
        (torch.rand(3, len(pixels), 1, 1, 1, generator=random) - 0.5)
        * torch.tensor([0.4, 0.6, 0.6]).view(3, 1, 1, 1, 1)
    ).unbind()
    grey, mean = pixels.mean(1, keepdim=True), pixels.mean((1, 2, 3), keepdim=True)
    pixels = pixels + saturation * (pixels - grey) + contrast * (pixels - mean) + brightness
    return pixels.clamp(-1, 1)


def _shifted(pixels: Tensor, random: torch.Generator) -> Tensor:
    """Images moved by whole pixels. The edge is repeated where pixels are missing."""
    count, _, side, _ = pixels.shape
    most = max(1, round(SHIFT * side))
    source = torch.arange(side) + torch.randint(-most, most + 1, (2, count, 1), generator=random)
    rows, columns = source.clamp(0, side - 1)
    return pixels[torch.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _randaugment(pixels: Tensor, random: torch.Generator) -> Tensor:
    """Kornia's RandAugment (Cubuk 2020, arXiv:1909.13719): two changes of magnitude 9 out of 30.

    Kornia changes all images of one call in the same way. Each call therefore gets only a few.
    """
    try:
        from kornia.augmentation.auto import RandAugment
    except ImportError as error:
        raise GanfoldError('--augmentation randaugment needs one more package: pip install "ganfold[study]"') from error
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (), generator=random)))
        change, colours = RandAugment(n=2, m=9), (pixels[:, :3].expand(-1, 3, -1, -1) + 1) / 2
        changed = torch.cat([change(some) for some in torch.split(colours, ALIKE)])
    changed = changed.clamp(0, 1) * 2 - 1
    if pixels.shape[1] == 1:
        return changed.mean(1, keepdim=True)
    return torch.cat([changed, pixels[:, 3:]], 1)


def network(channels: int, side: int, classes: int) -> nn.Module:
    """A CNN of up to three stages for images (B, channels, side, side).

    It has GroupNorm, because a batch that mixes real and generated images has no single mean.
    """
    halvings = min(3, max(1, side.bit_length() - 3))
    layers: list[nn.Module] = []
    for stage in range(halvings):
        before, after = (channels if not stage else WIDTH << (stage - 1)), WIDTH << stage
        layers += [
            nn.Conv2d(before, after, 3, padding=1, bias=False),
            nn.GroupNorm(8, after),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    last = WIDTH << (halvings - 1)
    layers += [nn.Conv2d(last, last, 3, padding=1, bias=False), nn.GroupNorm(8, last), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.2), nn.Linear(4 * last, classes))


def _cnn(
    training: Training, recipe: Recipe, test: np.ndarray, seed: int, *, steps: int, device: torch.device
) -> np.ndarray:
    """A small CNN from scratch, trained for a fixed number of steps."""
    random = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = network(training.images.shape[1], training.images.shape[2], training.classes)
        net = net.to(device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
        chances, prior, added = _sampling(training, recipe)
        real, extra = (torch.from_numpy(np.ascontiguousarray(i)) for i in (training.images, training.extra))
        y, extra_y = torch.from_numpy(training.labels), torch.from_numpy(training.extra_labels)
        weights = torch.ones(BATCH)
        weights[BATCH - added :] = EXTRA_WEIGHT
        shift = prior.log().to(device) if recipe.adjusted else 0.0
        for _ in range(steps):
            rows = torch.multinomial(chances[0], BATCH - added, replacement=True, generator=random)
            x, labels = real[rows], y[rows]
            if added:
                rows = torch.multinomial(chances[1], added, replacement=True, generator=random)
                x, labels = torch.cat([x, extra[rows]]), torch.cat([labels, extra_y[rows]])
            x = augmented(x, recipe, random).to(device, memory_format=torch.channels_last)
            losses = F.cross_entropy(net(x) + shift, labels.to(device), reduction="none", label_smoothing=0.05)
            optimizer.zero_grad()
            ((losses * weights.to(device)).sum() / weights.sum()).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        net.eval()
        with torch.inference_mode():
            parts = [net(to_float(test[i : i + 256]).to(device)).softmax(1).cpu() for i in range(0, len(test), 256)]
    return torch.cat(parts).numpy()


def _sampling(training: Training, recipe: Recipe) -> tuple[list[Tensor], Tensor, int]:
    """How a batch is drawn.

    Returns:
        The chances of real images and of added ones, the share of the loss that each class then has, float (K,), and
        the number of added images in a batch.
    """
    parts = [(training.labels, 1.0), (training.extra_labels, EXTRA_WEIGHT)]
    counts = sum(weight * np.bincount(labels, minlength=training.classes) for labels, weight in parts)
    each = 1 / np.maximum(counts, 1) if recipe.balanced else np.ones(training.classes)
    chances = [torch.from_numpy(each[labels]) for labels, _ in parts]
    share = float(chances[1].sum() / (chances[0].sum() + chances[1].sum()))
    added = round(BATCH * min(share, EXTRA_SHARE))
    prior = np.zeros(training.classes)
    for (labels, weight), chance, many in zip(parts, chances, (BATCH - added, added), strict=True):
        if many:
            prior += weight * many * np.bincount(labels, chance / chance.sum(), training.classes)
    prior = np.where(prior > 0, prior / prior.sum(), 1.0)  # 1 adjusts nothing, for a class that is never seen
    return chances, torch.from_numpy(prior).float(), added


def _features(training: Training, recipe: Recipe, test: np.ndarray, seed: int) -> np.ndarray:
    """Logistic regression on features of EfficientNet-Lite0, trained on ImageNet."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = np.concatenate([_cached_features(views) for views in _views(training, recipe, seed)])
    labels, weights = _weighted(training, recipe)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=COST, max_iter=500))
    model.fit(x, labels, logisticregression__sample_weight=weights)
    return _probabilities(model, _cached_features(test), training, recipe, labels, weights)


_recent: OrderedDict[bytes, np.ndarray] = OrderedDict()  # features of the last sets: most arms share their images


def _cached_features(images: np.ndarray) -> np.ndarray:
    key = hashlib.blake2b(repr(images.shape).encode() + np.ascontiguousarray(images).tobytes()).digest()
    if key not in _recent:
        _recent[key] = efficientnet(FEATURE_SIZE)(images).numpy()
    _recent.move_to_end(key)
    while len(_recent) > KEPT:
        _recent.popitem(last=False)
    return _recent[key]


def _own(make: Callable[[], Any], training: Training, recipe: Recipe, test: np.ndarray, seed: int) -> np.ndarray:
    """The user's own classifier. It takes no weights, therefore images of more weight are repeated."""
    x = np.concatenate([_flat(views) for views in _views(training, recipe, seed)])
    labels, weights = _weighted(training, recipe)
    times = np.round(weights / weights.min()).astype(np.int64).clip(1, OFTEN)
    model = make()
    model.fit(np.repeat(x, times, 0), np.repeat(labels, times))
    return _probabilities(model, _flat(test), training, recipe, labels, weights)


def _flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float32) / 255


def _views(training: Training, recipe: Recipe, seed: int) -> list[np.ndarray]:
    """The real images and the added ones, each followed by its augmented copies if the recipe augments."""
    views = []
    for images in (training.images, training.extra):
        if len(images) and recipe.augment != "none":
            random = torch.Generator().manual_seed(seed)
            whole = torch.from_numpy(np.ascontiguousarray(images))
            copies = [to_bytes(augmented(whole, recipe, random)).numpy() for _ in range(COPIES)]
            images = np.concatenate([images, *copies])
        if len(images):
            views.append(images)
    return views


def _weighted(training: Training, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """The classes and weights of the `_views`. The copies of an image share its weight."""
    real, extra = training.labels, training.extra_labels
    light = EXTRA_WEIGHT * min(1.0, EXTRA_SHARE / (1 - EXTRA_SHARE) * len(real) / (EXTRA_WEIGHT * max(1, len(extra))))
    labels, weights = np.concatenate([real, extra]), np.concatenate([np.ones(len(real)), np.full(len(extra), light)])
    if recipe.balanced:
        weights *= len(labels) / training.classes / np.bincount(labels, weights, training.classes)[labels]
    if recipe.augment == "none":
        return labels, weights
    parts = [slice(0, len(real)), slice(len(real), len(labels))]
    many = 1 + COPIES
    return (
        np.concatenate([np.tile(labels[part], many) for part in parts]),
        np.concatenate([np.tile(weights[part], many) / many for part in parts]),
    )


def _probabilities(
    model: Any, test: np.ndarray, training: Training, recipe: Recipe, labels: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """The probabilities of all classes, 0 for those not seen in training. Logits are adjusted here (Menon, eq. 9)."""
    probabilities = np.zeros((len(test), training.classes))
    if not hasattr(model, "predict_proba"):
        probabilities[np.arange(len(test)), model.predict(test)] = 1
        return probabilities
    probabilities[:, model.classes_] = model.predict_proba(test)
    if recipe.adjusted:
        probabilities /= np.bincount(labels, weights, training.classes).clip(1e-3)
        probabilities /= probabilities.sum(1, keepdims=True)
    return probabilities
