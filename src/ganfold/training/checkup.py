"""What is measured now and then while training: the averaged generator against held-out images, and D's opinion."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from ganfold.data import ImageSet
from ganfold.gans.contract import GAN, Batch
from ganfold.metrics.distances import kid
from ganfold.metrics.features import efficientnet
from ganfold.metrics.manifold import manifold
from ganfold.metrics.memorisation import nearest, nearest_in_pixels, pixel_bank
from ganfold.run import generate
from ganfold.training.trainer import Trainer

MOST = 500  # images: of each kind
LEAST = 50
CLASS_LEAST = 20  # of a class
NEAR = 100  # samples whose nearest training image is sought
FEW = 10_000  # training images: with more of them nothing is learnt by heart
SIZE = 112  # pixels a side that the network is shown: a quarter of the work of its own 224


class Checkup:
    """Figures of a trainer's generator, all from the same latents and the same real images each time."""

    def __init__(self, images: ImageSet, seed: int, device: torch.device) -> None:
        self.images, self.seed, self.device = images, seed, device
        self.features = efficientnet(SIZE, device)
        order = np.random.default_rng(seed)
        self.seen = np.sort(order.permutation(images.train)[:MOST])
        self.unseen = np.sort(order.permutation(images.held_out)[:MOST])
        self._reference = self.unseen if len(self.unseen) >= LEAST else self.seen
        self._reference_images = images.images[self._reference]
        self._tell: Pipeline | None = None
        self._bank: Tensor | None = None

    @cached_property
    def reference(self) -> Tensor:
        """Features of held-out images; where nothing is held out, of training images."""
        return self.features.cached(self._reference_images)

    def __call__(self, trainer: Trainer) -> dict[str, float]:
        samples = generate(trainer.sample, trainer.gan.latent, self.seed, len(self.reference), device=self.device)
        samples = np.ascontiguousarray(samples.transpose(0, 3, 1, 2))
        fake = self.features(samples)
        value, error = kid(fake, self.reference)
        found = manifold(fake, self.reference)
        row = {"KID": value, "KID/error": error, "precision": found.precision[0], "recall": found.recall[0]}
        row |= {"coverage": found.coverage[0], "density": found.density[0], "repeats": self._repeats(fake)}
        row |= self._worst_class(found.covered)
        return row | self._leak(trainer.gan, samples) | self._nearness(samples) | self._opinions(trainer, samples)

    def _worst_class(self, covered: Tensor) -> dict[str, float]:
        """The class of which the fewest real images are covered, among those that the reference has enough of."""
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
        """The share of samples that lie nearer to another sample than 99 % of the real images do to another."""
        near = [_to_nearest_other(features) for features in (fake, self.reference)]
        return float((near[0] < near[1].quantile(0.01)).float().mean())

    def _nearness(self, samples: np.ndarray) -> dict[str, float]:
        """How far samples and held-out images are from the nearest training image, in pixels; the median."""
        if len(self.images.train) > FEW or len(self.unseen) < LEAST:
            return {}
        if self._bank is None:
            self._bank = pixel_bank(self.images.images[self.images.train])
            unseen, _, _ = nearest_in_pixels(self.images.images[self.unseen[:NEAR]], self._bank)
            self._nearest_unseen = float(unseen.median())
        fake, _, _ = nearest_in_pixels(samples[:NEAR], self._bank)
        return {"nearest/fake": float(fake.median()), "nearest/held-out": self._nearest_unseen}

    def _leak(self, gan: GAN, samples: np.ndarray) -> dict[str, float]:
        """Which share of images a linear classifier takes for augmented ones, if the GAN augments at all.

        The classifier has learnt to tell training images from the same ones augmented. It is asked of held-out images,
        plain and augmented, and of samples: those of a G that has learnt to augment look augmented as they are.
        """
        if type(gan).augment is GAN.augment:
            return {}
        if self._tell is None:
            plain, changed = self._small(gan, self.images.images[self.seen])
            if np.array_equal(plain, changed):
                return {}
            self._tell = make_pipeline(
                StandardScaler(), PCA(min(64, *plain.shape), random_state=0), LogisticRegression(C=0.1, max_iter=1000)
            )
            self._tell.fit(np.concatenate([plain, changed]), np.repeat([0, 1], len(plain)))
        plain, changed = self._small(gan, self._reference_images)
        fake, _ = self._small(gan, samples)
        looked = {"augmented/real": plain, "augmented/real changed": changed, "augmented/fake": fake}
        return {name: float(self._tell.predict(rows).mean()) for name, rows in looked.items()}

    def _small(self, gan: GAN, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images as they are and augmented: averaged to 8 x 8 pixels, each channel brought to mean 0 and deviation 1.

        So blur and faint colours, which all young samples have, do not pass for augmentation; leaked colours neither.
        """
        parts: list[list[Tensor]] = [[], []]
        for start in range(0, len(images), 100):
            pixels = _scaled(images[start : start + 100], self.device)
            batch = Batch({}, torch.arange(start, start + len(pixels), device=self.device))
            batch.begin(self.seed, "checkup augmentation")
            for part, shown in zip(parts, (pixels, gan.augment(batch, pixels)), strict=True):
                small = F.adaptive_avg_pool2d(shown, 8)
                small = small - small.mean((2, 3), keepdim=True)
                part.append((small / small.std((2, 3), keepdim=True).clamp(min=0.05)).flatten(1).cpu())
        plain, changed = (torch.cat(part).numpy() for part in parts)
        return plain, changed

    @torch.no_grad()
    def _opinions(self, trainer: Trainer, samples: np.ndarray) -> dict[str, float]:
        """D of training images, of held-out images and of samples, batch by batch as in training."""
        gan = trainer.gan
        if type(gan).judge is GAN.judge or len(self.unseen) < LEAST or trainer.ranks.world > 1:
            return {}  # with several ranks a BatchNorm over all of them would wait for the others
        kept = [buffer.clone() for buffer in gan.buffers()]  # BatchNorm takes notes of all that it sees
        means = {}
        for name, images in (
            ("train", self.images.images[self.seen]),
            ("held-out", self.images.images[self.unseen]),
            ("fake", samples),
        ):
            parts = []
            size = min(trainer.batches.size, len(images))
            for start in range(0, len(images) - size + 1, size):
                pixels = _scaled(images[start : start + size], self.device)
                batch = Batch({}, torch.arange(size, device=self.device))
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


def _scaled(images: np.ndarray, device: torch.device) -> Tensor:
    """uint8 images as D sees them: float32 in [-1, 1]."""
    pixels = torch.from_numpy(np.array(images)).to(device).float() / 127.5 - 1
    return pixels.contiguous(memory_format=torch.channels_last)
