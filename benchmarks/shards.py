"""Many images from shards: the cost of preparing them, and the rate and memory of training on them.

    python benchmarks/shards.py --count 1000000         # webdataset and parquet
    python benchmarks/shards.py --count 20000 --kind parquet

The images are JPEGs of 64 px with a class, in shards of 10,000. For each kind of shard four things are measured, each
in a process of its own:

- prepare: from shards to the array that training maps, with all cores;
- read: batches of 64 in the order of training, from that array;
- plain: batches of 64 from the same shards by a plain `torch.utils.data.DataLoader`, in the order of the shards and
  with as many workers as there are cores, for at most 20,000 images;
- train: steps of a small DCGAN.

Memory is the highest sum of anonymous memory of a process and its children. It excludes pages of mapped files, which
the system drops when it needs room. Linux only: it reads /proc. Rows go to `lab/results/large-data.jsonl`.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from prepare_million import memory

SIDE, SHARD, BATCH, CLASSES = 64, 10_000, 64, 10
PLAIN = 20_000  # images that the plain loader reads at most: its rate does not depend on their number
STEPS = 30  # of the training
KINDS = ("webdataset", "parquet")

PREPARE = """
from ganfold.data import load
images = load(sys.argv[1], progress=False)
done(len(images))
"""
READ = """
import numpy as np, torch
from ganfold.data import load
from ganfold.training.batches import Batches
from ganfold.training.ranks import Ranks
images = load(sys.argv[1], progress=False)
batches = Batches(images, seed=0, size=BATCH, ranks=Ranks("cpu"), device=torch.device("cpu"), flips=False)
batches.draw(0)
start = time.perf_counter()
count = min(len(images.train), 200_000) // BATCH
for number in range(1, count):
    batches.draw(number)
done((count - 1) * BATCH)
"""
PLAIN_LOADER = """
import io, tarfile, torch
import numpy as np
from pathlib import Path
from PIL import Image

def decoded(content):
    return torch.from_numpy(np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).copy()).permute(2, 0, 1)

class Shards(torch.utils.data.IterableDataset):
    def __iter__(self):
        info = torch.utils.data.get_worker_info()
        for path in sorted(Path(sys.argv[1]).iterdir())[info.id::info.num_workers]:
            if path.suffix == ".tar":
                with tarfile.open(path) as tar:
                    for member in tar:
                        if member.name.endswith(".jpg"):
                            yield decoded(tar.extractfile(member).read())
            else:
                import pyarrow.parquet
                for rows in pyarrow.parquet.ParquetFile(path).iter_batches(256, columns=["image"]):
                    for row in rows.column(0).to_pylist():
                        yield decoded(row["bytes"])

if __name__ == "__main__":
    loader = iter(torch.utils.data.DataLoader(Shards(), BATCH, num_workers=os.cpu_count()))
    next(loader)
    start, read = time.perf_counter(), 0
    for batch in loader:
        read += len(batch)
        if read >= PLAIN:
            break
    done(read)
"""
TRAIN = """
import ganfold
out, steps = sys.argv[2], STEPS
ganfold.train("dcgan", data=sys.argv[1], out=out, batch=BATCH, width=16, kimg=steps * BATCH / 1000, progress=False)
done(steps * BATCH)
"""
HEAD = f"""
import json, os, sys, time
BATCH, PLAIN, STEPS = {BATCH}, {PLAIN}, {STEPS}
start = time.perf_counter()
def done(count):
    print("DONE " + json.dumps([count, time.perf_counter() - start]))
"""
STAGES = {"prepare": PREPARE, "read": READ, "plain": PLAIN_LOADER, "train": TRAIN}


def jpegs(count: int) -> Iterator[tuple[bytes, int]]:
    """JPEG files and classes, the same each time: soft shapes, of about the size that photographs of 64 px have."""
    import cv2

    random = np.random.default_rng(0)
    for number in range(count):
        coarse = random.integers(0, 256, (10, 10, 3), np.uint8)
        soft = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        yield cv2.imencode(".jpg", soft)[1].tobytes(), number % CLASSES


def write_shards(kind: str, count: int, folder: Path) -> None:
    """Write the images as shards of this kind."""
    folder.mkdir()
    images = jpegs(count)
    for number, start in enumerate(range(0, count, SHARD)):
        here = min(SHARD, count - start)
        name = folder / f"train-{number:05d}"
        if kind == "parquet":
            _write_parquet(name.with_suffix(".parquet"), [next(images) for _ in range(here)])
            continue
        with tarfile.open(name.with_suffix(".tar"), "w") as tar:
            for place in range(start, start + here):
                content, label = next(images)
                for suffix, member in (("jpg", content), ("cls", str(label).encode())):
                    info = tarfile.TarInfo(f"{place:08d}.{suffix}")
                    info.size = len(member)
                    tar.addfile(info, io.BytesIO(member))


def _write_parquet(path: Path, images: list[tuple[bytes, int]]) -> None:
    import pyarrow
    import pyarrow.parquet

    column = [{"bytes": content, "path": None} for content, _ in images]
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    table = pyarrow.table({"image": pyarrow.array(column, kind), "label": [label for _, label in images]})
    pyarrow.parquet.write_table(table, path, row_group_size=1000)


def measure(stage: str, shards: Path, out: Path, cache: Path) -> dict[str, Any]:
    """Run one stage in a process of its own: images, images/s, and the peak of anonymous memory in MB."""
    script = out / f"{stage}.py"  # a file, because workers of the plain loader may import it
    script.write_text(HEAD + STAGES[stage])
    process = subprocess.Popen(
        [sys.executable, script, shards, out / "run"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "GANFOLD_CACHE": str(cache)},
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, memory(process.pid)["Anonymous"])
        time.sleep(0.1)
    said = process.stdout.read() if process.stdout else ""
    if process.returncode:
        sys.exit(f"{stage} of {shards} failed")
    count, seconds = json.loads(next(line for line in said.splitlines() if line.startswith("DONE "))[5:])
    return {"images read": count, "images/s": round(count / seconds), "anonymous MB": peak}


def main() -> None:
    from harness import record

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000, help="images")
    parser.add_argument("--kind", choices=KINDS, nargs="*", default=KINDS)
    parser.add_argument("--folder", help="where to make and remove them [the system's temporary folder]")
    options = parser.parse_args()
    for kind in options.kind:
        with tempfile.TemporaryDirectory(prefix="ganfold-shards-", dir=options.folder) as name:
            folder = Path(name)
            write_shards(kind, options.count, folder / "shards")
            for stage in STAGES:
                measured = measure(stage, folder / "shards", folder, folder / "cache")
                print(f"{kind} {stage}: {measured}", flush=True)
                record("large-data", measured, seed=0, shards=kind, stage=stage, images=options.count)


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parents[1] / "lab" / "scripts"))
    main()
