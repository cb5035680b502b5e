"""Our metrics beside independent ones, on the same images through the same features: python benchmarks/agreement.py

300 of the bundled avatars with noise against 300 others without, 64 px, through EfficientNet-Lite0. Fréchet is compared
with SciPy's matrix root and torchmetrics, KID with torchmetrics (one subset of all images), shares with brute force.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from scipy.linalg import sqrtm
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from ganfold import data
from ganfold.metrics.distances import frechet, kid
from ganfold.metrics.features import Extractor, efficientnet
from ganfold.metrics.manifold import manifold

COUNT = 300


class Features(nn.Module):
    """The network, in the form that torchmetrics takes."""

    num_features = 1280

    def __init__(self, extractor: Extractor) -> None:
        super().__init__()
        self.extractor = extractor

    def forward(self, images: Tensor) -> Tensor:
        return self.extractor(images.numpy()).double()


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    images = data.load("avatars", resolution=64, held_out=0)
    random = np.random.default_rng(0)
    x, y = images.images[random.permutation(len(images))[: 2 * COUNT]].reshape(2, COUNT, 3, 64, 64)
    x = (x.astype(np.int16) + random.integers(-2, 3, x.shape)).clip(0, 255).astype(np.uint8)
    extractor = efficientnet()
    fx, fy = extractor(x), extractor(y)
    network = Features(extractor)
    fid = FrechetInceptionDistance(feature=network, normalize=False).set_dtype(torch.float64)
    mmd = KernelInceptionDistance(feature=network, subsets=1, subset_size=COUNT)
    for metric in (fid, mmd):
        metric.update(torch.from_numpy(np.array(y)), real=True)
        metric.update(torch.from_numpy(np.array(x)), real=False)
    balls = manifold(fx, fy)
    brute = _brute(fx.double().numpy(), fy.double().numpy())
    rows = [
        ("Fréchet, SciPy's sqrtm", frechet(fx, fy), _scipy(fx.double().numpy(), fy.double().numpy())),
        ("Fréchet, torchmetrics", frechet(fx, fy), float(fid.compute())),
        ("KID, torchmetrics", kid(fx, fy)[0], float(mmd.compute()[0])),
        *((f"{name}, brute force", getattr(balls, name)[0], brute[name]) for name in brute),
    ]
    print("| metric | ours | theirs | relative difference |\n|---|---|---|---|")
    for name, ours, theirs in rows:
        print(f"| {name} | {ours:.8g} | {theirs:.8g} | {abs(ours - theirs) / max(abs(theirs), 1e-12):.1e} |")


def _scipy(x: np.ndarray, y: np.ndarray) -> float:
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = sqrtm(a @ b).real
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * root))


def _brute(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    def between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.stack([np.sqrt(((row - b) ** 2).sum(1)) for row in a])

    xx, yy, xy = between(x, x), between(y, y), between(x, y)
    balls_x, balls_y, wide_y = np.sort(xx)[:, 3], np.sort(yy)[:, 3], np.sort(yy)[:, 5]
    return {
        "precision": float((xy <= balls_y).any(1).mean()),
        "recall": float((xy <= balls_x[:, None]).any(0).mean()),
        "density": float((xy <= wide_y).sum() / 5 / len(x)),
        "coverage": float((xy <= wide_y).any(0).mean()),
    }


if __name__ == "__main__":
    main()
