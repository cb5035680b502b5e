"""A study on two workers of Dask and of Ray, one of which is killed in the middle of a job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from blobs import saved

SCRIPT = Path(__file__).parents[1] / "study_on_cluster.py"


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_a_study_survives_a_killed_worker(backend: str, package: str, tmp_path: Path) -> None:
    pytest.importorskip(package)
    data, out, killed = saved(tmp_path / "some.npz", (60, 60, 30)), tmp_path / "out", tmp_path / "killed"
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(SCRIPT.parent),
        "GANFOLD_CACHE": str(tmp_path / "cache"),
        "GANFOLD_TEST_KILLED": str(killed),
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    done = subprocess.run(
        [sys.executable, str(SCRIPT), backend, str(data), str(out)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert killed.exists()
    assert done.stdout.splitlines()[-1].endswith("11 rows"), done.stdout
    assert len(list((out / "jobs").glob("*.json"))) == 12
    rows = json.loads((out / "study.json").read_text())["rows"]
    assert all(0 <= share <= 1 for row in rows for share in row["each"])
