"""Images a second of a DCGAN step at 64 px, width 64, batch 128: ganfold's against the plain loop.

The plain loop is that of the PyTorch examples and of most code after them, written anew here: eager, NCHW, D's weight
gradients are computed in G's update too, Adam has its defaults, statistics are read with `.item()`. Ours comes with
three rules for the matrix products of `networks/strided.py`: the fixed rule of a run of 0.1.0, the measured forms of
`ganfold train`, and no products at all. All take turns, a few steps each; see `turns.py`.

A step needs at least 3 g + 8 d floating point operations an image (g, d: one forward pass of G, of D). The limit is the
best rate that any kernel reaches here, over that number: products of several sizes, and the convolutions of these
networks, each alone.

    python benchmarks/dcgan_step.py [--rounds 8] [--steps 2] [--resolution 64] [--width 64] [--batch 128]

A row for each contestant is added to lab/results/dcgan-step.jsonl.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from plain_steps import IMAGES, adam, drawn
from turns import Contestant, Step, answer, convolutions, fastest, products

sys.path.append(str(Path(__file__).resolve().parents[1] / "lab" / "scripts"))

CONTESTANTS = {
    "plain": "plain loop",
    "fixed": "ganfold, fixed rule",
    "measured": "ganfold, measured forms",
    "none": "ganfold, no products",
    "limit": "limit",
}


def plain(resolution: int, width: int, batch: int) -> Step:
    """One step of the plain loop on random images."""
    halvings = int(math.log2(resolution)) - 3
    widths = [width << k for k in range(halvings + 1)]
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
    adam_d, adam_g, draw = adam(discriminator), adam(generator), drawn(batch, 3, resolution, resolution)
    ones, zeros = torch.ones(batch), torch.zeros(batch)

    def step() -> None:
        real = draw()
        discriminator.zero_grad()
        out: Tensor = discriminator(real)
        loss_real = bce(out, ones)
        loss_real.backward()
        out.mean().item()
        fake = generator(torch.randn(batch, 100, 1, 1))
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


def trainer(options: argparse.Namespace) -> Any:
    """The trainer of `ganfold train`."""
    from ganfold import device
    from ganfold.data import load
    from ganfold.gans.dcgan import DCGAN, Config
    from ganfold.interface.settings import Settings
    from ganfold.runs.record import DataRecord, RunRecord
    from ganfold.training.ranks import Ranks
    from ganfold.training.trainer import make_trainer

    data, side = Path(tempfile.mkdtemp()) / "noise.npy", options.resolution
    np.save(data, np.random.default_rng(0).integers(0, 256, (IMAGES, side, side, 3), np.uint8))
    images = load(data, resolution=side, progress=False)
    record = RunRecord(
        gan="dcgan",
        config=dict(vars(Config(batch=options.batch, width=options.width))),
        settings=Settings(resolution=side),
        data=DataRecord.of(images),
    )
    return make_trainer(record, DCGAN, images, device.choose("cpu"), Ranks("cpu"))


class NoForms(dict[str, bool]):
    """Says of every shape that the product is not faster."""

    def __contains__(self, key: object) -> bool:
        return True

    def get(self, key: str, default: Any = None) -> Any:
        return False


def work(name: str, options: argparse.Namespace) -> None:
    """A contestant."""
    from ganfold.networks.strided import Forms

    forms = {"measured": Forms(note=lambda *_: None), "none": Forms(NoForms())}
    with ExitStack() as stack:
        if name in forms:
            stack.enter_context(forms[name].used())
        if name == "plain":
            step = plain(options.resolution, options.width, options.batch)
        elif name == "limit":
            made = trainer(options)
            kernel, flops, step = fastest([*convolutions(made.gan, made.step), *products()])
            print(f"{flops} {kernel}", flush=True)
        else:
            step = trainer(options).step
        for _ in range(3):
            step()
        answer(step, 1 if name == "limit" else options.steps)


def least(resolution: int, width: int) -> float:
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
    defaults = {"rounds": 8, "steps": 2, "resolution": 64, "width": 64, "batch": 128}
    for option, default in (defaults | {"threads": torch.get_num_threads()}).items():
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--worker", choices=list(CONTESTANTS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.worker:
        work(options.worker, options)
        return
    from ganfold import device
    from harness import record

    shared = [f"--{name}={getattr(options, name)}" for name in defaults]
    workers = {name: Contestant([__file__, *shared, "--worker", name], options.threads) for name in CONTESTANTS}
    walls: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for _ in range(options.rounds):
        for name, worker in workers.items():
            walls[name].append(worker.turn().wall)
    for worker in workers.values():
        worker.close()
    flops, kernel = workers["limit"].told[-1].split(maxsplit=1)
    needed = least(options.resolution, options.width)
    speed = {name: [options.steps * options.batch / wall for wall in taken] for name, taken in walls.items()}
    speed["limit"] = [float(flops) / wall / needed for wall in walls["limit"]]
    protocol: dict[str, Any] = {name: getattr(options, name) for name in ("resolution", "width", "batch", "threads")}
    protocol["cpu"] = device.describe(torch.device("cpu"))["cpu"]
    for name, title in CONTESTANTS.items():
        ratios, shares = ([a / b for a, b in zip(speed[name], speed[other])] for other in ("plain", "limit"))  # noqa: B905
        metrics = {
            "images/s": statistics.median(speed[name]),
            "range": f"{min(speed[name]):.1f} to {max(speed[name]):.1f}",
            "of plain": statistics.median(ratios),
            "of the limit": statistics.median(shares),
        }
        if name == "limit":
            metrics |= {"GFLOP/s": metrics["images/s"] * needed / 1e9, "kernel": kernel}
        record("dcgan-step", metrics, seed=0, what=title, **protocol)
        print(f"{title:24s}", {k: round(v, 3) if isinstance(v, float) else v for k, v in metrics.items()})
    print(f"{needed / 1e9:.2f} GFLOP an image, {protocol['cpu']}, {options.threads} threads")


if __name__ == "__main__":
    main()
