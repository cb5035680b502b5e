"""How well does a run fill holes in images that it has never seen? See
lab/entries/2026-11-22-does-a-context-encoder-beat-classical-inpainting.md.

    python lab/scripts/fill_holes.py RUN [--count 20] [--out picture.png]

The holes are the middle squares, of half the side, of held-out images. They are filled as `ganfold inpaint` does it
with the run (by a context encoder, or by a search through a generator's images), with and without Poisson's blending,
and by methods that need no network. The rows of the picture: masked, Telea's, the run's, the run's blended, real.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import ganfold
from ganfold.images import grids
from ganfold.images.files import from_row, to_image
from ganfold.images.pixels import to_float
from ganfold.networks.degrade import centre_hole
from ganfold.tasks.inpainting import measured, painter, poisson_blend, rivals
from harness import protocol_of, record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--starts", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", choices=["best", "last"], default="best")
    parser.add_argument("--shown", type=int, default=10)
    parser.add_argument("--out", type=Path)
    requested = parser.parse_args()
    run = ganfold.load(requested.run, requested.checkpoint)
    data = run.images(progress=False)
    every = max(1, len(data.held_out) // requested.count)  # they lie in the order of their classes
    chosen = data.held_out[::every][: requested.count]
    real = np.ascontiguousarray(data.images[chosen].transpose(0, 2, 3, 1))
    mask = centre_hole(torch.zeros(1, 1, *real.shape[1:3]))
    hole = mask[0, 0].numpy() > 0
    paint = painter(run, requested.steps, requested.starts, requested.seed)
    filled, blended, began = np.empty_like(real), np.empty_like(real), time.perf_counter()
    for number, image in enumerate(real):
        made = to_image(paint(to_float(torch.from_numpy(image).permute(2, 0, 1)[None]), mask))
        joined = poisson_blend(made, from_row(image), Image.fromarray(hole.astype(np.uint8) * 255))
        both = (np.asarray(part).reshape(image.shape) for part in (made, joined))
        filled[number], blended[number] = (np.where(hole[..., None], part, image) for part in both)
    seconds = (time.perf_counter() - began) / len(real)
    holes = np.broadcast_to(hole, real.shape[:3])
    others = rivals(real, holes, data.images[data.train])
    print(f"{run!r}, checkpoint {run.checkpoint}: {len(real)} images, {seconds:.1f} s each")
    metrics = {"seconds an image": seconds}
    for name, images in {"the run's": filled, "the run's, blended": blended, **others}.items():
        absolute, decibel = measured(images, real, holes).mean(1)
        print(f"  {name:18} L1 {absolute:.4f}  PSNR {decibel:.2f}")
        metrics |= {f"L1, {name}": float(absolute), f"PSNR, {name}": float(decibel)}
    protocol = {
        "images": len(real),
        "steps": requested.steps,
        "starts": requested.starts,
        "search_seed": requested.seed,
    }
    record("fill_holes", metrics, seed=run.record.settings.seed, data=run.record.data, **protocol, **protocol_of(run))
    if requested.out:
        grey = np.where(hole[..., None], 128, real).astype(np.uint8)
        shown = np.linspace(0, len(real) - 1, min(requested.shown, len(real))).round().astype(int)
        rows = np.stack([part[shown] for part in (grey, others["Telea"], filled, blended, real)])
        sheet = rows.reshape(-1, *real.shape[1:])
        grids.save_png(grids.grid(sheet, rows.shape[1], grids.enlargement(sheet)), requested.out)


if __name__ == "__main__":
    main()
