"""Fuzzing with fixed seeds: damaged and hostile files through the calls that read them.

    python tests/system/fuzz.py --cases 5000 --seed 0     the long run; prints a table
    python tests/system/fuzz.py --seed 0 --case 1234      one case again, with its files kept and its traceback

A case either works, or raises GanfoldError with one printable line. A fault is all else: another exception, a death of
the process, a line of a library on stderr, 60 seconds, 2 GB of memory, a file written anywhere but where the call may
write. Cases run in a child process. Where it dies, the case is named, and another child goes on behind it.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path[:0] = [str(TESTS)]

from ganfold.errors import GanfoldError, printable  # noqa: E402
from system import fuzz_inputs as inputs  # noqa: E402

SECONDS = 60  # most for a case
DEAD = 120  # seconds after which a child that says nothing is killed
MEMORY = 2000  # MB at most, beside what the process has at the start of a case
OWN_LINES = re.compile(r"(Note: |The cache entry |Skipped: |Kept in |Passed over, )")  # what ganfold says on stderr
Kind = Callable[[Path, inputs.Dice, inputs.Stock], inputs.Call]  # makes a case in a folder
CYCLE: tuple[Kind, ...] = (
    inputs.picture_in_a_folder, inputs.array, inputs.picture_in_a_zip, inputs.metadata, inputs.run_file,
    inputs.picture_in_a_folder, inputs.zip_table, inputs.image_to_change, inputs.checkpoint_content, inputs.cache_file,
    inputs.picture_in_a_folder, inputs.idx, inputs.picture_in_a_tar, inputs.tar_headers, inputs.run_file,
    inputs.picture_in_a_folder, inputs.names, inputs.cached_features, inputs.checkpoint_bytes, inputs.parquet,
)  # fmt: skip
"""The kind of case `i` is that of place `i` modulo the length: any hundred cases hold every kind."""


@dataclass(frozen=True)
class Outcome:
    """What became of one case."""

    number: int
    kind: str
    result: str  # "used", "refused" or "fault"
    said: str  # the sentence, or what the fault is
    seconds: float = 0.0
    megabytes: float = 0.0


def kind_of(number: int) -> str:
    """The kind of a case, in words."""
    return CYCLE[number % len(CYCLE)].__name__.replace("_", " ")


def run_cases(numbers: Sequence[int], seed: int, place: Path) -> Iterator[Outcome]:
    """Run cases in child processes, one after the other, in the folder `place`."""
    left = list(numbers)
    while left:
        for outcome in _child(left, seed, place):
            yield outcome
            left = [number for number in left if number != outcome.number]


def _child(numbers: list[int], seed: int, place: Path) -> Iterator[Outcome]:
    """Run cases in one child until it is done or dies; the case that it dies in is a fault."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    (place / "cases.json").write_text(json.dumps(numbers))
    words = [sys.executable, str(Path(__file__).resolve()), "--seed", str(seed), "--child", str(place)]
    with open(place / "stderr", "wb") as errors:
        child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors, env=_environment(place))
    current = -1
    for line in _lines(child):
        message = json.loads(line)
        if "begun" in message:
            current = message["begun"]
            continue
        current = -1
        yield Outcome(**message)
    code = child.wait()
    said = (place / "stderr").read_text(errors="replace")[-3000:]
    if current < 0 and code:
        raise RuntimeError(f"the child ended with {code} outside of any case:\n{said}")
    if current >= 0:
        how = f"says nothing for {DEAD} s" if code == -signal.SIGKILL else f"ends with {code}"
        yield Outcome(current, kind_of(current), "fault", f"the process {how}: {said}", DEAD)


def _lines(child: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """The lines that a child prints; it is killed where it prints none for long."""
    assert child.stdout
    rest = b""
    while True:
        ready, _, _ = select.select([child.stdout], [], [], DEAD)
        part = os.read(child.stdout.fileno(), 2**16) if ready else b""
        if not ready:
            child.kill()
        if not part:
            return
        *whole, rest = (rest + part).split(b"\n")
        yield from whole


def _environment(place: Path) -> dict[str, str]:
    """Folders of its own for all that is written, and one thread."""
    for name in ("home", "tmp", "elsewhere"):
        (place / name).mkdir()
    own = {"HOME": place / "home", "TMPDIR": place / "tmp", "GANFOLD_CACHE": place / "cache"}
    library = {"MPLCONFIGDIR": place / "cache" / "matplotlib", "HF_HOME": place / "cache" / "hf", "HF_HUB_OFFLINE": 1}
    more = {**own, **library, "OMP_NUM_THREADS": 1}
    return {**os.environ, **{name: str(value) for name, value in more.items()}}


def _serve(place: Path, seed: int) -> None:
    """What a child does: run the cases that `cases.json` names, and print what becomes of each."""
    answers = os.fdopen(os.dup(1), "w")
    stock_folder = place / "stock"
    stock_folder.mkdir()
    stock = inputs.Stock.made(stock_folder)
    faulthandler.enable(open(place / "stderr", "ab"))  # noqa: SIM115
    os.chdir(place / "elsewhere")
    for number in json.loads((place / "cases.json").read_text()):
        print(json.dumps({"begun": number}), file=answers, flush=True)
        print(json.dumps(asdict(run_case(number, seed, place, stock))), file=answers, flush=True)


class _TooLong(BaseException):
    """A case takes longer than it may."""


def run_case(number: int, seed: int, place: Path, stock: inputs.Stock, keep: bool = False) -> Outcome:
    """Run one case in this process."""
    folder, dice = place / "case", inputs.Dice(seed, number)
    folder.mkdir()
    call = CYCLE[number % len(CYCLE)](folder, dice, stock)
    before = _files(place)
    _forget_peak()
    base, start = _status("VmRSS"), time.monotonic()
    with _caught_output(place / "output") as output:
        result, said = _tried(call, keep)
    seconds, megabytes = time.monotonic() - start, _status("VmHWM") - base
    faults = [] if result != "fault" else [said]
    faults += [f"stderr: {line}" for line in output() if line and not (OWN_LINES.match(line) and line.isprintable())]
    faults += [f"memory: {megabytes:.0f} MB"] if megabytes > MEMORY else []
    faults += [f"written: {name}" for name, state in _files(place).items() if before.get(name) != state]
    if not keep:
        shutil.rmtree(folder)
        with suppress(FileNotFoundError):
            shutil.rmtree(place / "cache")
    return Outcome(
        number, kind_of(number), "fault" if faults else result, "; ".join(faults) or said, seconds, megabytes
    )


def _tried(call: inputs.Call, show: bool) -> tuple[str, str]:
    """What comes of a call, and the sentence or the fault."""

    def end(*_: object) -> None:
        raise _TooLong

    signal.signal(signal.SIGALRM, end)
    signal.alarm(SECONDS)
    try:
        with warnings.catch_warnings():
            for category in (UserWarning, RuntimeWarning):
                warnings.simplefilter("always", category)  # each case sees its own
            result = call()
            str(result)
        return "used", ""
    except GanfoldError as error:
        said = str(error)
        if show:
            traceback.print_exc()
        whole = said and said == printable(said) and "\\u000a" not in said
        return ("refused", said) if whole else ("fault", f"not one printable line: {said!r:.300}")
    except (Exception, _TooLong) as error:
        if show:
            traceback.print_exc()
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/ganfold/" in frame.filename]
        where = f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
        return "fault", f"{type(error).__name__}{where}: {str(error)[:300]}"
    finally:
        signal.alarm(0)


@contextmanager
def _caught_output(path: Path) -> Iterator[Callable[[], list[str]]]:
    """Write stdout and stderr, also of C libraries, to a file; yields a function that reads its lines afterwards."""
    kept = [os.dup(1), os.dup(2)]
    with open(path, "wb") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    try:
        yield lambda: path.read_text(errors="replace").splitlines()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, old in zip((1, 2), kept, strict=True):
            os.dup2(old, number)
            os.close(old)


def _files(place: Path) -> dict[str, tuple[int, int]]:
    """Size and time of all files that no case may change: what it was given, and what lies beside it."""
    found = {}
    for top in ("elsewhere", "home", "tmp", "stock", "case"):
        for folder, _, names in os.walk(place / top):
            below = Path(folder).relative_to(place)
            if below.parts[:2] in (("case", "run"), ("case", "out"), ("case", "cache")):  # of the verbs that write
                continue
            for name in names:
                with suppress(OSError):
                    state = (Path(folder) / name).lstat()
                    found[str(below / name)] = (state.st_size, state.st_mtime_ns)
    return {name: state for name, state in found.items() if name != "case/out"}


def _status(name: str) -> float:
    """A number of /proc/self/status in MB; elsewhere the peak of the process."""
    with suppress(OSError):
        found = re.search(rf"^{name}:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
        return int(found[1]) / 1024 if found else 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _forget_peak() -> None:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def table(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """A row for each kind: how many cases ended how, the slowest, the largest."""
    of_kind: dict[str, list[Outcome]] = {kind_of(number): [] for number in range(len(CYCLE))}
    for outcome in outcomes:
        of_kind[outcome.kind].append(outcome)
    rows = []
    for kind, group in of_kind.items():
        counts = Counter(outcome.result for outcome in group)
        rows.append({
            "input": kind, "cases": len(group), "used": counts["used"], "refused": counts["refused"],
            "faults": counts["fault"], "slowest s": round(max((o.seconds for o in group), default=0), 2),
            "peak MB": round(max((o.megabytes for o in group), default=0)),
        })  # fmt: skip
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="run this one alone, in this process, and keep its files")
    parser.add_argument("--kind", help="only cases of the kinds whose name holds this text")
    parser.add_argument("--record", action="store_true", help="append the table to lab/results/fuzz.jsonl")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _serve(options.child, options.seed)
        return 0
    if options.case is not None:
        return _one(options.case, options.seed)
    numbers = [number for number in range(options.cases) if (options.kind or "") in kind_of(number)]
    outcomes = []
    with tempfile.TemporaryDirectory() as place:
        for outcome in run_cases(numbers, options.seed, Path(place) / "fuzz"):
            outcomes.append(outcome)
            if outcome.result == "fault":
                print(f"{outcome.number} ({outcome.kind}): {outcome.said}", flush=True)
    rows = table(outcomes)
    print("  ".join(["input".ljust(20), *(name.rjust(9) for name in list(rows[0])[1:])]))
    for row in rows:
        print("  ".join([str(row["input"]).ljust(20), *(str(value).rjust(9) for value in list(row.values())[1:])]))
    if options.record:
        _record(rows, options.seed)
    return int(any(row["faults"] for row in rows))


def _one(number: int, seed: int) -> int:
    place = Path(tempfile.mkdtemp(prefix="fuzz"))
    os.environ.update(_environment(place))
    (place / "stock").mkdir()
    stock = inputs.Stock.made(place / "stock")
    outcome = run_case(number, seed, place, stock, keep=True)
    print((place / "output").read_text(errors="replace"), outcome, place / "case", sep="\n")
    return int(outcome.result == "fault")


def _record(rows: list[dict[str, Any]], seed: int) -> None:
    sys.path[:0] = [str(TESTS.parent / "lab" / "scripts")]
    import harness

    for row in filter(lambda row: row["cases"], rows):
        metrics = {name.replace(" ", "_"): value for name, value in row.items() if name != "input"}
        harness.record("fuzz", metrics, seed=seed, input=row["input"])


if __name__ == "__main__":
    sys.exit(main())
