"""The classifiers that judge images by what they are worth as training images: all arms get the same."""

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
from ganfold.metrics.features import efficientnet

STEPS = 500  # of the CNN, whatever an arm adds: more images must not mean more training
BATCH, WIDTH, RATE, DECAY = 64, 16, 2e-3, 0.02
SHIFT = 1 / 8  # of the side, at most
EXTRA_WEIGHT = 0.5  # of an added image in the loss; a real one has 1
EXTRA_SHARE = 0.5  # of a batch, at most, are added images
OFTEN = 100  # times at most that an image comes, where a classifier takes no weights
ALIKE = 4  # images that RandAugment changes in the same way
KEPT = 6  # sets of images whose features stay in memory
COPIES = 3  # augmented ones of each image, for classifiers that are not trained by steps
COST = 0.03  # C of the logistic regression, on standardised features
FEATURE_SIZE = 112  # pixels a side that EfficientNet-Lite0 is shown: a quarter of the work of its own 224


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained, apart from its images."""

    augment: Literal["none", "classical", "randaugment"] = "none"
    flips: bool = False  # mirrored images are valid ones, and come with the augmentation
    balanced: bool = False  # classes are drawn equally often
    adjusted: bool = False  # logits are adjusted for the classes' frequencies (Menon 2021, arXiv:2007.07314)


@dataclass(frozen=True)
class Training:
    """Images to train on, uint8 (N, C, H, W), and their classes, int64 (N,)."""

    images: np.ndarray
    labels: np.ndarray
    classes: int
    extra: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint8))  # added images: generated ones, or copies
    extra_labels: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))


Classifier = Callable[[Training, Recipe, np.ndarray, int], np.ndarray]
"""Train by a recipe and a seed; the probabilities (n, classes) of the classes of other images, uint8 (n, C, H, W)."""


def find(classifier: str | Callable[[], Any], *, steps: int = STEPS, device: str | torch.device = "cpu") -> Classifier:
    """The classifier "cnn" or "features", or one's own: a callable that gives an object with fit(X, y) and predict(X),
    as scikit-learn's, for X float32 (N, C * H * W) in [0, 1]."""
    if callable(classifier):
        return partial(_own, classifier)
    if classifier not in ("cnn", "features"):
        hint = did_you_mean(classifier, ("cnn", "features"))
        raise GanfoldError(f"there is no classifier {classifier!r}{hint} (known: cnn, features)")
    return partial(_cnn, steps=steps, device=torch.device(device)) if classifier == "cnn" else _features


def judged(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Figures of predictions (n, K) for images of these classes, int64 (n,)."""
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
    """Expected calibration error of the top class (Guo 2017, arXiv:1706.04599, eq. 3); None where there are only
    answers and no probabilities."""
    sure = probabilities.max(1)
    if (sure == 1).all():
        return None
    right, place = probabilities.argmax(1) == labels, np.minimum((sure * bins).astype(int), bins - 1)
    gaps = [abs(right[place == b].sum() - sure[place == b].sum()) for b in range(bins)]
    return float(sum(gaps) / len(labels))


def augmented(images: Tensor, recipe: Recipe, random: torch.Generator) -> Tensor:
    """Uint8 images (B, C, H, W) as float32 in [-1, 1], each changed by the recipe."""
    pixels = images.float() / 127.5 - 1
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
    """By whole pixels; what comes in repeats the edge."""
    count, _, side, _ = pixels.shape
    most = max(1, round(SHIFT * side))
    places = torch.arange(side) + torch.randint(-most, most + 1, (2, count, 1), generator=random)
    rows, columns = places.clamp(0, side - 1)
    return pixels[torch.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _randaugment(pixels: Tensor, random: torch.Generator) -> Tensor:
    """RandAugment (Cubuk 2020, arXiv:1909.13719) as kornia has it: two changes of magnitude 9 of 30. Kornia draws the
    changes once for all that it is given, so it is given a few at a time."""
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
    """Three stages of convolutions; GroupNorm, since batches that mix real and generated images have no one mean."""
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
        chances, prior, added = _drawn(training, recipe)
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
            parts = [
                net(torch.from_numpy(np.array(test[i : i + 256])).to(device).float() / 127.5 - 1).softmax(1).cpu()
                for i in range(0, len(test), 256)
            ]
    return torch.cat(parts).numpy()


def _drawn(training: Training, recipe: Recipe) -> tuple[list[Tensor], Tensor, int]:
    """The chances of real and of added images, how much each class then weighs, and added images in a batch."""
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
    prior = np.where(prior > 0, prior / prior.sum(), 1.0)  # a class that is never seen is not adjusted for
    return chances, torch.from_numpy(prior).float(), added


def _features(training: Training, recipe: Recipe, test: np.ndarray, seed: int) -> np.ndarray:
    """Logistic regression on the features of an ImageNet network that comes with a package."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = np.concatenate([_looked(views) for views in _views(training, recipe, seed)])
    labels, weights = _weighted(training, recipe)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=COST, max_iter=500))
    model.fit(x, labels, logisticregression__sample_weight=weights)
    return _probabilities(model, _looked(test), training, recipe, labels, weights)


_SEEN: OrderedDict[bytes, np.ndarray] = OrderedDict()  # features of the last few sets: most arms share their images


def _looked(images: np.ndarray) -> np.ndarray:
    key = hashlib.blake2b(repr(images.shape).encode() + np.ascontiguousarray(images).tobytes()).digest()
    if key not in _SEEN:
        _SEEN[key] = efficientnet(FEATURE_SIZE)(images).numpy()
    _SEEN.move_to_end(key)
    while len(_SEEN) > KEPT:
        _SEEN.popitem(last=False)
    return _SEEN[key]


def _own(make: Callable[[], Any], training: Training, recipe: Recipe, test: np.ndarray, seed: int) -> np.ndarray:
    """One's own classifier: it takes no weights, so what weighs more comes more often."""
    x = np.concatenate([_flat(views) for views in _views(training, recipe, seed)])
    labels, weights = _weighted(training, recipe)
    times = np.round(weights / weights.min()).astype(np.int64).clip(1, OFTEN)
    model = make()
    model.fit(np.repeat(x, times, 0), np.repeat(labels, times))
    return _probabilities(model, _flat(test), training, recipe, labels, weights)


def _flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float32) / 255


def _views(training: Training, recipe: Recipe, seed: int) -> list[np.ndarray]:
    """The real images and the added ones, and where there is augmentation copies of them changed by it."""
    found = []
    for images in (training.images, training.extra):
        if len(images) and recipe.augment != "none":
            random = torch.Generator().manual_seed(seed)
            whole = torch.from_numpy(np.ascontiguousarray(images))
            copies = [augmented(whole, recipe, random).add(1).mul(127.5).round().byte().numpy() for _ in range(COPIES)]
            images = np.concatenate([images, *copies])
        if len(images):
            found.append(images)
    return found


def _weighted(training: Training, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Classes and weights of the `_views`, the copies of an image sharing its weight."""
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
    """Of every class, seen in training or not; logits adjusted afterwards (Menon 2021, eq. 9)."""
    found = np.zeros((len(test), training.classes))
    if not hasattr(model, "predict_proba"):
        found[np.arange(len(test)), model.predict(test)] = 1
        return found
    found[:, model.classes_] = model.predict_proba(test)
    if recipe.adjusted:
        found /= np.bincount(labels, weights, training.classes).clip(1e-3)
        found /= found.sum(1, keepdims=True)
    return found
