"""The lab's record: a row holds all that is needed to repeat it, and every script starts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ganfold.runs.record import DataRecord
from harness import COMMIT, RESULTS, ROOT, commit, record

FOLDERS = (ROOT / "lab" / "scripts", ROOT / "benchmarks")
DATA = DataRecord("faces", "0123456789abcdef", 900, 100, 32, 3, (), ())
START_ALL = """
import contextlib, io, runpy, sys
failed = []
for path in sys.argv[1:]:
    sys.argv, out = [path, "--help"], io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            runpy.run_path(path, run_name="__main__")
        if 'if __name__ == "__main__":' in open(path, encoding="utf-8").read():
            failed.append(f"{path} ran in spite of --help")
    except SystemExit as exit:
        if exit.code or "usage:" not in out.getvalue():
            failed.append(f"{path} exits with {exit.code}")
    except Exception as error:
        failed.append(f"{path}: {type(error).__name__}: {error}")
print(failed)
"""


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(RESULTS, str(tmp_path / "results"))
    return tmp_path / "results"


def test_a_row_has_every_field(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(ROOT / "lab/scripts/try.py"), "--minutes", "3", "a b"])
    row = record("try", {"KID": np.float32(0.5), "each": [1, 2]}, seed=3, data=DATA, minutes=3.0, few=None)
    assert row["experiment"] == "try"
    assert row["date"].endswith("+00:00")
    assert row["command"] == "python lab/scripts/try.py --minutes 3 'a b'"
    assert row["commit"] == COMMIT
    assert row["seed"] == 3
    assert row["machine"].keys() == {"device", "cpu", "threads"}
    assert row["versions"].keys() == {"ganfold", "torch", "python"}
    assert row["versions"]["torch"] == torch.__version__
    assert row["protocol"] == {"data": "faces, 1,000 images of 32 px, 0123456789ab", "minutes": 3.0}
    assert row["metrics"] == {"KID": 0.5, "each": [1, 2]}
    record("try", {}, seed=4)
    first, second = (json.loads(line) for line in (results / "try.jsonl").read_text().splitlines())
    assert first == row
    assert second["seed"] == 4


def test_the_commit_is_marked_where_code_is_changed(tmp_path: Path) -> None:
    assert commit(tmp_path) == ""
    code, other = tmp_path / "src" / "code.py", tmp_path / "notes.md"
    code.parent.mkdir()
    code.write_text("1")
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    for words in (("init", "-q"), ("add", "."), (*identity, "commit", "-qm", "first")):
        subprocess.run(["git", "-C", tmp_path, *words], check=True)
    short = commit(tmp_path)
    assert len(short) >= 4
    assert not short.endswith("+")
    other.write_text("results are not code")
    assert commit(tmp_path) == short
    code.write_text("2")
    assert commit(tmp_path) == f"{short}+"


def test_every_script_starts() -> None:
    files = [path for folder in FOLDERS for path in sorted(folder.glob("*.py")) if path.name != "structure.py"]
    assert len(files) > 20
    code = f"import sys; sys.path[:0] = {[str(folder) for folder in FOLDERS]}\n{START_ALL}"
    done = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
