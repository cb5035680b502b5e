"""How well does a run fill holes in images that it has never seen? See docs/gans/context-encoder.md.

    python lab/scripts/fill_holes.py RUN [--count 20] [--out picture.png]

Middle squares of half the side of held-out images, taken evenly from all of them, filled as `ganfold inpaint` does it
with the run (a context encoder, or the search in a generator's images), with and without Poisson's blending, beside
what needs no network. The picture's rows: masked, Telea's, the run's, the run's blended, real.
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
from ganfold.images.files import to_image
from ganfold.networks.degrade import centre_hole
from ganfold.tasks.inpainting import blended, measured, painter, rivals


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
    said = parser.parse_args()
    run = ganfold.load(said.run, said.checkpoint)
    data = run.images(progress=False)
    chosen = data.held_out[:: max(1, len(data.held_out) // said.count)][: said.count]  # they lie in order of classes
    real = np.ascontiguousarray(data.images[chosen].transpose(0, 2, 3, 1))
    mask = centre_hole(torch.zeros(1, 1, *real.shape[1:3]))
    hole = mask[0, 0].numpy() > 0
    holes = np.broadcast_to(hole, real.shape[:3])
    paint = painter(run, said.steps, said.starts, said.seed)
    found, joined, began = np.empty_like(real), np.empty_like(real), time.perf_counter()
    for number, image in enumerate(real):
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1
        made = to_image(paint(pixels, mask))
        around, bits = Image.fromarray(image.squeeze()), Image.fromarray(hole.astype(np.uint8) * 255)
        both = (np.asarray(part).reshape(image.shape) for part in (made, blended(made, around, bits)))
        found[number], joined[number] = (np.where(hole[..., None], part, image) for part in both)
    seconds = (time.perf_counter() - began) / len(real)
    others = rivals(real, holes, data.images[data.train])
    print(f"{run}, checkpoint {run.checkpoint}: {len(real)} images, {seconds:.1f} s each")
    for name, filled in {"the run's": found, "the run's, blended": joined, **others}.items():
        absolute, decibel = measured(filled, real, holes).mean(1)
        print(f"  {name:18} L1 {absolute:.4f}  PSNR {decibel:.2f}")
    if said.out:
        grey = np.where(hole[..., None], 128, real).astype(np.uint8)
        shown = np.linspace(0, len(real) - 1, min(said.shown, len(real))).round().astype(int)
        rows = np.stack([part[shown] for part in (grey, others["Telea"], found, joined, real)])
        sheet = rows.reshape(-1, *real.shape[1:])
        grids.save_png(grids.grid(sheet, rows.shape[1], grids.enlargement(sheet)), said.out)


if __name__ == "__main__":
    main()
