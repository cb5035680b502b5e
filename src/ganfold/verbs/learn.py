"""`ganfold learn`: experiments that answer a learner's questions."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ganfold.errors import GanfoldError, did_you_mean
from ganfold.interface.options import Folder, Positional, PythonOnly, Range, verb
from ganfold.interface.result import Result
from ganfold.lessons import LESSONS

if TYPE_CHECKING:
    from ganfold.lessons.experiment import Lesson


@dataclass(frozen=True, repr=False)
class Lessons(Result):
    """The experiments that can be named, each with its question."""

    lessons: dict[str, str]

    def lines(self) -> list[str]:
        """Two lines for each."""
        told = [line for name, question in self.lessons.items() for line in (name, f"    {question}")]
        return [*told, "", "`ganfold learn NAME` runs one, in seconds or a few minutes."]


@dataclass(frozen=True)
class Options:
    name: Annotated[str | None, Positional] = None  # the experiment [lists them all]
    _: KW_ONLY
    budget: Annotated[float, Range(above=0, most=1)] = 1.0  # share of the full budget: 0.1 for a quick look
    out: Annotated[str | Path, Folder] = "learn"  # the folder for NAME.png and NAME.json
    progress: Annotated[bool, PythonOnly] = True  # show a bar


@verb(Options)
def learn(options: Options) -> Lesson | Lessons:
    """Run an experiment that answers a question about GANs, and say what it shows.

    It measures, draws one figure, and says in sentences with its own numbers what it shows, or that the expected thing
    did not happen. Each belongs to a page of docs/learn. Without a name it lists the experiments.

    Raises:
        GanfoldError: there is no such experiment, or the folder cannot be written.
    """
    name = options.name
    if name is None:
        return Lessons(LESSONS)
    if name not in LESSONS:
        known = ", ".join(LESSONS)
        raise GanfoldError(f"there is no experiment {name!r}{did_you_mean(name, LESSONS)} (known: {known})")
    from ganfold.lessons.catalogue import EXPERIMENTS
    from ganfold.lessons.experiment import run

    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)  # refused before the work begins
    return run(name, LESSONS[name], EXPERIMENTS[name], options.budget, out, options.progress)
