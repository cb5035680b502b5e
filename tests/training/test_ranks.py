"""Two gloo ranks against one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]  # on a free port
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_two_ranks_equal_one_with_the_joined_batch(squares: Path, tmp_path: Path) -> None:
    script = str(Path(__file__).parents[1] / "two_ranks.py")
    for world, words in (("one", [sys.executable]), ("two", TORCHRUN)):
        out = tmp_path / f"{world}-7"
        subprocess.run([*words, script, str(squares), str(out)], check=True, env=ENVIRONMENT, capture_output=True)
    one, two = (torch.load(tmp_path / f"{world}-7", weights_only=True) for world in ("one", "two"))
    assert (one.pop("world"), two.pop("world")) == (1, 2)
    assert one.keys() == two.keys()
    assert one.pop("meter.spread").isfinite().all()  # the deviation over the images of a rank
    for name in one:
        assert torch.allclose(one[name], two[name], rtol=1e-4, atol=1e-5), name
    assert any(not torch.equal(one[name], two[name]) for name in one)  # sums in another order: they are really two


@pytest.mark.slow
def test_torchrun_trains_says_what_batch_norm_does_and_writes_once(squares: Path, tmp_path: Path) -> None:
    flags = ["--batch", "8", "--width", "4", "--resolution", "16", "--kimg", "0.08", "--report-kimg", "0.02"]
    words = ["-m", "ganfold", "train", "dcgan", "--data", str(squares), "--out", str(tmp_path / "run"), *flags]
    done = subprocess.run([*TORCHRUN, *words], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "BatchNorm sees each rank's own 4 images, not the joined 8" in done.stdout
    assert done.stdout.count("Done:") == 1
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [row["kimg"] for row in log] == [0.024, 0.04, 0.064, 0.08]
    refused = subprocess.run(
        [*TORCHRUN, *words, "--sync-bn", "--restart"], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert refused.returncode != 0
    assert "--sync-bn needs CUDA devices" in refused.stderr
