"""How long a command takes to start: its help, the first step of a training on a cached set, one grid of samples.

Each is run several times in a process of its own. The median is printed, with the processor time and the modules that
the command imported.

    python benchmarks/start.py [--times 5]

A row for each command is added to lab/results/start.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).resolve().parents[1] / "lab" / "scripts"))

HEAVY = ("torch", "torch._dynamo", "sklearn", "matplotlib", "cv2", "scipy", "skimage", "datasets", "tensorboardX")
CODE = """
import json, sys
import ganfold.cli
def end():
    print(json.dumps([m for m in {heavy} if m in sys.modules]), file=sys.stderr, flush=True)
    import os
    os._exit(0)
if {stop}:
    from ganfold.training.trainer import Trainer
    step = Trainer.step
    Trainer.step = lambda self: (step(self), end())
ganfold.cli.main({words})
end()
"""


def started(words: list[str], stop: bool = False) -> tuple[float, float, list[str]]:
    """Seconds until the command ends, or has made its first step; processor time; the heavy modules it imported."""
    code = CODE.format(heavy=HEAVY, stop=stop, words=words)
    before, begun = os.times(), time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    wall, after = time.perf_counter() - begun, os.times()
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, processor, json.loads(done.stderr.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5)
    requested = parser.parse_args()
    from ganfold import device
    from harness import record

    cpu = device.describe(torch.device("cpu"))["cpu"]

    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        train = ["train", "rsgan", "--data", "avatars", "--resolution", "32", "--quiet"]
        commands: dict[str, Callable[[int], tuple[float, float, list[str]]]] = {
            "ganfold --help": lambda _: started(["--help"]),
            "ganfold train, to the first step": lambda n: started([*train, "--out", f"{folder}/{n}"], True),
            "ganfold sample, one grid": lambda n: started(["sample", str(run), "--out", f"{folder}/{n}.png"]),
        }
        started([*train, "--kimg", "0.1", "--out", str(run)])  # the set is cached, and there is something to sample
        for what, command in commands.items():
            walls, processors, heavy = zip(*(command(number) for number in range(requested.times)), strict=True)
            metrics = {
                "seconds": statistics.median(walls),
                "range": f"{min(walls):.2f} to {max(walls):.2f}",
                "processor seconds": statistics.median(processors),
                "imports": ", ".join(heavy[-1]) or "none",
            }
            record("start", metrics | {"times": requested.times}, seed=0, what=what, cpu=cpu)
            print(what, {key: round(v, 3) if isinstance(v, float) else v for key, v in metrics.items()}, flush=True)


if __name__ == "__main__":
    main()
