"""Every loss on points in the plane, eight Gaussians on a circle and 25 on a grid: python lab/scripts/toys.py

Prints the table of lab/entries/2026-11-24-which-loss-finds-all-modes.md, and makes the film of the first seed.
The toys are in toy_gans.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ganfold.files import write_atomically
from harness import ROOT, record
from toy_gans import MIXTURES, TOYS, trained

TILE, DOTS, FRAMES = 110, 300, 50  # of the film: pixels of a tile, points in a tile, images
FILM = ROOT / "docs" / "pictures" / "toys.webp"


def frame(looks: dict[str, list[Tensor]], caption: str) -> Image.Image:
    """One image of the film: a row for each mixture, a column for each toy; reals grey, fakes blue."""
    font, head = ImageFont.load_default(11), 32
    sheet = Image.new("RGB", (TILE * len(TOYS), head + TILE * len(looks) + 18), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((6, sheet.height - 16), caption, "black", font)
    for column, name in enumerate(TOYS):
        draw.multiline_text((TILE * column + 6, 2), name.replace(", ", ",\n"), "black", font, spacing=2)
    for row, (mixture, toys) in enumerate(looks.items()):
        reals = MIXTURES[mixture].draw(0, 0, torch.arange(DOTS))
        for column, fakes in enumerate(toys):
            left, top = TILE * column, head + TILE * row
            draw.rectangle((left, top, left + TILE - 1, top + TILE - 1), outline="#dddddd")
            for points, colour in ((reals, "#c8c8c8"), (fakes[:DOTS], "#1f5fbf")):
                places = ((points + 1.3) / 2.6 * TILE).round().int()  # what lies outside the tile is left out
                for x, y in places[((places > 0) & (places < TILE - 2)).all(1)].tolist():
                    draw.rectangle((left + x, top + y, left + x + 1, top + y + 1), fill=colour)
    return sheet


def save_film(looks: dict[str, list[list[Tensor]]], steps: int, path: Path) -> None:
    """Write the film.

    Args:
        looks: for each mixture and each toy the points at FRAMES times.
        steps: updates of G in all.
        path: a WebP file; lossless, since this makes the files of dots smaller.
    """
    frames = [
        frame({name: [toy[number] for toy in toys] for name, toys in looks.items()}, f"after {done} updates of G")
        for number, done in enumerate(steps * (look + 1) // FRAMES for look in range(FRAMES))
    ]
    durations = [120] * (FRAMES - 1) + [3000]

    def write(temporary: Path) -> None:
        frames[0].save(
            temporary, "WEBP", save_all=True, append_images=frames[1:], duration=durations, loop=0, lossless=True
        )

    write_atomically(path, write)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=5000, help="updates of G")
    requested = parser.parse_args()
    torch.set_num_threads(1)
    looks: dict[str, list[list[Tensor]]] = {mixture: [] for mixture in MIXTURES}
    print("| loss | " + " | ".join(f"{mixture}: modes | good samples" for mixture in MIXTURES) + " |")
    print("|---|" + "---|---|" * len(MIXTURES))
    for name, config in TOYS.items():
        cells = []
        for title, mixture in MIXTURES.items():
            runs = [list(trained(config, mixture, seed, requested.steps, FRAMES)) for seed in requested.seeds]
            looks[title].append(runs[0])
            modes, shares = zip(*(mixture.modes(run[-1]) for run in runs), strict=True)
            cells += [", ".join(map(str, modes)), ", ".join(f"{share:.2f}" for share in shares)]
            for seed, found, share in zip(requested.seeds, modes, shares, strict=True):
                metrics = {"modes": found, "good samples": share}
                record("toys", metrics, seed=seed, data=title, loss=name, steps=requested.steps)
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    save_film(looks, requested.steps, FILM)


if __name__ == "__main__":
    main()
