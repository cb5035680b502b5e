"""ganfold: a folder of images in; a trained, measured, usable generator out.

    import ganfold
    run = ganfold.train("dcgan", data="photos/", out="runs/faces", kimg=500)
    images = ganfold.load("runs/faces").sample(16, seed=0)      # uint8 (16, H, W, C)

Everything here is imported when it is first used, so that `import ganfold` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ganfold.errors import GanfoldError

if TYPE_CHECKING:
    from ganfold.data import check
    from ganfold.metrics.copies import copies
    from ganfold.metrics.evaluation import evaluate
    from ganfold.metrics.probing import probe
    from ganfold.pages.run_page import report
    from ganfold.runs.run import Run, load
    from ganfold.tasks.inpainting import inpaint
    from ganfold.tasks.super_resolution import upscale
    from ganfold.tasks.translation import translate
    from ganfold.verbs.augment import augment
    from ganfold.verbs.plan import plan
    from ganfold.verbs.sample import sample
    from ganfold.verbs.study import study
    from ganfold.verbs.train import train

__version__ = "0.1.0"
__all__ = [
    "GanfoldError",
    "Run",
    "augment",
    "check",
    "copies",
    "evaluate",
    "inpaint",
    "load",
    "plan",
    "probe",
    "report",
    "sample",
    "study",
    "train",
    "translate",
    "upscale",
]

_HOMES = {
    "Run": "ganfold.runs.run",
    "augment": "ganfold.verbs.augment",
    "check": "ganfold.data",
    "copies": "ganfold.metrics.copies",
    "evaluate": "ganfold.metrics.evaluation",
    "inpaint": "ganfold.tasks.inpainting",
    "load": "ganfold.runs.run",
    "plan": "ganfold.verbs.plan",
    "probe": "ganfold.metrics.probing",
    "report": "ganfold.pages.run_page",
    "sample": "ganfold.verbs.sample",
    "study": "ganfold.verbs.study",
    "train": "ganfold.verbs.train",
    "translate": "ganfold.tasks.translation",
    "upscale": "ganfold.tasks.super_resolution",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ganfold' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value  # also over the sub-module of the same name that the import has set here
    return value
