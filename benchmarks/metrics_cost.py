"""Wall time and memory of every metric on as many features as an evaluation of full size has.

The features are made up: 64 hidden factors, mixed, with noise, and with no value below 0, like a network's features.
The bar for all metrics together is ten minutes and 4 GB on two cores.

    python benchmarks/metrics_cost.py [--count 50000] [--dimensions 1280]
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from ganfold.metrics.distances import frechet, frechet_infinity, kid
from ganfold.metrics.manifold import manifold

METRICS: dict[str, Callable[[Tensor, Tensor], object]] = {
    "frechet": frechet,
    "frechet_infinity": frechet_infinity,
    "kid": kid,
    "manifold": manifold,
}


def features(count: int, dimensions: int, seed: int, spread: float) -> Tensor:
    """float32 (count, dimensions)."""
    mixing = torch.randn(64, dimensions, generator=torch.Generator().manual_seed(99))
    random = torch.Generator().manual_seed(seed)
    x = (spread * torch.randn(count, 64, generator=random)) @ mixing.div_(8)
    return x.add_(torch.randn(count, dimensions, generator=random), alpha=0.3).relu_()


def peak() -> float:
    """The most memory that this process ever held, in GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description="Wall time and memory of the metrics")
    parser.add_argument("--count", type=int, default=50_000, help="samples on each side")
    parser.add_argument("--dimensions", type=int, default=1280)
    options = parser.parse_args()
    generated = features(options.count, options.dimensions, 0, 0.9)
    real = features(options.count, options.dimensions, 1, 1.0)
    print(f"{'':18s} {'seconds':>8s} {'peak, GB':>9s}\n{'features':18s} {'':8s} {peak():9.2f}")
    total = 0.0
    for name, metric in METRICS.items():
        begun = time.perf_counter()
        metric(generated, real)
        seconds = time.perf_counter() - begun
        total += seconds
        print(f"{name:18s} {seconds:8.1f} {peak():9.2f}", flush=True)
    print(f"{'together':18s} {total:8.1f} {peak():9.2f}")
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads(), **vars(options)}))


if __name__ == "__main__":
    main()
