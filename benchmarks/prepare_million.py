"""The cost of preparing a million images: seconds, images a second, peak memory of all processes.

    python benchmarks/prepare_million.py --count 1000000 --source zip

The images are random PNGs of 16 px in an uncompressed zip or in a folder of 1,000 sub-folders (classes), or rows of an
`.npy`. Anonymous memory counts against a limit. Resident memory also includes pages of files, which the system drops
when it needs room. Linux only: it reads /proc.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 16
LOAD = """
import sys, time
from pathlib import Path
from ganfold.data import load
start = time.perf_counter()
images = load(sys.argv[1], cache=Path(sys.argv[2]))
seconds = time.perf_counter() - start
rate = f", {images.findings.found / seconds:,.0f} images/s" if seconds > 1 else ""
print(f"{len(images):,} images {images.images.shape} in {seconds:.3f} s{rate}")
"""


def random_images(count: int) -> Iterator[tuple[str, bytes]]:
    """Names and contents of PNG files, the same each time."""
    random = np.random.default_rng(0)
    for i in range(count):
        file = io.BytesIO()
        pixels = random.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        Image.fromarray(pixels).save(file, "PNG", compress_level=1)
        yield f"class{i % 1000:03}/{i:07}.png", file.getvalue()


def write_source(kind: str, count: int, folder: Path) -> Path:
    """Write the images as a "zip", a "folder" or an "npy"."""
    if kind == "npy":
        path = folder / "million.npy"
        out = np.lib.format.open_memmap(path, "w+", np.uint8, (count, SIDE, SIDE, 3))
        for start in range(0, count, 10_000):
            part = out[start : start + 10_000]
            part[:] = np.random.default_rng(start).integers(0, 256, part.shape, np.uint8)
        out.flush()
    elif kind == "zip":
        path = folder / "million.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in random_images(count):
                archive.writestr(name, content)
    else:
        path = folder / "million"
        for name, content in random_images(count):
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    return path


def memory(root: int) -> dict[str, int]:
    """Memory in MB of a process and all its descendants, by kind. A process that ends meanwhile counts as 0."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parents[int(entry)] = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    family = {root}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    total = {"Anonymous": 0, "Rss": 0, "Pss": 0}
    for pid in family:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            key, _, value = line.partition(":")
            if key in total:
                total[key] += int(value.split()[0]) // 1024
    return total


def measure(source: Path, cache: Path) -> None:
    """Load the source in a new process, and print seconds and peak memory."""
    process = subprocess.Popen([sys.executable, "-c", LOAD, str(source), str(cache)])
    peak = {"Anonymous": 0, "Rss": 0, "Pss": 0}
    start = time.perf_counter()
    while process.poll() is None:
        peak = {key: max(peak[key], value) for key, value in memory(process.pid).items()}
        time.sleep(0.1)
    print(
        f"  with start and import {time.perf_counter() - start:.1f} s; peak of parent and children: "
        f"anonymous {peak['Anonymous']:,} MB, resident {peak['Rss']:,} MB (shared pages once: {peak['Pss']:,} MB)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of preparing a million images.")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--source", choices=("zip", "folder", "npy"), default="zip")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ganfold-million-") as folder:
        start = time.perf_counter()
        source = write_source(options.source, options.count, Path(folder))
        print(f"made {options.count:,} images as {options.source} in {time.perf_counter() - start:.0f} s", flush=True)
        for what in ("fresh", "cached"):
            print(f"{what}:", flush=True)
            measure(source, Path(folder) / "cache")


if __name__ == "__main__":
    main()
