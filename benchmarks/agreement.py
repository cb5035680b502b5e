"""Our figures beside independent ones, on the same images through the same features: python benchmarks/agreement.py

300 of the bundled avatars with noise against 300 others without, 64 px, through EfficientNet-Lite0. Fréchet against
SciPy's matrix root and torchmetrics, KID against torchmetrics (one subset of all images), shares against brute force.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import sqrtm
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from ganfold import data
from ganfold.metrics.distances import frechet, kid
from ganfold.metrics.features import efficientnet
from ganfold.metrics.manifold import manifold

COUNT = 300


class Features(nn.Module):
    """torchmetrics' place for a network."""

    num_features = 1280

    def forward(self, images: Tensor) -> Tensor:
        return LOOKING(images.numpy()).double()


LOOKING = efficientnet()


def main() -> None:
    images = data.load("avatars", resolution=64, held_out=0)
    random = np.random.default_rng(0)
    x, y = images.images[random.permutation(len(images))[: 2 * COUNT]].reshape(2, COUNT, 3, 64, 64)
    x = (x.astype(np.int16) + random.integers(-2, 3, x.shape)).clip(0, 255).astype(np.uint8)
    fx, fy = LOOKING(x), LOOKING(y)

    fid = FrechetInceptionDistance(feature=Features(), normalize=False).set_dtype(torch.float64)
    mmd = KernelInceptionDistance(feature=Features(), subsets=1, subset_size=COUNT)
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
    print("| figure | ours | theirs | relative difference |\n|---|---|---|---|")
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
