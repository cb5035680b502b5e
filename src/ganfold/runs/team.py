"""Several processes that `torchrun` starts do one job: each makes a part, and the first one writes.

The results have the bits of a single process with as many threads.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np

from ganfold.errors import GanfoldError

T = TypeVar("T")

LONGEST = timedelta(days=7)  # that a process waits for the others
GRACE = 1.0  # seconds for the first process to print: torchrun ends all processes when one of them has failed

_groups = itertools.count()


def join_group(backend: str, longest: timedelta | None = None) -> None:
    """Join the process group of all processes of `torchrun`.

    `torchrun` keeps its store when it starts the processes again, and the addresses of dead ones are in it. Each
    attempt, and each group of a process, therefore has names of its own. The processes of several machines may count
    attempts differently: there the store must be a new one, see docs/guide/several-machines.md.

    Args:
        backend: gloo or nccl.
        longest: how long a process waits for the others [as PyTorch says].
    """
    import torch.distributed as dist
    from torch._C._distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    is_alone = os.environ.get("GROUP_WORLD_SIZE", "1") == "1"
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if is_alone else "0"
    store, rank, world = next(rendezvous("env://"))
    store = PrefixStore(f"attempt {attempt}, group {next(_groups)}", store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=longest)


class Team:
    """The processes of one `torchrun`, and this one's place among them. A process alone does everything itself.

    All processes must call the same methods in the same order.

    Args:
        shared: whether to share work with the other processes of `torchrun`.
    """

    def __init__(self, shared: bool) -> None:
        self.world = int(os.environ.get("WORLD_SIZE", "1")) if shared else 1
        self.rank = int(os.environ.get("RANK", "0")) if self.world > 1 else 0
        self.local = int(os.environ.get("LOCAL_RANK", "0")) if self.world > 1 else 0
        self._has_failed = False

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def together(self, work: Callable[[], T]) -> T:
        """Do all of a job: the processes find each other, and go on when all have ended it.

        Raises:
            GanfoldError: the job failed in one of them. The error of a process that is not the first is told already.
        """
        if self.world == 1:
            return work()
        import torch.distributed as dist

        results: list[T] = []
        owns_group = not dist.is_initialized()
        if owns_group:
            join_group("gloo", LONGEST)
        try:
            self.each(lambda: results.append(work()))
        finally:
            if owns_group:
                dist.destroy_process_group()
        return results[0]

    def each(self, work: Callable[[], T]) -> list[T]:
        """Let every process do its own work.

        Returns:
            The results of all processes, in order.

        Raises:
            GanfoldError: it failed in one of them: the sentence of the first one that failed.
        """
        if self.world == 1:
            return [work()]
        result: T | None = None
        error: Exception | None = None
        try:
            result = work()
        except Exception as caught:
            error = caught
            if self._has_failed:  # the others know
                raise
        outcomes = self._gathered((result, self._sentence(error)))
        if sentences := [sentence for _, sentence in outcomes if sentence]:
            self._has_failed = True
            if error is not None and not isinstance(error, GanfoldError):
                raise error
            raise self._refusal(sentences[0]) from error
        return [outcome for outcome, _ in outcomes]

    def once(self, work: Callable[[], T]) -> T:
        """Let the first process do some work, and give its result to all."""
        results: list[Any] = self.each(lambda: work() if self.first else None)
        return results[0]

    def in_turn(self, work: Callable[[], T]) -> T:
        """Let the first process do some work, then the others, which find in the cache what it has prepared."""
        results: list[T] = []
        for turn in (True, False) if self.world > 1 else (True,):
            self.each(lambda turn=turn: results.append(work()) if self.first == turn else None)  # type: ignore[misc]
        return results[0]

    def rows(self, count: int, step: int, work: Callable[[int, int], np.ndarray]) -> np.ndarray:
        """The rows of an array, of which each process makes a stretch.

        Args:
            count: how many rows, 1 or more.
            step: a stretch begins at a multiple of it.
            work: from the number of the first row and how many, those rows.
        """
        share = -(-count // (step * self.world)) * step
        begin, end = (min(count, share * (self.rank + place)) for place in (0, 1))
        parts = self.each(lambda: work(begin, end - begin) if end > begin else None)
        made = [part for part in parts if part is not None]
        return made[0] if len(made) == 1 else np.concatenate(made)

    def _gathered(self, outcome: tuple[Any, str]) -> list[tuple[Any, str]]:
        import torch.distributed as dist

        outcomes: list[Any] = [None] * self.world
        dist.all_gather_object(outcomes, outcome)
        return outcomes

    def _sentence(self, error: Exception | None) -> str:
        if error is None:
            return ""
        return str(error) if isinstance(error, GanfoldError) else f"rank {self.rank} failed ({error!r:.200})"

    def _refusal(self, sentence: str) -> GanfoldError:
        refusal = GanfoldError(sentence)
        if not self.first:
            refusal.is_told = True
            time.sleep(GRACE)
        return refusal


ALONE = Team(shared=False)
