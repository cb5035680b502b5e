"""Directions in the latent space along which images change most, or towards a class."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from ganfold.errors import GanfoldError
from ganfold.gans.contract import GAN
from ganfold.images.pixels import to_float
from ganfold.latent import layers

KEPT = 0.75  # of the images and samples: the others test the classifier and the directions
RIDGE = 0.01  # relative penalty on the weights of the regression on z
AT_ONCE = 64  # images in the network of features at once


@dataclass(frozen=True)
class Directions:
    """Unit vectors in the latent space."""

    names: tuple[str, ...]
    vectors: Tensor  # (N, *latent)
    notes: tuple[str, ...] = ()  # what is known of them, as sentences

    def first(self, count: int) -> Directions:
        """The first of them."""
        return replace(self, names=self.names[:count], vectors=self.vectors[:count])


def sefa(gan: GAN, seed: int = 0) -> Directions:
    """Shen, Zhou 2021, "Closed-form factorization of latent semantics in GANs", arXiv:2007.06600.

    The directions that change the output of the first layer most: the eigenvectors of A^T A, where A is its matrix. The
    greatest come first.
    """
    slopes = layers.first_slopes(gan, layers.labels_in_turn(gan, torch.arange(1)))
    values, vectors = torch.linalg.eigh((slopes @ slopes.T).double())
    values, vectors = values.flip(0), vectors.flip(1)
    useful = int((values > 1e-9 * values[0]).sum())
    return _directions("sefa", vectors.T[:useful].float(), gan)


def pca(gan: GAN, seed: int = 0) -> Directions:
    """Harkonen, Hertzmann, Lehtinen, Paris 2020, "GANSpace", arXiv:2004.02546, sec. 3.3.

    The principal components of the first features of many latents. The latents are regressed on the components, which
    carries each component back into z.
    """
    z, condition = layers.latents_for_statistics(gan, seed)
    features = layers.first_features(gan, z, condition).flatten(1)
    centred = features - features.mean(0)
    count = min(centred.shape[1], z[0].numel())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _, _, components = torch.pca_lowrank(centred, count, center=False, niter=4)
    places = centred @ components
    places = places / places.norm(dim=0).clamp_min(1e-12)
    return _directions("pca", places.T @ z.flatten(1), gan)


def by_class(
    images: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], z: Tensor, made: np.ndarray
) -> Directions:
    """Towards each class, for a generator that takes no labels (Shen 2020, "InterFaceGAN", arXiv:1907.10786).

    A logistic regression learns the classes from real images, in the features of EfficientNet-Lite0. It judges
    samples. A ridge regression of its logits on z gives a direction for each class.

    Args:
        images, labels: real images, uint8 (N, C, H, W), and the numbers of their classes.
        z, made: latents (M, *latent), and their images, uint8 (M, C, H, W).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    real, fake = pooled(images), pooled(made)
    cut, cut_z = round(KEPT * len(real)), round(KEPT * len(fake))
    present = np.unique(labels[:cut])
    if len(present) < 2:
        raise GanfoldError("directions by class need images of two classes or more")
    scale = StandardScaler().fit(real[:cut])
    judge = LogisticRegression(max_iter=500, C=0.1).fit(scale.transform(real[:cut]), labels[:cut])
    accuracy = float(judge.score(scale.transform(real[cut:]), labels[cut:]))
    logits = np.log(judge.predict_proba(scale.transform(fake)).clip(1e-6))
    logits = torch.from_numpy(logits - logits.mean(1, keepdims=True)).double()
    flat = z.flatten(1).double()
    mean = logits[:cut_z].mean(0)
    gram = flat[:cut_z].T @ flat[:cut_z]
    gram += RIDGE * len(gram) * torch.eye(len(gram), dtype=gram.dtype)
    weights = torch.linalg.solve(gram, flat[:cut_z].T @ (logits[:cut_z] - mean))
    rest = logits[cut_z:] - mean
    explained = 1 - (rest - flat[cut_z:] @ weights).square().mean(0) / rest.square().mean(0).clamp_min(1e-12)
    vectors = (weights / weights.norm(dim=0).clamp_min(1e-12)).T.float()
    notes = [f"The classifier is right on {accuracy:.0%} of {len(real) - cut:,} real images that it has not seen."]
    notes += [
        f"{classes[number]}: the direction explains {max(0.0, float(share)):.0%} of what it says of unseen samples."
        for number, share in zip(present, explained, strict=True)
    ]
    names = tuple(classes[number] for number in present)
    return Directions(names, vectors.unflatten(1, z.shape[1:]), tuple(notes))


def pooled(images: np.ndarray) -> np.ndarray:
    """The means of EfficientNet-Lite0's two deepest maps: uint8 (N, C, H, W) -> float32 (N, features)."""
    from ganfold.networks.perceptual import Stages, rgb

    network: nn.Module = Stages().eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), AT_ONCE):
            maps = network(rgb(to_float(np.ascontiguousarray(images[start : start + AT_ONCE]))))
            parts.append(torch.cat([made.mean((2, 3)) for made in maps[-2:]], 1).numpy())
    return np.concatenate(parts)


def _directions(name: str, vectors: Tensor, gan: GAN) -> Directions:
    """Rows as unit vectors whose sign does not depend on the machine: the largest part is positive."""
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    unit = vectors * largest.sign() / vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)
    names = tuple(f"{name} {number + 1}" for number in range(len(unit)))
    return Directions(names, unit.unflatten(1, gan.latent))
