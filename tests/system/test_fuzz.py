"""Damaged and hostile files through the calls that read them; see `fuzz`.

More cases: `GANFOLD_FUZZ_CASES=5000 pytest tests/system/test_fuzz.py`.

Where the kinds were looked for: every file that ganfold opens. Those are pictures in all formats (in folders, zips and
tars, and as they are given to `inpaint`, `upscale` and `translate`), arrays (npy, npz, IDX, CIFAR), the tables of zips
and tars, Parquet, metadata and StyleGAN's labels, all files of a run with the tensors of its checkpoints, the cache,
and features in the cache. Names of classes and files are a kind of their own. Left out are files that are code
(TorchScript, a user's GAN), and weights, which `tests/networks/test_perceptual.py` damages.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from ganfold.errors import GanfoldError
from system import fuzz, fuzz_inputs

CASES = int(os.environ.get("GANFOLD_FUZZ_CASES", "300"))
SEED = 0


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_each_damaged_file_is_used_or_refused_in_one_sentence(tmp_path: Path) -> None:
    outcomes = list(fuzz.run_cases(range(CASES), SEED, tmp_path / "fuzz"))
    assert [outcome.number for outcome in outcomes] == list(range(CASES))
    assert [outcome for outcome in outcomes if outcome.result == "fault"] == []
    rows = {row["input"]: row for row in fuzz.table(outcomes)}
    both = Counter(result for row in rows.values() for result in ("used", "refused") if row[result])
    assert len(rows) == len({kind.__name__ for kind in fuzz.CYCLE})
    assert min(both.values()) >= 8  # the damage is neither too small nor too large to show anything


def _lives(*_: object) -> fuzz_inputs.Call:
    return lambda: "fine"


def _ends(*_: object) -> fuzz_inputs.Call:
    return lambda: os._exit(3)


def _raises(*_: object) -> fuzz_inputs.Call:
    return lambda: int("no number")


def _refuses(*_: object) -> fuzz_inputs.Call:
    def call() -> object:
        raise GanfoldError("no")

    return call


def _prints(*_: object) -> fuzz_inputs.Call:
    return lambda: os.write(2, b"a library says\n")


def _writes(folder: Path, *_: object) -> fuzz_inputs.Call:
    return lambda: (folder.parent / "elsewhere" / "x").write_text("x")


def _takes(*_: object) -> fuzz_inputs.Call:
    return lambda: mmap.mmap(-1, 2**25).write(bytes(2**25))  # memory of the system: freed memory may be used again


def _speaks(*_: object) -> fuzz_inputs.Call:
    def call() -> object:
        raise GanfoldError("two\nlines")

    return call


@pytest.mark.parametrize(
    ("kind", "result", "said"),
    [
        (_lives, "used", ""),
        (_refuses, "refused", "no"),
        (_raises, "fault", "ValueError"),
        (_prints, "fault", "stderr: a library says"),
        (_writes, "fault", "written: elsewhere/x"),
        (_takes, "fault", "memory: "),
        (_speaks, "fault", "not one printable line"),
    ],
)
def test_the_harness_tells_faults_from_what_is_allowed(
    kind: fuzz.Kind, result: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz, "CYCLE", (kind,))
    monkeypatch.setattr(fuzz, "MEMORY", 10)
    (tmp_path / "elsewhere").mkdir()
    stock = fuzz_inputs.Stock({}, b"", tmp_path, tmp_path, b"")
    outcome = fuzz.run_case(0, 0, tmp_path, stock)
    assert (outcome.result, said in outcome.said) == (result, True), outcome


def test_a_case_that_kills_the_process_is_named_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "child.py"
    script.write_text(
        "import sys\n"
        f"sys.path[:0] = [{str(fuzz.TESTS)!r}]\n"
        "from system import fuzz, fuzz_inputs, test_fuzz\n"
        "fuzz.CYCLE = (test_fuzz._lives, test_fuzz._ends, test_fuzz._lives)\n"
        "fuzz_inputs.Stock.made = lambda folder: None\n"
        "sys.exit(fuzz.main())\n"
    )
    monkeypatch.setattr(fuzz, "CYCLE", (_lives, _ends, _lives))
    monkeypatch.setattr(fuzz, "__file__", str(script))
    outcomes = {outcome.number: outcome for outcome in fuzz.run_cases(range(3), 0, tmp_path / "fuzz")}
    assert [outcomes[number].result for number in range(3)] == ["used", "fault", "used"]
    assert "the process ends with 3" in outcomes[1].said


def test_a_number_names_the_same_case_again() -> None:
    one, other = fuzz_inputs.Dice(1, 7), fuzz_inputs.Dice(1, 7)
    content = bytes(range(256)) * 4
    assert one.mutated(content) == other.mutated(content) != fuzz_inputs.Dice(1, 8).mutated(content)
