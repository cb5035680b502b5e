"""Checkups while training: the averaged generator against held-out images, and D's opinion of both."""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ganfold.data import ImageSet
from ganfold.gans.contract import GAN, Batch
from ganfold.images.pixels import to_float
from ganfold.metrics.distances import kid
from ganfold.metrics.features import Extractor, efficientnet
from ganfold.metrics.manifold import manifold
from ganfold.metrics.memorisation import nearest, nearest_in_pixels, pixel_bank
from ganfold.runs.conditioning import Conditioning, as_frequent_as, held_out_conditioning, labelled
from ganfold.runs.generate import generate
from ganfold.training.trainer import Trainer

MOST = 500  # images of each kind
LEAST = 50  # held-out images; with fewer, training images are the reference and D's opinions are left out
FEWEST = 10  # images of any kind: the metrics need neighbours
CLASS_LEAST = 20  # images of a class
NEAR = 100  # samples whose nearest training image is searched for
FEW = 10_000  # training images; with more, a GAN memorises nothing
SIZE = 112  # pixels a side that the extractor sees: a quarter of the work of its usual 224
QUICK = (
    f"The quick KID compares up to {MOST} samples with as many real images, at {SIZE} px. ± is the standard error of "
    "the sample. `ganfold evaluate` measures more images at 224 px: its KID is another number."
)


class Checkup:
    """Metrics of a trainer's generator, from the same latents and the same real images each time."""

    def __init__(self, images: ImageSet, seed: int, device: torch.device) -> None:
        self.images, self.seed, self.device = images, seed, device
        order = np.random.default_rng(seed)
        self.seen = np.sort(order.permutation(images.train)[:MOST])
        self.unseen = np.sort(order.permutation(images.held_out)[:MOST])
        self._reference = self.unseen if len(self.unseen) >= LEAST else self.seen
        self._reference_images = images.images[self._reference]
        self._telling: tuple[Any, dict[str, float]] | None = None

    # These stay the same in all checkups. The first checkup makes them, since many runs end before it.

    @cached_property
    def features(self) -> Extractor:
        return efficientnet(SIZE, self.device)

    @cached_property
    def reference(self) -> Tensor:
        """Features of held-out images, or of training images where none is held out."""
        return self.features.cached(self._reference_images)

    @cached_property
    def _twins(self) -> Tensor:
        """The distance in features that 99 % of real images keep from each other."""
        return _to_nearest_other(self.reference).quantile(0.01)

    @cached_property
    def _bank(self) -> Tensor:
        return pixel_bank(self.images.images[self.images.train])

    @cached_property
    def _nearest_unseen(self) -> float:
        return self._nearest(self.images.images[self.unseen])

    def __call__(self, trainer: Trainer) -> dict[str, float]:
        count, gan, labels = len(self.reference), trainer.gan, None
        conditioning: Conditioning | None = held_out_conditioning(gan, self.images, self.seed, self.device)
        if gan.conditional:
            labelling = as_frequent_as(self.images.class_counts, self.seed)
            labels, conditioning = labelling(torch.arange(count)).numpy(), labelled(labelling)
        samples = generate(trainer.sample, gan.latent, self.seed, count, device=self.device, conditioning=conditioning)
        samples = np.ascontiguousarray(samples.transpose(0, 3, 1, 2))
        fake = self.features(samples)
        value, error = kid(fake, self.reference)
        balls = manifold(fake, self.reference)
        row = {"KID": value, "KID/error": error, "precision": balls.precision[0], "recall": balls.recall[0]}
        row |= {"coverage": balls.coverage[0], "density": balls.density[0], "repeats": self._repeats(fake)}
        row |= self._worst_class(balls.covered)
        row |= self._leak(gan, samples) | self._nearness(samples)
        return row | self._opinions(trainer, samples, labels)

    def _worst_class(self, covered: Tensor) -> dict[str, float]:
        """The class whose real images are covered least, among classes with enough images in the reference."""
        if self.images.labels is None:
            return {}
        labels = torch.from_numpy(self.images.labels[self._reference])
        shares = {
            number: float(covered[labels == number].float().mean())
            for number, count in enumerate(labels.bincount().tolist())
            if count >= CLASS_LEAST
        }
        if len(shares) < 2:
            return {}
        worst = min(shares, key=lambda number: shares[number])
        return {"coverage/worst class": shares[worst], "worst class": worst}

    def _repeats(self, fake: Tensor) -> float:
        """The share of samples that lie nearer to another sample than 99 % of real images lie to each other."""
        return float((_to_nearest_other(fake) < self._twins).float().mean())

    def _nearness(self, samples: np.ndarray) -> dict[str, float]:
        """The distances in pixels from samples and from held-out images to the nearest training image."""
        if len(self.images.train) > FEW or len(self.unseen) < LEAST:
            return {}
        return {"nearest/fake": self._nearest(samples), "nearest/held-out": self._nearest_unseen}

    def _nearest(self, images: np.ndarray) -> float:
        """The median distance of some of the images to their nearest training image."""
        distances, _, _ = nearest_in_pixels(images[:NEAR], self._bank)
        return float(distances.median())

    def _leak(self, gan: GAN, samples: np.ndarray) -> dict[str, float]:
        """The share of images that a linear classifier takes for augmented ones; {} where the GAN does not augment.

        It judges held-out images, plain and augmented, and samples. If the augmentation leaks, samples look augmented.
        """
        if not gan.augments:
            return {}
        self._telling = self._telling or self._learn_to_tell(gan)
        if not self._telling:
            return {}
        classifier, shares = self._telling
        return shares | {"augmented/fake": float(classifier.predict(_shapes(_scaled(samples, self.device))).mean())}

    def _learn_to_tell(self, gan: GAN) -> tuple[Any, dict[str, float]] | None:
        """A classifier that tells plain training images from augmented ones, and its answers for held-out images."""
        from sklearn.decomposition import PCA
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        plain, changed = self._plain_and_changed(gan, self.images.images[self.seen])
        if np.array_equal(plain, changed):
            return None
        classifier = make_pipeline(
            StandardScaler(), PCA(min(64, *plain.shape), random_state=0), LogisticRegression(C=0.1, max_iter=1000)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of images that are all alike, and of steps that did not suffice
            classifier.fit(np.concatenate([plain, changed]), np.repeat([0, 1], len(plain)))
        plain, changed = self._plain_and_changed(gan, self._reference_images)
        shares = {"augmented/real": plain, "augmented/real changed": changed}
        return classifier, {name: float(classifier.predict(rows).mean()) for name, rows in shares.items()}

    def _plain_and_changed(self, gan: GAN, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The `_shapes` of images, plain and augmented."""
        parts: list[list[np.ndarray]] = [[], []]
        for start in range(0, len(images), 100):  # few at once: they are floats of full size
            pixels = _scaled(images[start : start + 100], self.device)
            batch = Batch({}, torch.arange(start, start + len(pixels), device=self.device))
            batch.begin(self.seed, "checkup augmentation")
            for part, shown in zip(parts, (pixels, gan.augment(batch, pixels)), strict=True):
                part.append(_shapes(shown))
        plain, changed = map(np.concatenate, parts)
        return plain, changed

    @torch.no_grad()
    def _opinions(self, trainer: Trainer, samples: np.ndarray, drawn: np.ndarray | None) -> dict[str, float]:
        """D's mean output for training images, held-out images and samples, batch by batch as in training."""
        gan = trainer.gan
        if not gan.judges or len(self.unseen) < LEAST or trainer.ranks.world > 1:
            return {}  # a BatchNorm over all ranks would wait for the others
        if any(phase.since > trainer.images / 1000 for phase in gan.phases):
            return {}  # D does not learn yet
        kept = [buffer.clone() for buffer in gan.buffers()]  # BatchNorm updates its running statistics
        means, pixels_of, classes = {}, self.images.images, self.images.labels
        for name, images, labels in (
            ("train", pixels_of[self.seen], None if classes is None else classes[self.seen]),
            ("held-out", pixels_of[self.unseen], None if classes is None else classes[self.unseen]),
            ("fake", samples, drawn),
        ):
            parts = []
            size = min(trainer.batches.size, len(images))
            for start in range(0, len(images) - size + 1, size):
                pixels = _scaled(images[start : start + size], self.device)
                batch = Batch({}, torch.arange(size, device=self.device))
                if labels is not None:
                    batch["label"] = torch.from_numpy(labels[start : start + size]).to(self.device)
                batch.begin(self.seed, "checkup", start)
                logits = gan.judge(batch, pixels)
                assert isinstance(logits, Tensor)
                parts.append(logits.mean())
            means[f"opinion/{name}"] = float(torch.stack(parts).mean())
        for buffer, value in zip(gan.buffers(), kept, strict=True):
            buffer.copy_(value)
        return means


def _to_nearest_other(features: Tensor) -> Tensor:
    return nearest(features, features, skip=torch.arange(len(features)))[0]


def _shapes(images: Tensor) -> np.ndarray:
    """Images averaged to 8 x 8 pixels, each channel brought to mean 0 and deviation 1, flattened.

    Blur and faint colours, which all early samples have, then do not pass for augmentation. Nor do leaked colours.
    """
    small = F.adaptive_avg_pool2d(images, 8)
    small = small - small.mean((2, 3), keepdim=True)
    return (small / small.std((2, 3), keepdim=True).clamp(min=0.05)).flatten(1).cpu().numpy()


def _scaled(images: np.ndarray, device: torch.device) -> Tensor:
    """uint8 images as D sees them: float32 in [-1, 1]."""
    pixels = to_float(images).to(device)
    return pixels.contiguous(memory_format=torch.channels_last)
