"""Decoding on all cores: blocks of pictures handed to plain child processes.

Threads gain nothing on small pictures (most of the time is Python's, under its lock). `multiprocessing` would
start the user's script anew in each child, torch and all, and fail for scripts without a main guard; so the
children are started here: `python -c`, a pickled question in, a pickled answer out.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ganfold.data.sources import decode
from ganfold.data.sources.decode import Shape, Unusable
from ganfold.data.sources.readers import Reader


@dataclass(frozen=True)
class Block:
    """Pictures to look at (`target` None) or to convert into `target`."""

    reader: Reader
    slot: int  # position of the first among all pictures of this pass
    indices: np.ndarray  # their numbers for the reader
    shape: Shape | None = None
    target: Path | None = None
    start: int = 0  # byte of `target` where slot 0 lies
    crashed: bool = False  # it killed a process before: do not try again


@dataclass(frozen=True)
class Done:
    """What came of a block: `sizes` (n, 2) of a look, `digests` (n, 2) of a conversion, faults by position."""

    slot: int
    seen: np.ndarray
    sizes: np.ndarray
    digests: np.ndarray
    faults: dict[int, str]


def work(block: Block) -> Done:
    """Do one block. Only writing to `target` may raise: whatever is wrong with a picture is its own fault."""
    count = len(block.indices)
    done = Done(
        block.slot,
        np.zeros(count, np.uint8),
        np.zeros((count, 2), np.uint32),
        np.zeros((count, 2), np.uint64),
        {},
    )
    shape = block.shape
    pixels = np.zeros((count, shape.channels, shape.resolution, shape.resolution) if shape else (0,), np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i, index in enumerate(block.indices.tolist()):
            try:
                if block.crashed:
                    raise Unusable("damaged: it crashes the decoder")
                raw = block.reader.read(index)
                if shape is None:
                    *size, seen = decode.look(raw)
                    done.sizes[i] = size
                else:
                    pixels[i], digest, seen = decode.convert(raw, shape)
                    done.digests[i] = np.frombuffer(digest, np.uint64)
                done.seen[i] = seen
            except Unusable as error:
                done.faults[i] = str(error)
            except Exception as error:  # the reader's file vanished, or memory ran out
                done.faults[i] = f"unreadable: {str(error)[:120] or type(error).__name__}"
    if shape and block.target:
        with open(block.target, "r+b", buffering=0) as file:  # not a memory map: a full disk would kill us there
            file.seek(block.start + block.slot * pixels[0].size)
            left = memoryview(pixels.data).cast("B")
            while left:
                left = left[file.write(left) :]
    return done


def run(blocks: Iterable[Block], workers: int) -> Iterator[Done]:
    """Do all blocks, in any order: in this process if `workers` is 0, else in as many child processes."""
    if not workers:
        yield from map(work, blocks)
        return
    idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
    started: list[subprocess.Popen[bytes]] = []
    lock = threading.Lock()

    def start() -> subprocess.Popen[bytes]:
        process = _start()
        with lock:
            started.append(process)
        return process

    def ask(block: Block) -> list[Done]:
        process = idle.get()
        try:
            answer = _ask(process, block)
        except (
            EOFError,
            OSError,
            pickle.UnpicklingError,
        ):  # it died: find the picture that kills it, leave it out
            process.kill()
            successor = start()
            _greeted(successor)
            idle.put(successor)
            if len(block.indices) == 1:
                return [work(replace(block, crashed=True))]
            half = len(block.indices) // 2
            one = replace(block, indices=block.indices[:half])
            return ask(one) + ask(replace(block, slot=block.slot + half, indices=block.indices[half:]))
        idle.put(process)
        if isinstance(answer, Exception):
            raise answer
        return [answer]

    try:
        first = [start() for _ in range(workers)]
        if not all(_greeted(process) for process in first):  # there is no interpreter that we could start
            yield from map(work, blocks)
            return
        for process in first:
            idle.put(process)
        with ThreadPoolExecutor(workers) as pool:
            waiting: set[Future[list[Done]]] = set()
            try:
                for block in blocks:
                    waiting.add(pool.submit(ask, block))
                    if len(waiting) >= 2 * workers:
                        ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                        for future in ready:
                            yield from future.result()
                for future in waiting:
                    yield from future.result()
            finally:
                for future in waiting:
                    future.cancel()
    finally:
        for process in started:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    with suppress(OSError):  # what was meant for a dead one cannot be flushed
                        pipe.close()


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", "from ganfold.data.work import _serve; _serve()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # what codecs print of their own accord
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def _greeted(process: subprocess.Popen[bytes]) -> bool:
    return bool(process.stdout and process.stdout.read(1))


def _ask(process: subprocess.Popen[bytes], block: Block) -> Any:
    assert process.stdin
    assert process.stdout
    pickle.dump(block, process.stdin)
    process.stdin.flush()
    return pickle.load(process.stdout)


def _serve() -> None:
    """A child's life: answer blocks until the parent closes the pipe."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a codec that prints must not spoil an answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its children
    answers.write(b"!")
    answers.flush()
    while True:
        try:
            block = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer: Any = work(block)
        except Exception as error:
            answer = error
        pickle.dump(answer, answers)
        answers.flush()
