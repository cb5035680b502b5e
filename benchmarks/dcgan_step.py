"""Images a second of a DCGAN step at 64 px, width 64, batch 128: ganfold's against the plain loop.

The plain loop is that of the PyTorch examples and of most code after them, written anew here: eager, NCHW, D's weight
gradients are computed in G's update too, Adam has its defaults, statistics are read with `.item()`. Each contestant has
a process of its own, and gains nothing from another's settings. They take turns, a few steps each: each ratio compares
neighbours in time. A float32 matrix product takes turns too, and tells how fast the machine is at that moment. A step
needs at least 3 g + 8 d floating point operations an image (g, d: one forward pass of G, of D). The speed of the matrix
product over that number is the limit.

    python benchmarks/dcgan_step.py [--rounds 8] [--steps 2] [--resolution 64] [--width 64] [--batch 128]
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn


def plain(options: argparse.Namespace, data: Path) -> Callable[[], None]:
    """One step of the plain loop on random images."""
    halvings = int(math.log2(options.resolution)) - 3
    widths = [options.width << k for k in range(halvings + 1)]
    up: list[nn.Module] = [nn.ConvTranspose2d(100, widths[-1], 4, 1, 0, bias=False)]
    down: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, 2, 1, bias=False), nn.LeakyReLU(0.2, True)]
    for wide, narrow in itertools.pairwise([*widths[::-1], 3]):
        up += [nn.BatchNorm2d(wide), nn.ReLU(True), nn.ConvTranspose2d(wide, narrow, 4, 2, 1, bias=False)]
    for narrow, wide in itertools.pairwise(widths):
        down += [nn.Conv2d(narrow, wide, 4, 2, 1, bias=False), nn.BatchNorm2d(wide), nn.LeakyReLU(0.2, True)]
    generator = nn.Sequential(*up, nn.Tanh())
    discriminator = nn.Sequential(*down, nn.Conv2d(widths[-1], 1, 4, 1, 0, bias=False), nn.Sigmoid(), nn.Flatten(0))
    for weight in [*generator.parameters(), *discriminator.parameters()]:
        if weight.ndim == 4:
            nn.init.normal_(weight, 0.0, 0.02)
    bce = nn.BCELoss()
    adam_d = torch.optim.Adam(discriminator.parameters(), 2e-4, (0.5, 0.999))
    adam_g = torch.optim.Adam(generator.parameters(), 2e-4, (0.5, 0.999))
    images = torch.from_numpy(np.load(data)).permute(0, 3, 1, 2).contiguous()
    ones, zeros = torch.ones(options.batch), torch.zeros(options.batch)

    def step() -> None:
        real = images[torch.randperm(len(images))[: options.batch]].float() / 127.5 - 1
        discriminator.zero_grad()
        out: Tensor = discriminator(real)
        loss_real = bce(out, ones)
        loss_real.backward()
        out.mean().item()
        fake = generator(torch.randn(options.batch, 100, 1, 1))
        out = discriminator(fake.detach())
        loss_fake = bce(out, zeros)
        loss_fake.backward()
        out.mean().item()
        (loss_real + loss_fake).item()
        adam_d.step()
        generator.zero_grad()
        out = discriminator(fake)
        loss = bce(out, ones)
        loss.backward()
        out.mean().item()
        loss.item()
        adam_g.step()

    return step


def ours(options: argparse.Namespace, data: Path) -> Callable[[], None]:
    """One `Trainer.step`, just as `ganfold train` runs it."""
    from ganfold import device
    from ganfold.data import load
    from ganfold.gans.dcgan import DCGAN, Config
    from ganfold.interface.settings import Settings
    from ganfold.runs.record import DataRecord, RunRecord
    from ganfold.training.ranks import Ranks
    from ganfold.training.trainer import make_trainer

    images = load(data, resolution=options.resolution, progress=False)
    record = RunRecord(
        gan="dcgan",
        config=dict(vars(Config(batch=options.batch, width=options.width))),
        settings=Settings(resolution=options.resolution),
        data=DataRecord.of(images),
    )
    return make_trainer(record, DCGAN, images, device.choose("cpu"), Ranks("cpu")).step


def matrix(options: argparse.Namespace, data: Path) -> Callable[[], None]:
    """A 2048 x 2048 x 2048 product: 17.2 GFLOP."""
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)

    def step() -> None:
        for _ in range(8):
            torch.mm(a, b)

    return step


CONTESTANTS = {"plain": plain, "ours": ours, "matrix": matrix}


def work(name: str, options: argparse.Namespace) -> None:
    """A contestant: answers each line with the seconds that its steps took."""
    step = CONTESTANTS[name](options, Path(options.data))
    for _ in range(3):
        step()
    print("ready", flush=True)
    for _ in sys.stdin:
        begun = time.perf_counter()
        for _ in range(options.steps):
            step()
        print(time.perf_counter() - begun, flush=True)


def flops(resolution: int, width: int) -> float:
    """The least floating point operations of a step for an image: 3 g + 8 d.

    G takes a forward pass and the gradients of its inputs and weights: 3 g. D's update takes the same for a real and a
    fake: 6 d. G's update takes a forward pass of D and the gradients of D's inputs: 2 d.
    """
    from ganfold.gans.contract import Shape
    from ganfold.gans.dcgan import DCGAN, Config

    gan = DCGAN(Config(width=width), Shape(3, resolution)).eval()
    total = {"G": 0, "D": 0}

    def count(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
            small = inputs[0] if isinstance(module, nn.ConvTranspose2d) else out
            total[name] += 2 * module.weight.numel() * math.prod(small.shape[2:])  # type: ignore[operator]

        return hook

    for name in total:
        for module in getattr(gan, name).modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                module.register_forward_hook(count(name))
    gan.D(gan.sample(torch.randn(1, 100)))
    return 3 * total["G"] + 8 * total["D"]


def main() -> None:
    parser = argparse.ArgumentParser(description="DCGAN step against the plain loop")
    for name, default in {"rounds": 8, "steps": 2, "resolution": 64, "width": 64, "batch": 128}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--worker", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--data", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options)
        return
    data = Path(tempfile.mkdtemp()) / "noise.npy"
    np.save(
        data,
        np.random.default_rng(0).integers(0, 256, (512, options.resolution, options.resolution, 3), np.uint8),
    )
    words = [sys.executable, *sys.argv, "--data", str(data)]
    workers = {}
    for name in CONTESTANTS:
        workers[name] = subprocess.Popen(
            [*words, "--worker", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        while workers[name].stdout.readline() != "ready\n":  # type: ignore[union-attr]
            pass
    seconds: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for _ in range(options.rounds):
        for name, worker in workers.items():
            worker.stdin.write("go\n")  # type: ignore[union-attr]
            worker.stdin.flush()  # type: ignore[union-attr]
            seconds[name].append(float(worker.stdout.readline()))  # type: ignore[union-attr]
    for worker in workers.values():
        worker.stdin.close()  # type: ignore[union-attr]
    speed = {n: [options.steps * options.batch / s for s in seconds[n]] for n in ("plain", "ours")}
    ratio = [b / a for a, b in zip(speed["plain"], speed["ours"], strict=True)]
    gflops = [options.steps * 8 * 2 * 2048**3 / s / 1e9 for s in seconds["matrix"]]
    least = flops(options.resolution, options.width) / 1e9
    limit = [g / least for g in gflops]
    share = [a / b for a, b in zip(speed["ours"], limit, strict=True)]
    rows = {
        "plain loop, images/s": speed["plain"],
        "ganfold, images/s": speed["ours"],
        "ratio": ratio,
        "matrix product, GFLOP/s": gflops,
        f"limit at {least:.2f} GFLOP an image, images/s": limit,
        "ganfold's share of the limit": share,
    }
    for name, values in rows.items():
        print(f"{name:48s} median {statistics.median(values):7.2f}   {min(values):7.2f} to {max(values):7.2f}")
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads(), **vars(options), "data": None}))


if __name__ == "__main__":
    main()
