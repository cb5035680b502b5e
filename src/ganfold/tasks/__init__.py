"""What a generator is for besides drawing from noise: how it is applied, and how it is measured."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ganfold.errors import GanfoldError

if TYPE_CHECKING:
    from ganfold.gans.contract import GAN, Task
    from ganfold.metrics.paired import TaskMetric
    from ganfold.runs.run import Run


def measure(run: Run, seed: int, count: int) -> list[TaskMetric]:
    """The metrics of the run's task on `count` held-out images; none if the task is generation."""
    match run.gan_class.task:
        case "super-resolution":
            from ganfold.tasks import super_resolution

            return super_resolution.measure(run, seed, count)
        case "inpainting":
            from ganfold.tasks import inpainting

            return inpainting.measure(run, seed, count)
        case "translation":
            from ganfold.tasks import translation

            return translation.measure(run, seed, count)
        case "captions":
            from ganfold.tasks import captions

            return captions.measure(run, seed, count)
    return []


def measures(run: Run) -> bool:
    """Whether `measure` has something to measure for the run's task on single images."""
    return run.gan_class.task in ("super-resolution", "inpainting", "translation")


def doubts(run: Run, measured: list[TaskMetric]) -> list[str]:
    """What is known against a run after its task was measured: sentences without their full stops."""
    if run.gan_class.task == "super-resolution":
        from ganfold.tasks import super_resolution

        return super_resolution.doubts(run, measured)
    return []


def open_run(
    run: str | Path | Run, task: Task, verb: str, checkpoint: str = "best", gan: str | type[GAN] | None = None
) -> Run:
    """The run, if its GAN has this task.

    Args:
        run: a run folder, or a loaded run.
        task: the task that the verb needs.
        verb: its name, for the error.
        checkpoint, gan: of a run folder; see `Run`.

    Raises:
        GanfoldError: the GAN has another task, or this is no run.
    """
    from ganfold.runs.run import loaded

    run = loaded(run, checkpoint, gan)
    if run.gan_class.task != task:
        needed = " or ".join(map(with_article, gans_for(task)))
        raise GanfoldError(f"{run.path} is {with_article(run.record.gan)}: `{verb}` needs {needed}")
    return run


def identity(run: Run) -> str:
    """Which run this is, and at which checkpoint, as a text."""
    return f"{json.dumps(run.record.to_dict(), sort_keys=True, default=str)} {run.checkpoint}"


def gans_for(task: Task) -> list[str]:
    """The names of this package's GANs that have a task."""
    from ganfold.gans.registry import GANS, find

    return [name for name in GANS if find(name).task == task]


def with_article(name: str) -> str:
    """The name of a GAN with "a" or "an" before it. Names such as srgan are spelled aloud: an srgan."""
    return f"{'an' if re.match('[aeiou]|[lrs]{2}|r3', name) else 'a'} {name}"
