"""Should super-resolution learn from crops at native scale, or from whole photographs made small? See
lab/entries/2026-11-25-should-srgan-learn-from-crops.md.

    OMP_NUM_THREADS=1 python lab/scripts/photo_crops.py --picture docs/pictures/srgan-photo.png

Two of the nine bundled photographs are held out, as the set `photos` does. `srgan` learns x4 from the other seven:
`native` from random crops of 64 px at their own scale; `off` from each photograph as one image of 64 px; `photos` from
crops of the bundled set's squares, which are of three scales. All see the same number of images. The held-out
photographs are made four times smaller and enlarged again as a whole: after the pretraining (SRResNet) and at the end.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import ganfold
from ganfold import data
from ganfold.images.files import from_row, to_tensor
from ganfold.images.pixels import to_rows
from ganfold.metrics.features import efficientnet
from ganfold.metrics.paired import feature_distance, psnr, ssim
from ganfold.networks.degrade import enlarge, shrink
from ganfold.runs.run import Run
from ganfold.tasks.super_resolution import enlarged
from harness import record

SCALE, RESOLUTION, SQUARE = 4, 64, 128
SIZE: dict[str, Any] = {"width": 24, "blocks": 4, "pretrain_lr": 1e-3, "lr": 3e-4}
DETAIL = {"life.jpg": (560, 330), "picosdeeuropa.jpg": (300, 250)}  # left and top of what the picture shows
SHOWN = 240  # px a side of it


def held_out() -> list[str]:
    """The names of the photographs that the set `photos` holds out."""
    images = data.load("photos", progress=False)
    return sorted({images.names[row].partition(" ")[0] for row in images.held_out.tolist()})


def measured(made: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """How near a photograph (H, W, 3) comes to the original: PSNR and SSIM of Y, and the distance in features."""
    one, other = made[None], truth[None]
    squares = [
        np.stack(
            [
                image[top : top + SQUARE, left : left + SQUARE]
                for top in range(0, image.shape[0] - SQUARE + 1, SQUARE)
                for left in range(0, image.shape[1] - SQUARE + 1, SQUARE)
            ]
        )
        for image in (made, truth)
    ]
    return {
        "PSNR of Y, dB": float(psnr(one, other, luma=True, border=SCALE)[0]),
        "SSIM of Y": float(ssim(one, other, luma=True, border=SCALE)[0]),
        "distance in features": float(feature_distance(squares[0], squares[1], efficientnet()).mean()),
    }


class Photographs:
    """The held-out photographs, and what has been made of them."""

    def __init__(self, folder: Path, names: list[str], seed: int, protocol: dict[str, Any]) -> None:
        self.seed, self.protocol = seed, protocol
        self.truth: dict[str, np.ndarray] = {}
        self.small: dict[str, Image.Image] = {}
        self.details: dict[str, list[np.ndarray]] = {}
        for name in names:
            whole = np.asarray(Image.open(folder / name).convert("RGB"))
            whole = whole[: whole.shape[0] // SCALE * SCALE, : whole.shape[1] // SCALE * SCALE]
            low = shrink(to_tensor(Image.fromarray(whole)), SCALE)
            self.truth[name], self.small[name], self.details[name] = whole, from_row(to_rows(low)[0]), []
            size = whole.shape[1], whole.shape[0]
            self.judge(name, "bicubic", to_rows(enlarge(low, SCALE))[0])
            self.judge(name, "Lanczos", np.asarray(self.small[name].resize(size, Image.Resampling.LANCZOS)))

    def judge(self, name: str, method: str, made: np.ndarray, learnt_from: str = "", minutes: float = 0.0) -> None:
        metrics = measured(made, self.truth[name])
        print(f"{name} {method} {learnt_from}: " + ", ".join(f"{key} {value:.4g}" for key, value in metrics.items()))
        protocol = self.protocol | {"photograph": name, "method": method, "learnt from": learnt_from}
        record("srgan-crops", metrics | {"minutes": minutes}, seed=self.seed, **protocol)
        left, top = DETAIL.get(name, (0, 0))
        if method in ("bicubic", "SRGAN"):
            self.details[name].append(made[top : top + SHOWN, left : left + SHOWN])

    def judge_run(self, run: Run, method: str, learnt_from: str, minutes: float) -> None:
        for name, low in self.small.items():
            self.judge(name, method, np.asarray(enlarged(run.gan, low)), learnt_from, minutes)

    def draw(self, path: Path) -> None:
        rows = []
        for name, details in self.details.items():
            left, top = DETAIL.get(name, (0, 0))
            real = self.truth[name][top : top + SHOWN, left : left + SHOWN]
            rows.append(np.concatenate([*details, real], 1))
        Image.fromarray(np.concatenate(rows)).save(path, optimize=True)
        print(f"{path}: a row for each photograph")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pretrain-kimg", type=float, default=20.0, help="of SRResNet")
    parser.add_argument("--kimg", type=float, default=30.0, help="of both; no more than that of SRResNet: no SRGAN")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--learn-from", nargs="+", default=["off", "native", "photos"])
    parser.add_argument("--picture", type=Path, help="where to draw the first seed's results")
    requested = parser.parse_args()
    names = held_out()
    with tempfile.TemporaryDirectory() as place:
        whole = data.unpack("photos", Path(place) / "whole")
        train = Path(place) / "photographs"
        train.mkdir()
        for path in whole.glob("*.jpg"):
            if path.name not in names:
                (train / path.name).write_bytes(path.read_bytes())
        for seed in requested.seeds:
            protocol = {"data": "photos.zip", "pretrain_kimg": requested.pretrain_kimg, "kimg": requested.kimg}
            protocol |= {"resolution": RESOLUTION, **SIZE}
            photographs = Photographs(whole, names, seed, protocol)
            for arm in requested.learn_from:
                crops = "native" if arm == "photos" else arm
                options = SIZE | {"pretrain_kimg": requested.pretrain_kimg, "resolution": RESOLUTION}
                options |= {"crops": crops, "seed": seed, "evaluate_every": 0.0, "clock": time.process_time}
                if arm != "photos":
                    options |= {"held_out": 0.0}  # the held-out photographs are not in this folder
                parts = [("SRResNet", requested.pretrain_kimg), ("SRGAN", requested.kimg)]
                for method, kimg in parts[: 1 + (requested.kimg > requested.pretrain_kimg)]:
                    source = "photos" if arm == "photos" else train
                    run = ganfold.train(
                        "srgan", source, Path(place) / f"{arm}-{seed}", kimg=kimg, progress=False, **options
                    )
                    with torch.inference_mode():
                        photographs.judge_run(run, method, arm, run.state["minutes"])
            if requested.picture and seed == requested.seeds[0]:
                photographs.draw(requested.picture)


if __name__ == "__main__":
    main()
