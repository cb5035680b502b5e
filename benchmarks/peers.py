"""Images a second of each GAN's training step, against a plain step of its best-known program.

"Ours" is one `Trainer.step`, just as `ganfold train` runs it, with networks as close to the program's as its options
allow; `DIFFERENCES` names what differs. `plain_steps.py` has the plain steps. The two take turns, each in a process of
its own, and a third process runs the fastest kernel that was found here: matrix products of several sizes, and the
convolutions of ours, each alone. Its rate is the machine's limit at that moment. "share" is what a step computes a
second, in floating point operations of products and convolutions, over that limit.

    python benchmarks/peers.py [--gans gan pix2pix] [--rounds 5] [--threads 2 1]

A row for each GAN and number of threads is added to lab/results/peers.jsonl.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import dcgan_step
from plain_steps import IMAGES, LENGTH, STEPS, WORDS
from turns import Contestant, Step, Turn, answer, convolutions, counted, fastest, products

sys.path.append(str(Path(__file__).resolve().parents[1] / "lab" / "scripts"))

SECONDS = 1.0  # a turn has as many steps as fit in about this, at least one
OURS: dict[str, tuple[tuple[int, int], int, dict[str, Any]]] = {  # channels and resolution, batch, options
    "gan": ((1, 28), 64, {}),
    "cgan": ((1, 32), 64, {"networks": "mlp", "label_dim": 10}),
    "wgan": ((1, 28), 64, {"networks": "mlp"}),
    "wgan-gp": ((1, 28), 64, {"networks": "mlp", "lr": 2e-4, "betas": (0.5, 0.999)}),
    "dcgan": ((3, 64), 128, {}),
    "infogan": ((1, 32), 64, {}),
    "context-encoder": ((3, 128), 8, {"width": 32}),
    "srgan": ((3, 256), 2, {"pretrain_kimg": 0.0}),
    "pix2pix": ((3, 256), 1, {}),
    "cyclegan": ((3, 128), 1, {"identity": 0.5}),
    "gawwn": ((3, 64), 32, {}),
    "r3gan": ((3, 64), 32, {"augment": 0.0}),
    "rsgan": ((3, 64), 16, {"smooth": False, "input_noise": 0.0}),
}
DIFFERENCES = {
    "gan": "ours has one BatchNorm more",
    "cgan": "plain: D of 512, 512, 512 with dropout; ours: 512, 256",
    "wgan": "ours has one BatchNorm more",
    "wgan-gp": "as `wgan`; plain computes gradients of G in D's update",
    "dcgan": "none",
    "infogan": "plain: upsampling, small D, a third update; ours: the networks of `dcgan`",
    "context-encoder": "plain: 4000 channels at 4 px, paints the hole; ours: 512, and paints the image",
    "srgan": "plain: VGG-19 to layer 18 is not frozen; ours: EfficientNet-Lite0. Batch 2 for 4",
    "pix2pix": "none",
    "cyclegan": "both: 128 px and 6 blocks for 256 px and 9",
    "gawwn": "plain: spatial transformers, D three times; ours: products, D's trunk twice",
    "r3gan": "plain: second derivatives on all images; ours: differences on a quarter",
    "rsgan": "none: both without smoothing and noise",
}


def plain(name: str) -> Step:
    _, batch, _ = OURS[name]
    if name == "dcgan":
        return dcgan_step.plain(resolution=64, width=64, batch=batch)
    step: Step = STEPS[name](batch)
    return step


def random_images(channels: int, resolution: int) -> Path:
    path = Path(tempfile.mkdtemp()) / "noise.npz"
    random = np.random.default_rng(0)
    shape = (IMAGES, resolution, resolution, channels)
    np.savez(path, images=random.integers(0, 256, shape, np.uint8), labels=np.arange(IMAGES) % 10)
    return path


def trainer(name: str) -> Any:
    """The trainer of `ganfold train`, on random images."""
    from ganfold import device
    from ganfold.data import load
    from ganfold.data.captions import Captions
    from ganfold.gans import find
    from ganfold.interface.settings import Settings
    from ganfold.runs.record import DataRecord, RunRecord
    from ganfold.training.ranks import Ranks
    from ganfold.training.trainer import make_trainer

    (channels, resolution), batch, options = OURS[name]
    images = load(random_images(channels, resolution), resolution=resolution, channels=channels, progress=False)
    if name in ("pix2pix", "cyclegan"):
        partner = np.arange(len(images)) if name == "pix2pix" else None
        images = replace(images, inputs=replace(images, images=255 - images.images), partner=partner)
    if name == "gawwn":
        random = np.random.default_rng(0)
        places = random.random((len(images), 4), np.float32) * [0.4, 0.4, 0.3, 0.3] + [0, 0, 0.3, 0.3]
        tokens = random.integers(1, WORDS, (len(images), LENGTH)).astype(np.uint16)
        words = tuple(f"word{number}" for number in range(WORDS - 1))
        images = replace(images, captions=Captions(words, tokens, places.astype(np.float32), None))
    gan_class = find(name)
    config = gan_class.config_class(batch=batch, **options)
    record = RunRecord(
        gan=name,
        config=dict(vars(config)),
        settings=Settings(resolution=resolution, flips=False),
        data=DataRecord.of(images),
    )
    return make_trainer(record, gan_class, images, device.choose("cpu"), Ranks("cpu"))


def work(contestant: str, name: str) -> None:
    """A contestant: first it says the operations of a step, and how many steps a turn has."""
    from ganfold.networks.strided import Forms

    with ExitStack() as stack:
        if contestant == "plain":
            step = plain(name)
        elif contestant == "ours":
            stack.enter_context(Forms(note=lambda *_: None).used())
            step = trainer(name).step
        else:
            made = trainer(name)
            kernel, flops, step = fastest([*convolutions(made.gan, made.step), *products()])
            print(f"{flops} 1 {kernel}", flush=True)
            answer(step, 1)
            return
        step()
        flops = counted(step)
        begun = time.perf_counter()
        step()
        steps = max(1, round(SECONDS / (time.perf_counter() - begun)))
        print(f"{flops} {steps}", flush=True)
        answer(step, steps)


def contest(name: str, threads: int, rounds: int) -> dict[str, Any]:
    """The medians of a GAN's row."""
    kinds = ("plain", "ours", "limit")
    workers = {kind: Contestant([__file__, "--worker", kind, "--gans", name], threads) for kind in kinds}
    turns: dict[str, list[Turn]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind, worker in workers.items():
            turns[kind].append(worker.turn())
    for worker in workers.values():
        worker.close()
    flops: dict[str, float] = {}
    steps: dict[str, int] = {}
    for kind, worker in workers.items():
        words = worker.told[-1].split()
        flops[kind], steps[kind] = float(words[0]), int(words[1])
    batch = OURS[name][1] * (5 if name in ("wgan", "wgan-gp") else 1)
    limits = [flops["limit"] / turn.wall for turn in turns["limit"]]
    speed = {kind: [steps[kind] * batch / turn.wall for turn in turns[kind]] for kind in ("plain", "ours")}
    busy = {kind: [steps[kind] * batch / turn.processor for turn in turns[kind]] for kind in ("plain", "ours")}
    ratios = [mine / other for mine, other in zip(speed["ours"], speed["plain"], strict=True)]
    return {
        "plain": statistics.median(speed["plain"]),
        "ours": statistics.median(speed["ours"]),
        "ratio": statistics.median(ratios),
        "range": f"{min(ratios):.2f} to {max(ratios):.2f}",
        "ratio of processor time": statistics.median(
            mine / other for mine, other in zip(busy["ours"], busy["plain"], strict=True)
        ),
        **{f"GFLOP, {kind}": flops[kind] / batch / 1e9 for kind in ("plain", "ours")},
        **{
            f"share, {kind}": statistics.median(
                v * flops[kind] / batch / most for v, most in zip(speed[kind], limits, strict=True)
            )
            for kind in ("plain", "ours")
        },
        "limit, GFLOP/s": statistics.median(limits) / 1e9,
        "fastest kernel": workers["limit"].told[-1].split(maxsplit=2)[2],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gans", nargs="+", choices=list(OURS), default=list(OURS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--worker", choices=("plain", "ours", "limit"), help=argparse.SUPPRESS)
    requested = parser.parse_args()
    if requested.worker:
        torch.set_num_threads(requested.threads[0])
        work(requested.worker, requested.gans[0])
        return
    from ganfold import device
    from harness import record

    cpu = device.describe(torch.device("cpu"))["cpu"]
    for threads in requested.threads:
        ratios = []
        torch.set_num_threads(threads)  # the record says it
        for name in requested.gans:
            metrics = contest(name, threads, requested.rounds) | {"rounds": requested.rounds}
            ratios.append(metrics["ratio"])
            (channels, side), batch, options = OURS[name]
            about = f"{side} px, {channels} channels, batch {batch}"
            record(
                "peers", metrics, seed=0, gan=name, threads=threads, step=about, cpu=cpu,
                options=options, differences=DIFFERENCES[name],
            )  # fmt: skip
            shown = {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in metrics.items()}
            print(name, f"{threads} threads", shown, flush=True)
        print(f"{threads} threads: geometric mean {statistics.geometric_mean(ratios):.2f}, least {min(ratios):.2f}")


if __name__ == "__main__":
    main()
