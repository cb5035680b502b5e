"""What InfoGAN's codes have found out about the bundled digits, without a label; see docs/gans/infogan.md.

    python lab/scripts/infogan_codes.py RUN... [--picture OUT.png]

1. Q's category of real digits, through a one-to-one mapping to their classes that is found on the training images,
   on the held-out ones: the error in percent; and, of a run with --invariance, what its categories of real and of
   warped digits tell of each other.
2. What the continuous codes move: over samples, the correlation of each code with slant, ink and width of the digit.
3. A picture: a row for each category, each continuous code from -2 to 2, for the last run.
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
from ganfold.runs.run import Run, as_bytes

SAMPLES = 2000
STEPS = 9  # of a sweep
SHARED = "information/real and warped"  # of the log


@torch.no_grad()
def categories(gan: InfoGAN, images: np.ndarray) -> np.ndarray:
    """Q's category of uint8 images (N, C, H, W)."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).float() / 127.5 - 1
    return torch.cat([gan.read(part)[1].argmax(1) for part in torch.split(pixels, 500)]).numpy()


def use_statistics_of(gan: InfoGAN, images: np.ndarray) -> None:
    """Let the BatchNorms of D and Q hold the statistics of these images, in place of reals and fakes mixed.

    In training reals and fakes come in separate batches, each normalised by its own statistics.
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
    """The share of held-out digits whose class Q's category does not name."""
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
    gan = Run(run.path, run.checkpoint.split(",")[0]).gan
    assert isinstance(gan, InfoGAN)
    return gan


@torch.inference_mode()
def made(gan: InfoGAN, z: Tensor, category: Tensor, continuous: Tensor) -> np.ndarray:
    """Images uint8 (B, H, W) of codes that are given outright."""
    c = nn.functional.one_hot(category, gan.config.categories).float()
    return as_bytes(gan.G(torch.cat([z, c, continuous], 1))).squeeze(1).numpy()


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


def movements(gan: InfoGAN) -> list[str]:
    """For each continuous code, the correlation with each measure over samples, the category's mean taken out."""
    config, rows = gan.config, torch.arange(SAMPLES)
    z = noise.normal(noise.key_of(0, "z"), rows, config.z_dim)
    category = rows % config.categories
    codes = noise.uniform(noise.key_of(0, "codes"), rows, config.continuous) * 2 - 1
    found = measures(made(gan, z, category, codes))
    lines = []
    for number in range(config.continuous):
        shown = []
        for name, values in found.items():
            own = values.copy()
            for c in range(config.categories):
                own[category == c] -= values[category == c].mean()
            shown.append(f"{name} {np.corrcoef(own, codes[:, number])[0, 1]:+.2f}")
        lines.append(f"  code {number + 1} correlates with " + ", ".join(shown))
    return lines


def sweeps(gan: InfoGAN, out: Path) -> None:
    """A row for each category; left the first continuous code from -2 to 2, right the second, z as it was."""
    config = gan.config
    steps = torch.linspace(-2, 2, STEPS)
    z = noise.normal(noise.key_of(1, "sweep"), torch.zeros(1, dtype=torch.int64), config.z_dim)
    codes = torch.zeros(config.continuous * STEPS, config.continuous)
    for number in range(config.continuous):
        codes[number * STEPS : (number + 1) * STEPS, number] = steps
    rows = [
        made(gan, z.expand(len(codes), -1), torch.full((len(codes),), category), codes)
        for category in range(config.categories)
    ]
    picture = grids.grid(np.concatenate(rows), columns=len(codes), scale=2)
    grids.save_png(picture, out, {"codes": "rows: category; columns: each continuous code from -2 to 2"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--checkpoint", choices=["best", "last"], default="last")
    parser.add_argument("--picture", type=Path)
    said = parser.parse_args()
    for path in said.runs:
        run = ganfold.load(path, said.checkpoint)
        print(
            f"{path.name}, {run.checkpoint}: Q misreads {error(run, True):.1%} of the held-out digits "
            f"({error(run, False):.1%} by the running statistics of reals and fakes)"
        )
        rows = [json.loads(line) for line in (path / "log.jsonl").read_text().splitlines()]
        if shared := [row[SHARED] for row in rows if SHARED in row][-10:]:
            print(f"  {SHARED}: {np.mean(shared):.3f} of {np.log(run.gan.config.categories):.3f}")
        print("\n".join(movements(fresh(run))), flush=True)
    if said.picture:
        sweeps(fresh(run), said.picture)


if __name__ == "__main__":
    main()
