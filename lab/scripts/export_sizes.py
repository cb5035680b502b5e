"""Each GAN trained for a while and exported in each form: sizes, and largest differences from `sample`.

OMP_NUM_THREADS=1 python lab/scripts/export_sizes.py --runtime node_modules/onnxruntime-web

`--runtime` is a folder with onnxruntime-web (`npm install onnxruntime-web`), for the size of the page.
"""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ganfold
from ganfold.errors import GanfoldError
from ganfold.exports.onnx_file import onnx_bytes
from ganfold.exports.sampler import Sampler, facts
from ganfold.exports.torch_file import torch_files
from ganfold.exports.web import page
from ganfold.gans.registry import GANS
from ganfold.runs.run import Run
from harness import protocol_of, record

DATA: dict[str, dict[str, Any]] = {
    "rsgan": {"data": "avatars", "resolution": 64, "flatten": True},
    "r3gan": {"data": "avatars"},
    "dcgan": {"data": "avatars"},
    "gan": {"data": "digits"},
    "cgan": {"data": "digits"},
    "wgan": {"data": "avatars"},
    "wgan-gp": {"data": "avatars"},
    "infogan": {"data": "digits"},
    "pix2pix": {"data": "avatars", "input": "edges"},
    "cyclegan": {"data": "scenes", "target": "avatars"},
    "srgan": {"data": "avatars", "resolution": 64, "pretrain_kimg": 1.0, "crops": "off"},
    "context-encoder": {"data": "avatars"},
    "gawwn": {"data": "scenes"},
}


def spread(run: Run) -> float:
    """The standard deviation of the pixels of `sample` in [-1, 1]: a generator of grey would agree with anything."""
    sampler = Sampler(run.gan)
    return float(sampler(*sampler.inputs(16, sampler.grid.traced(), seed=1).values()).std())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gans", nargs="+", default=list(GANS), choices=list(GANS))
    parser.add_argument("--minutes", type=float, default=0.25, help="of training")
    parser.add_argument("--runtime", type=Path, required=True, help="a folder with onnxruntime-web")
    parser.add_argument("--keep", type=Path, help="where to leave runs and exports [nowhere]")
    options = parser.parse_args()
    with TemporaryDirectory() as scratch:
        for name in options.gans:
            folder = (options.keep or Path(scratch)) / name
            settings = {"resolution": 32, "evaluate_every": 0} | DATA[name]
            run = ganfold.train(name, out=folder / "run", minutes=options.minutes, progress=False, **settings)
            said = facts(run, "unknown")
            model, difference = onnx_bytes(run, said)
            files, other = torch_files(run, said)
            sizes = {"onnx": len(model), "torch": sum(map(len, files.values()))}
            with suppress(GanfoldError):  # it is larger than a page may be
                sizes["web"] = len(page(said, model, options.runtime))
            metrics = {"spread": spread(run), "onnx difference": difference, "torch difference": other}
            metrics |= {f"{form} MB": size / 1e6 for form, size in sizes.items()}
            row = record("export-sizes", metrics, seed=0, data=run.record.data, **protocol_of(run))
            print(name, row["metrics"], flush=True)


if __name__ == "__main__":
    main()
