"""Decoding on all cores: portions of images are sent to child processes.

Threads gain nothing on small images: Python holds its lock most of the time. `multiprocessing` would run the user's
script again in each child, import torch there, and fail for scripts without a main guard. Here a child is
`python -Pc`, which reads pickled portions and writes pickled outcomes. -P keeps it from importing what lies in the
current folder, which may be a folder of images from anywhere.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ganfold.data.sources import decode
from ganfold.data.sources.decode import TargetShape, Unusable
from ganfold.data.sources.readers import Reader


@dataclass(frozen=True)
class Portion:
    """Some images of a pass, to look at (`shape` None) or to convert into the file `target`."""

    reader: Reader
    slot: int  # the place of the first among all images of the pass
    indices: np.ndarray  # int64 (n,): their numbers for the reader
    shape: TargetShape | None = None
    target: Path | None = None
    start: int = 0  # byte of `target` where the pixels of slot 0 lie
    crashed: bool = False  # this image has killed a child: do not open it again


@dataclass(frozen=True)
class Outcome:
    """What came of a portion of n images."""

    slot: int
    traits: np.ndarray  # uint16 (n,)
    sizes: np.ndarray  # uint32 (n, 2), width and height, after a look
    digests: np.ndarray  # uint64 (n, 2), of the pixels, after a conversion
    faults: dict[int, str]  # what is wrong, by the place in the portion


def process(portion: Portion) -> Outcome:
    """Look at or convert the images of a portion. Whatever is wrong with an image becomes a fault of that image.

    Raises:
        OSError: `target` cannot be written.
    """
    count, shape = len(portion.indices), portion.shape
    outcome = Outcome(
        portion.slot, np.zeros(count, np.uint16), np.zeros((count, 2), np.uint32), np.zeros((count, 2), np.uint64), {}
    )
    pixels = np.zeros((count, shape.channels, shape.resolution, shape.resolution) if shape else (0,), np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i, index in enumerate(portion.indices.tolist()):
            try:
                if portion.crashed:
                    raise Unusable("damaged: it crashes the decoder")
                raw = portion.reader.read(index)
                if shape is None:
                    *size, traits = decode.look(raw)
                    outcome.sizes[i] = size
                else:
                    pixels[i], digest, traits = decode.convert(raw, shape)
                    outcome.digests[i] = np.frombuffer(digest, np.uint64)
                outcome.traits[i] = traits
            except Unusable as error:
                outcome.faults[i] = str(error)
            except Exception as error:  # the reader's file has vanished, memory has run out, ...
                outcome.faults[i] = f"unreadable: {str(error)[:120] or type(error).__name__}"
    if shape and portion.target:
        _write(portion.target, portion.start + portion.slot * pixels[0].size, pixels)
    return outcome


def _write(target: Path, place: int, pixels: np.ndarray) -> None:
    with open(target, "r+b", buffering=0) as file:  # not a memory map: there a full disk kills the process
        file.seek(place)
        left = memoryview(pixels.data).cast("B")
        while left:
            left = left[file.write(left) :]


def process_all(portions: Iterable[Portion], workers: int) -> Iterator[Outcome]:
    """Process all portions, in any order: in this process if `workers` is 0, or in that many child processes."""
    if not workers:
        yield from map(process, portions)
        return
    children = _Children()
    try:
        if children.start(workers):
            yield from _concurrently(children.process, portions, workers)
        else:  # no Python interpreter can be started
            yield from map(process, portions)
    finally:
        children.end()


def _concurrently(
    work: Callable[[Portion], list[Outcome]], portions: Iterable[Portion], workers: int
) -> Iterator[Outcome]:
    """Call `work` in as many threads. At most two portions for each thread are taken ahead."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: set[Future[list[Outcome]]] = set()
        try:
            for portion in portions:
                waiting.add(pool.submit(work, portion))
                if len(waiting) >= 2 * workers:
                    ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in ready:
                        yield from future.result()
            for future in waiting:
                yield from future.result()
        finally:
            for future in waiting:
                future.cancel()


class _Children:
    """Child processes, each with one portion at a time. Several threads may use them."""

    def __init__(self) -> None:
        self._idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, count: int) -> bool:
        """Start so many; whether all of them answer."""
        children = [self._start_one() for _ in range(count)]
        for child in children:
            self._idle.put(child)
        return all(_is_ready(child) for child in children)

    def process(self, portion: Portion) -> list[Outcome]:
        """Have an idle child process the portion.

        If the child dies, the portion is halved until the image that kills it is alone, and that image is left out.
        """
        child = self._idle.get()
        try:
            answer = _ask(child, portion)
        except (EOFError, OSError, pickle.UnpicklingError):
            self._replace(child)
            if len(portion.indices) == 1:
                return [process(replace(portion, crashed=True))]
            half = len(portion.indices) // 2
            first = replace(portion, indices=portion.indices[:half])
            second = replace(portion, slot=portion.slot + half, indices=portion.indices[half:])
            return self.process(first) + self.process(second)
        self._idle.put(child)
        if isinstance(answer, Exception):
            raise answer
        return [answer]

    def end(self) -> None:
        """Kill all, and wait until they are gone."""
        for child in self._started:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe:
                    with suppress(OSError):  # a pipe to a dead process cannot be flushed
                        pipe.close()

    def _start_one(self) -> subprocess.Popen[bytes]:
        child = _start()
        self._started.append(child)
        return child

    def _replace(self, dead: subprocess.Popen[bytes]) -> None:
        dead.kill()
        successor = self._start_one()
        _is_ready(successor)
        self._idle.put(successor)


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-Pc", "from ganfold.data.work import _serve; _serve()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # some codecs print there
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONSAFEPATH": "1"},
    )


def _is_ready(child: subprocess.Popen[bytes]) -> bool:
    """Wait for the byte that a child sends when it has started; False if it has died."""
    return bool(child.stdout and child.stdout.read(1))


def _ask(child: subprocess.Popen[bytes], portion: Portion) -> Any:
    """The outcome of a portion, or the exception that it raised in the child."""
    assert child.stdin
    assert child.stdout
    pickle.dump(portion, child.stdin)
    child.stdin.flush()
    return pickle.load(child.stdout)


def _serve() -> None:
    """What a child does: answer portions until the parent closes the pipe."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a codec that prints must not damage an answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its children
    answers.write(b"!")
    answers.flush()
    while True:
        try:
            portion = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer: Any = process(portion)
        except Exception as error:
            answer = error
        pickle.dump(answer, answers)
        answers.flush()
