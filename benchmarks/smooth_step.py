"""By how much `rsgan`'s last layer lengthens a training step. Steps with and without it take turns in one process.

    python benchmarks/smooth_step.py [--resolution 32] [--threads 1] [--pairs 25]

It runs on the CPU, with the default batch.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from bare_step import build


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=25)
    requested = parser.parse_args()
    torch.set_num_threads(requested.threads)
    both = [build("rsgan", ("avatars",), requested.resolution, {"smooth": smooth}) for smooth in (False, True)]
    for one in both * 3:  # not counted
        one.step()
    times: list[list[float]] = [[], []]
    for _ in range(requested.pairs):
        for one, taken in zip(both, times, strict=True):
            start = time.perf_counter()
            one.step()
            taken.append(time.perf_counter() - start)
    ratio = statistics.median(with_it / without for without, with_it in zip(*times, strict=True))
    without, with_it = (1000 * statistics.median(taken) for taken in times)
    print(f"without {without:.1f} ms, with {with_it:.1f} ms a step of 16 images, ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
