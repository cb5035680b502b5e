"""What InfoGAN's codes have learnt about the bundled digits without labels; see
lab/entries/2026-11-21-do-infogans-codes-find-the-digits.md.

    python lab/scripts/infogan_codes.py RUN... [--picture OUT.png]

1. The share of held-out digits that Q misreads. A one-to-one mapping from Q's categories to the classes is fitted on
   the training images. For a run with --invariance, also the information that the categories of real and of warped
   digits share.
2. What the continuous codes move: over samples, the correlation of each code with slant, ink and width of the digit.
3. A picture of the last run: a row for each category, each continuous code from -2 to 2.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

import ganfold
from ganfold.gans import noise
from ganfold.gans.infogan import InfoGAN
from ganfold.images import grids
from ganfold.images.pixels import to_bytes, to_float
from ganfold.runs.run import Run
from harness import protocol_of, record

SAMPLES = 2000
STEPS = 9  # of a sweep
SHARED = "information/real and warped"  # of the log


@torch.no_grad()
def categories(gan: InfoGAN, images: np.ndarray) -> np.ndarray:
    """Q's category of uint8 images (N, C, H, W)."""
    pixels = to_float(images, torch.contiguous_format)
    return torch.cat([gan.read(part)[1].argmax(1) for part in torch.split(pixels, 500)]).numpy()


def use_statistics_of(gan: InfoGAN, images: np.ndarray) -> None:
    """Give the BatchNorms of D and Q the statistics of these images.

    Their running statistics mix reals and fakes. In training, reals and fakes come in separate batches, each normalised
    by its own statistics.
    """
    norms = [m for net in (gan.D, gan.Q) for m in net.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over batches
        norm.train()
    categories(gan, images)
    for norm in norms:
        norm.eval()


def error(run: Run, of_reals: bool) -> float:
    """The share of held-out digits whose class Q's category does not name.

    Args:
        run: of an InfoGAN.
        of_reals: use the statistics of real images in place of the running ones.
    """
    gan, images = fresh(run), run.images(progress=False)
    assert images.labels is not None
    if of_reals:
        use_statistics_of(gan, images.images[images.train])
    table = np.zeros((gan.config.categories, len(images.classes)), int)
    np.add.at(table, (categories(gan, images.images[images.train]), images.labels[images.train]), 1)
    category, digit = linear_sum_assignment(-table)
    mapping = np.full(gan.config.categories, -1)
    mapping[category] = digit
    return float((mapping[categories(gan, images.images[images.held_out])] != images.labels[images.held_out]).mean())


def fresh(run: Run) -> InfoGAN:
    """The run's GAN, loaded anew."""
    gan = Run(run.path, run.checkpoint.split(",")[0]).gan
    assert isinstance(gan, InfoGAN)
    return gan


@torch.inference_mode()
def images_of(gan: InfoGAN, z: Tensor, category: Tensor, continuous: Tensor) -> np.ndarray:
    """Grey images, uint8 (B, H, W), of latents (B, z_dim), categories (B,) and continuous codes (B, continuous)."""
    c = nn.functional.one_hot(category, gan.config.categories).float()
    return to_bytes(gan.G(torch.cat([z, c, continuous], 1))).squeeze(1).numpy()


def measures(images: np.ndarray) -> dict[str, np.ndarray]:
    """Slant, ink and width of bright digits on black, (N,) each, from the moments of their ink."""
    ink = images.astype(float) / 255
    side = np.arange(ink.shape[-1]) - (ink.shape[-1] - 1) / 2
    mass = ink.sum((1, 2)) + 1e-9
    x = (ink.sum(1) @ side / mass)[:, None]
    y = (ink.sum(2) @ side / mass)[:, None]
    xx = (ink.sum(1) * (side - x) ** 2).sum(1) / mass
    yy = (ink.sum(2) * (side - y) ** 2).sum(1) / mass
    xy = np.einsum("nyx,ny,nx->n", ink, side - y, side - x) / mass
    return {"slant": -xy / (yy + 1e-9), "ink": mass / ink[0].size, "width": np.sqrt(xx)}


def correlations(gan: InfoGAN) -> list[dict[str, float]]:
    """For each continuous code its correlation with each measure over samples, without the mean of the category."""
    config, rows = gan.config, torch.arange(SAMPLES)
    z = noise.normal(noise.key_of(0, "z"), rows, config.z_dim)
    category = rows % config.categories
    codes = noise.uniform(noise.key_of(0, "codes"), rows, config.continuous) * 2 - 1
    measured = measures(images_of(gan, z, category, codes))
    for values in measured.values():
        for number in range(config.categories):
            values[category == number] -= values[category == number].mean()
    return [
        {name: float(np.corrcoef(values, codes[:, number])[0, 1]) for name, values in measured.items()}
        for number in range(config.continuous)
    ]


def sweeps(gan: InfoGAN, out: Path) -> None:
    """Write a sheet: a row for each category; on the left the first continuous code from -2 to 2, then the second."""
    config = gan.config
    steps = torch.linspace(-2, 2, STEPS)
    z = noise.normal(noise.key_of(1, "sweep"), torch.zeros(1, dtype=torch.int64), config.z_dim)
    codes = torch.zeros(config.continuous * STEPS, config.continuous)
    for number in range(config.continuous):
        codes[number * STEPS : (number + 1) * STEPS, number] = steps
    rows = [
        images_of(gan, z.expand(len(codes), -1), torch.full((len(codes),), category), codes)
        for category in range(config.categories)
    ]
    picture = grids.grid(np.concatenate(rows), columns=len(codes), scale=2)
    grids.save_png(picture, out, {"codes": "rows: category; columns: each continuous code from -2 to 2"})


def describe(run: Run) -> dict[str, float]:
    """Print what the codes of a run have learnt, and give it as metrics."""
    of_reals, running = error(run, True), error(run, False)
    print(
        f"{run.path.name}, {run.checkpoint}: Q misreads {of_reals:.1%} of the held-out digits "
        f"({running:.1%} by the running statistics of reals and fakes)"
    )
    metrics = {"misread": of_reals, "misread by the running statistics": running}
    rows = [json.loads(line) for line in (run.path / "log.jsonl").read_text().splitlines()]
    if shared := [row[SHARED] for row in rows if SHARED in row][-10:]:
        print(f"  {SHARED}: {np.mean(shared):.3f} of {np.log(run.gan.config.categories):.3f}")
        metrics[SHARED] = float(np.mean(shared))
    for number, measured in enumerate(correlations(fresh(run)), 1):
        shown = ", ".join(f"{name} {value:+.2f}" for name, value in measured.items())
        print(f"  code {number} correlates with {shown}", flush=True)
        metrics |= {f"code {number} with {name}": value for name, value in measured.items()}
    return metrics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--checkpoint", choices=["best", "last"], default="last")
    parser.add_argument("--picture", type=Path)
    requested = parser.parse_args()
    for path in requested.runs:
        run = ganfold.load(path, requested.checkpoint)
        metrics = describe(run)
        record("infogan_codes", metrics, seed=run.record.settings.seed, data=run.record.data, **protocol_of(run))
    if requested.picture:
        sweeps(fresh(run), requested.picture)


if __name__ == "__main__":
    main()
