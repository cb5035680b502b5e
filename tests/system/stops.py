"""Stop every verb at every call that writes, give the same command again, and compare with a run that nothing stopped.

    python tests/system/stops.py [--cases N] [--all] [--seconds S] [--only COMMAND ...] [--record]

A parent imports everything once. Each case is a fork of it, which costs a tenth of a second. An audit hook of Python
sees every open for writing, mkdir, rename, link, unlink and rmdir before it happens; `fsync` and safetensors' writer
(which is Rust) are wrapped. These calls are the points of a command. At point n a case does one of these:

    kill    SIGKILL
    torn    SIGKILL in the middle of the next write: the file keeps its first 100 bytes
    full    no call from here on finds space: ENOSPC
    short   no file grows beyond 100 bytes from here on, as on a disk that is nearly full: EFBIG
    term, hangup, twice, stop    SIGTERM; SIGHUP; SIGINT two times; SIGSTOP, SIGCONT, then SIGKILL

Then the same command runs undisturbed. Its files must be those of the reference, whatever was there before must be
there, and nothing unfinished may be left. All cases run in one folder: paths are equal, and files comparable by bytes.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import gc
import hashlib
import importlib
import json
import os
import pkgutil
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

# ruff: noqa: E402
ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "lab" / "scripts")]

import ganfold
from blobs import lenient, saved
from ganfold import cli
from ganfold.files import LOCK, TEMPORARY, UNFINISHED
from ganfold.gans import GANS, find
from ganfold.runs import checkpoint
from harness import record
from tiny import write_squares

WAYS = ("kill", "kill", "kill", "torn", "torn", "stop", "full", "short", "term", "hangup", "twice")  # as often as here
KILLS, FULL = ("kill", "torn", "stop"), ("full", "short")
SIGNALS = {"term": [signal.SIGTERM], "hangup": [signal.SIGHUP], "twice": [signal.SIGINT, signal.SIGINT]}
SMALL = {"batch": 8, "z_dim": 6, "width": 4, "blocks": 1, "pretrain_kimg": 0.016}
MINE = b'"mine"'  # the content of the user's own files
LEAST = 100  # bytes that a file still gets on a disk that is nearly full
PATIENCE = 120  # seconds that a command may take
MINUTES = ("minutes of work", "minutes of it for generators")  # of a study
VOLATILE = ("minutes", "seconds", "training_seconds", "images/s", "started", "log_bytes", "command", *MINUTES)
"""Times and what they change; and the command that repeats a planned run, whose flags may come in another order."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
CALLS = ("os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "os.utime")
TAKING = ("open", "os.mkdir", "os.rename", "os.link", "fsync", "save_file")  # calls that need space on the disk


LAZY = (
    "joblib", "matplotlib.pyplot", "rich._emoji_codes", "rich.progress", "scipy.stats",
    "sklearn.linear_model", "sklearn.svm", "sympy", "tensorboardX", "torch._dynamo", "torch.distributed.nn",
    "torch.distributed.tensor", "typeguard", "tyro._backends._argparse_formatter", "tyro._backends._tyro_backend",
)  # fmt: skip
"""Modules that are imported late, which takes a fork a second."""


@dataclass(frozen=True)
class Command:
    """A command and what lies in its folder before it."""

    words: list[str]
    needs: tuple[str, ...] = ("squares.npz", "cache")
    user: tuple[str, ...] = ()  # files of the user's that lie in the way
    by_time: tuple[str, ...] = ("out/tensorboard/",)  # what holds times: pages, names of cached files made on the way
    replaced: str = "newest.png"  # where files of an earlier run may go before the new ones come


def training(gan: str, kimg: float = 0.024, **options: Any) -> list[str]:
    known = {f.name for f in fields(find(gan).config_class)}
    chosen = {name: value for name, value in SMALL.items() if name in known} | {
        "resolution": 16, "kimg": kimg, "report_kimg": 0.016, "checkpoint_minutes": 0, "evaluate_every": 0,
    } | options  # fmt: skip
    data = str(chosen.pop("data", "captioned" if gan == "gawwn" else "squares.npz"))
    flags = [word for name, value in chosen.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    more = {"cyclegan": ["--target", "negative.npy"], "pix2pix": ["--input", "edges"]}.get(gan, [])
    return ["train", gan, "--data", data, "--out", "out", *flags, *more]


def commands() -> dict[str, Command]:
    """All commands by name."""
    squares, faces = ("squares.npz", "cache"), ("blobs.npz", "cache", "faces")
    images = ("squares.npz", "cache", "photos")
    more = {"gawwn": ["captioned"], "cyclegan": ["negative.npy"]}
    change = ["photos", "--out", "made"]
    made = {
        f"train {gan}": Command(training(gan), (*squares, *more.get(gan, ())))
        for gan in GANS
    }  # fmt: skip
    plan = ["train", "--data", "squares.npz", "--out", "out", "--kimg", "0.016", "--batch", "8", "--resolution", "16"]
    study = ["--replicates", "1", "--classifiers", "cnn", "--steps", "2", "--kimg", "0.064"]
    study += ["--share", "0.8", "--factor", "2"]
    pixels = ["--features", "pixels"]
    return made | {
        "train, with checkups": Command(training("gan", 0.048, evaluate_every=0.016, held_out=0.3)),
        "train, by plan": Command(plan),
        "train --restart": Command(
            [*training("gan"), "--restart"], (*squares, "out"), user=("out/mine.txt",), replaced="out/"
        ),
        "train, going on": Command(training("gan", 0.048), (*squares, "out"), user=("out/mine.txt",)),
        "prepare a folder": Command(["check", "photos"], ("photos",)),
        "prepare an array": Command(["check", "squares.npz", "--resolution", "8"], ("squares.npz",)),
        "check": Command(["check", "photos", "--out", "f.json", "--contact-sheet", "c.png"], images, user=("f.json",)),
        "sample, files": Command(["sample", "faces", "--out", "made", "--count", "6"], faces),
        "sample --force": Command(
            ["sample", "faces", "--out", "made", "--count", "6", "--force"],
            faces,
            user=("made/mine.png", "made/0/mine.png"),
        ),
        "sample, a grid": Command(["sample", "faces", "--out", "grid.png", "--count", "6"], faces),
        "evaluate": Command(["evaluate", "faces", *pixels], faces, user=("faces/mine.txt",)),
        "copies": Command(["copies", "faces", "--count", "8", *pixels], faces, user=("faces/mine.txt",)),
        "report": Command(["report", "faces"], faces),
        "probe": Command(["probe", "codes", "--labels", "5"], (*squares, "codes")),
        "upscale": Command(["upscale", "larger", *change], (*images, "larger"), user=("made/mine.png",)),
        "inpaint": Command(["inpaint", "holes", *change, "--mask", "mask.png"], (*images, "holes", "mask.png")),
        "translate": Command(["translate", "drawn", *change], (*images, "drawn")),
        "translate, one image": Command(
            ["translate", "drawn", "photos/0.png", "--out", "made.png"], (*images, "drawn")
        ),
        "augment": Command(
            ["augment", "few.npz", "--out", "out", "--kimg", "0.064", "--steps", "2"],
            ("few.npz", "cache"),
            by_time=("cache/",),
        ),
        "augment, one file": Command(
            ["augment", "few.npz", "--out", "out", "--run", "few", "--ratio", "0.2", "--format", "webdataset"],
            ("few.npz", "cache", "few"),
            by_time=("cache/",),
        ),
        "study": Command(
            ["study", "some.npz", "--out", "out", *study], ("some.npz", "cache"), by_time=("cache/", "out/report.html")
        ),
    }  # fmt: skip


@dataclass
class Ended:
    """How a command ended."""

    code: int  # negative: a signal
    out: str
    err: str
    points: int
    calls: list[str] = field(default_factory=list)


@dataclass
class Result:
    """What the cases of a command gave."""

    verb: str
    points: int
    cases: Counter[str]
    faults: list[str]
    lost: int = 0  # cases after which something was missing, changed or refused

    def row(self) -> dict[str, Any]:
        count = self.cases
        return {
            "points": self.points,
            "kills": sum(count[way] for way in KILLS),
            "full": sum(count[way] for way in FULL),
            "signals": sum(count[way] for way in SIGNALS),
            "same": sum(count.values()) - self.lost,
            "lost": self.lost,
        }


# In the child.


class Points:
    """Counts the calls that write below a folder, and strikes at one of them."""

    def __init__(self, root: Path, way: str, at: int) -> None:
        self.root, self.way, self.at, self.count, self.calls = str(root), way, at, 0, [""]

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        def write(tensors: Any, path: Any, header: Any) -> None:
            self._reach("save_file", str(path))
            save_file(tensors, path, header)

        # here, since only the main thread may: what a file that cannot grow does
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if self.way == "torn" else signal.SIG_IGN)
        sys.addaudithook(self._hook)
        patch.setattr(os, "fsync", lambda _: self._reach("fsync", ""))  # after a kill the system still writes
        patch.setattr(checkpoint, "save_file", write)

    def _hook(self, event: str, values: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = values
            if not isinstance(path, str | bytes | os.PathLike) or not (flags or 0) & WRITING:
                return
        elif event not in CALLS:
            return
        path = os.fsdecode(values[0]) if isinstance(values[0], str | bytes | os.PathLike) else ""
        if os.path.isabs(path) and not path.startswith(self.root):
            return
        self._reach(event, path)

    def _reach(self, call: str, path: str) -> None:
        self.count += 1
        self.calls.append(f"{call} {path.removeprefix(self.root)}")
        if self.count == self.at:
            if self.way in ("kill", "stop"):
                os.kill(os.getpid(), signal.SIGKILL if self.way == "kill" else signal.SIGSTOP)
            for number in SIGNALS.get(self.way, ()):
                os.kill(os.getpid(), number)
            if self.way in ("torn", "short"):
                resource.setrlimit(resource.RLIMIT_FSIZE, (LEAST, LEAST))
        if self.way == "full" and self.count >= self.at > 0 and call in TAKING:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *([path] if path else []))


def child(words: list[str], root: Path, way: str, at: int, pipes: tuple[int, int, int]) -> NoReturn:
    """Run a command as its own process would, and say at the end how many points it had."""
    for target, handle in enumerate(pipes[:2], 1):
        os.dup2(handle, target)
    sys.stdout, sys.stderr = (open(n, "w", encoding="utf-8", closefd=False) for n in (1, 2))  # noqa: SIM115
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir(root)
    points, patch = Points(root, way, at), pytest.MonkeyPatch()
    lenient(patch)  # a generator that has learnt nothing makes no image that passes
    points.watch(patch)
    try:
        code = cli.main(words)
    except BaseException as error:
        traceback.print_exc()
        code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1
    with contextlib.suppress(BaseException):
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(pipes[2], json.dumps([points.count, points.calls]).encode())
    os._exit(code)


# In the parent.


class Bench:
    """A folder in which one case after the other runs."""

    def __init__(self, root: Path) -> None:
        self.start, self.root = root / "start", root / "case"
        self.start.mkdir(parents=True)
        self._known: dict[tuple[str, str], Any] = {}
        os.environ["GANFOLD_CACHE"] = str(self.root / "cache")
        torch.set_num_threads(1)
        for module in pkgutil.walk_packages(ganfold.__path__, "ganfold."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
        for name in LAZY:
            importlib.import_module(name)
        Image.init()
        gc.freeze()  # otherwise the collector of each fork copies all pages
        self._fill()

    def _fill(self) -> None:
        """What commands need: images, and a run of each kind."""
        self.root.mkdir()
        squares = np.load(write_squares(self.root / "squares.npz"))["images"]
        np.save(self.root / "negative.npy", 255 - squares)
        for name, counts in {"blobs": (80, 80, 60), "some": (60, 60, 30), "few": (24, 24, 20)}.items():
            saved(self.root / f"{name}.npz", counts)
        for place, images in (("photos", squares[:4]), ("captioned", squares[:48])):
            (self.root / place).mkdir()
            for number, image in enumerate(images):
                Image.fromarray(image).save(self.root / place / f"{number}.png")
        rows = [{"file_name": f"{n}.png", "text": "a square", "box": [0.2, 0.1, 0.5, 0.6]} for n in range(48)]
        (self.root / "captioned" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
        Image.fromarray(np.pad(np.full((4, 4), 255, np.uint8), 6)).save(self.root / "mask.png")
        runs = {
            "faces": "cgan",
            "few": "cgan",
            "larger": "srgan",
            "drawn": "pix2pix",
            "holes": "context-encoder",
            "codes": "infogan",
        }
        for name, gan in runs.items():
            data = {"faces": "blobs.npz", "few": "few.npz"}.get(name, "squares.npz")
            self._train(training(gan, data=data, held_out=0.3), name)
        self._train(training("gan"), "out")
        for name in ("photos", "captioned", "some.npz", "few.npz"):  # into the cache
            self.run(["check", name])
        self.root.rename(self.start)

    def _train(self, words: list[str], name: str) -> None:
        out = words.index("--out") + 1
        ended = self.run([*words[:out], name, *words[out + 1 :]])
        assert ended.code == 0, ended.err

    def reset(self, command: Command) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir()
        for name in command.needs:
            source = self.start / name
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, self.root / name)
        for name in command.user:
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_bytes(MINE)

    def keep_forms(self) -> None:
        """Keep what a training has measured on this machine: the forms of layers that are faster here."""
        forms = self.root / "cache" / "forms"
        if forms.exists():
            shutil.copytree(forms, self.start / "cache" / "forms", dirs_exist_ok=True)

    def run(self, words: list[str], way: str = "", at: int = 0) -> Ended:
        """Run a command in a fork of this process."""
        pairs = [os.pipe() for _ in range(3)]
        process = os.fork()
        if not process:
            try:
                child(words, self.root, way, at, (pairs[0][1], pairs[1][1], pairs[2][1]))
            finally:
                os._exit(99)
        for _, end in pairs:
            os.close(end)
        texts = self._read(process, [end for end, _ in pairs], way == "stop")
        _, status = os.waitpid(process, 0)
        code = os.waitstatus_to_exitcode(status)
        count, calls = json.loads(texts[2] or "[0, []]")
        return Ended(code, texts[0].decode(), texts[1].decode(), count, calls)

    @staticmethod
    def _read(process: int, ends: list[int], stops: bool) -> list[bytes]:
        """What a child writes until it has ended. A child that stopped itself is continued, and killed."""
        texts, deadline = dict.fromkeys(ends, b""), time.monotonic() + PATIENCE
        open_ends = set(ends)
        while open_ends:
            ready, _, _ = select.select(list(open_ends), [], [], 0.005 if stops else 1)
            for end in ready:
                part = os.read(end, 2**16)
                texts[end] += part
                if not part:
                    open_ends.discard(end)
                    os.close(end)
            is_late = time.monotonic() > deadline
            if (stops or is_late) and open_ends and (is_late or _has_stopped(process)):
                os.kill(process, signal.SIGCONT)
                os.kill(process, signal.SIGKILL)
                stops, deadline = False, deadline + PATIENCE
                texts[ends[1]] += b"HANGS" if is_late else b""
        return [texts[end] for end in ends]

    def content(self, command: Command) -> dict[str, Any]:
        """Every file below the folder, without what differs between two undisturbed runs."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            if (
                path.is_file()
                and "tensorboard/" not in name
                and not name.startswith(command.by_time)
                and path.name != "verified.json"
            ):
                raw = hashlib.blake2b(path.read_bytes()).hexdigest()
                if (name, raw) not in self._known:
                    self._known[name, raw] = plain(path)
                found[name] = self._known[name, raw]
        return found

    def leftovers(self) -> list[str]:
        """What is unfinished and was left."""
        names = [path for path in self.root.rglob("*") if path.is_file() or path.parent.name == "building"]
        return [
            str(path.relative_to(self.root))
            for path in names
            if path.name == LOCK
            or path.name.endswith((".tmp", ".partial", ".lock"))
            or TEMPORARY.fullmatch(path.name)
            or UNFINISHED.fullmatch(path.name)
            or "building" in path.parts
            or ".partial" in str(path)
        ]


def _has_stopped(process: int) -> bool:
    """Whether a child has stopped. A call that says so once takes that state from the child."""
    status = os.waitid(os.P_PID, process, os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
    return status is not None and status.si_code == os.CLD_STOPPED


def plain(path: Path) -> Any:
    """The content of a file without times. Something that never compares as equal, if it is damaged."""
    try:
        if path.suffix == ".safetensors":
            tensors, state = checkpoint.load(path)
            digest = hashlib.blake2b(json.dumps(timeless(state), sort_keys=True).encode())
            for name in sorted(tensors):
                digest.update(name.encode() + tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes())
            return digest.hexdigest()
        if path.suffix == ".jsonl" and path.name == "log.jsonl":
            return [timeless(json.loads(line)) for line in path.read_text().splitlines()]
        if path.suffix == ".json":
            return timeless(json.loads(path.read_text()))
        if path.suffix in (".png", ".webp") and path.read_bytes() != MINE:
            with Image.open(path) as image:
                image.load()
        if path.suffix == ".npy":
            np.load(path)
        return hashlib.blake2b(path.read_bytes()).hexdigest()
    except Exception as error:
        return f"DAMAGED {error}"


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: timeless(of) for key, of in value.items() if key not in VOLATILE}
    return [timeless(of) for of in value] if isinstance(value, list) else value


class Trial:
    """One command: its reference, and its cases."""

    def __init__(self, bench: Bench, name: str, command: Command) -> None:
        self.bench, self.name, self.command = bench, name, command
        bench.reset(command)
        bench.run(command.words)
        bench.keep_forms()
        bench.reset(command)
        self.before = bench.content(command)
        self.ended = bench.run(command.words)
        assert self.ended.code == 0, f"{name}: {self.ended.err}"
        assert not bench.leftovers(), bench.leftovers()
        self.whole = bench.content(command)
        self.again = bench.run(command.words)
        self.points = self.ended.points
        self.result = Result(name, self.points, Counter(), [])

    def case(self, way: str, at: int) -> None:
        """Stop the command at a point, run it again, and note what is wrong."""
        self.bench.reset(self.command)
        stopped = self.bench.run(self.command.words, way, at)
        faults = list(self._stopped(way, stopped))
        after = self.bench.run(self.command.words)
        lost = list(self._after(after))
        self.result.cases[way] += 1
        self.result.lost += bool(lost)
        where = f"{way} at {at} ({self.ended.calls[at] if at < len(self.ended.calls) else '?'})"
        self.result.faults += [f"{where}: {fault}" for fault in (*faults, *lost)]

    def _stopped(self, way: str, ended: Ended) -> Iterator[str]:
        """What is wrong after the stop."""
        now = self.bench.content(self.command)
        if "Traceback" in ended.err or "HANGS" in ended.err:
            yield f"traceback or hang: {ended.err.strip().splitlines()[-1]}"
        if way in FULL:
            sentences = [line for line in ended.err.splitlines() if line.startswith("ganfold: ")]
            if ended.code not in (0, 2) or len(sentences) != (ended.code == 2):
                yield f"exit {ended.code}, stderr {ended.err!r}"
            if ended.code == 2 and "no space left" not in ended.err:
                yield f"the sentence names another cause: {ended.err!r}"
            if left := self.bench.leftovers():
                yield f"left by a full disk: {left[:3]}"
        for name, content in now.items():
            is_unfinished = any(pattern.fullmatch(Path(name).name) for pattern in (TEMPORARY, UNFINISHED))
            is_own = "building/" in name or ".partial" in name or name.endswith("log.jsonl")
            if str(content).startswith("DAMAGED") and not is_unfinished and not is_own:
                yield f"half-written: {name} ({content})"
        for name, content in self.before.items():
            if self.command.replaced in name and name not in self.command.user:
                continue
            if self.whole.get(name) == content and now.get(name) != content:
                yield f"changed or lost: {name}"
            elif name in self.whole and name not in now:
                yield f"lost until the command is given again: {name}"

    def _after(self, ended: Ended) -> Iterator[str]:
        """What is wrong after the same command."""
        if ended.code != 0 and (ended.code, ended.err) != (self.again.code, self.again.err):
            yield f"the same command: exit {ended.code}, {ended.err.strip()!r}"
        if left := self.bench.leftovers():
            yield f"left over: {left[:3]}"
        now = self.bench.content(self.command)
        if now != self.whole:
            names = [name for name in now.keys() | self.whole if now.get(name) != self.whole.get(name)]
            yield f"other content: {sorted(names)[:4]}"


def cases(name: str, points: int, count: int) -> list[tuple[str, int]]:
    """So many cases of a command, evenly over its points: each once, then each again; the name decides which ways."""
    random_ = random.Random(name)
    turns = -(-count // max(points, 1))
    places = [at for _ in range(turns) for at in range(1, points + 1)]
    if count < points:
        places = [1 + (2 * i + 1) * points // (2 * count) for i in range(count)]
    random_.shuffle(places)
    ways = [way for _ in range(1 + count // len(WAYS)) for way in random_.sample(WAYS, len(WAYS))]
    return list(zip(ways, places[:count], strict=False))


def try_all(root: Path, words: argparse.Namespace, tell: Callable[[str], object]) -> Iterator[Result]:
    bench = Bench(root)
    for name, command in commands().items():
        if words.only and not any(name.startswith(start) for start in words.only):
            continue
        begun = time.monotonic()
        try:
            trial = Trial(bench, name, command)
            for way, at in cases(name, trial.points, 2 * trial.points if words.all else words.cases):
                trial.case(way, at)
                if time.monotonic() - begun > words.seconds:
                    break
            result = trial.result
        except AssertionError as error:  # it does not work undisturbed
            result = Result(name, 0, Counter(), [str(error)], 1)
        tell(f"{name}: {result.row()} in {time.monotonic() - begun:.0f} s")
        for fault in result.faults:
            tell(f"    {fault}")
        yield result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=16, help="of each command")
    parser.add_argument("--all", action="store_true", help="each point of each command twice")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="for each command at most")
    parser.add_argument("--only", nargs="*", default=[], help="commands that begin like this")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--record", action="store_true", help="append them to lab/results/stops.jsonl")
    words = parser.parse_args()
    tell: Callable[[str], object] = (lambda _: None) if words.json else (lambda text: print(text, flush=True))
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for result in try_all(Path(folder).resolve(), words, tell):
            results.append(result)
            if words.record:
                record("stops", result.row(), seed=0, verb=result.verb)
    if words.json:
        print(json.dumps([{"verb": r.verb, "faults": r.faults} | r.row() for r in results]))
    else:
        print(table(results))


def table(results: Iterable[Result]) -> str:
    """The results, one line for each command."""
    rows = [(result.verb, *result.row().values()) for result in results]
    total = ("all", *(sum(row[column] for row in rows) for column in range(1, 7)))
    head = ("verb", "points", "kills", "disk full", "signals", "same result", "lost")
    return "\n".join(
        "".join(f"{cell!s:<24}" if not at else f"{cell!s:>13}" for at, cell in enumerate(row))
        for row in [head, *rows, total]
    )


if __name__ == "__main__":
    main()
