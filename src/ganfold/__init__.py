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
    from ganfold.copying import copies
    from ganfold.data import check
    from ganfold.evaluation import evaluate
    from ganfold.inpainting import inpaint
    from ganfold.probing import probe
    from ganfold.reporting import report
    from ganfold.run import Run, load
    from ganfold.sampling import sample
    from ganfold.study.augment import augment
    from ganfold.study.study import study
    from ganfold.training.plan import plan
    from ganfold.training.train import train
    from ganfold.translating import translate
    from ganfold.upscaling import upscale

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
    "Run": "ganfold.run",
    "augment": "ganfold.study.augment",
    "check": "ganfold.data",
    "copies": "ganfold.copying",
    "evaluate": "ganfold.evaluation",
    "inpaint": "ganfold.inpainting",
    "load": "ganfold.run",
    "plan": "ganfold.training.plan",
    "probe": "ganfold.probing",
    "report": "ganfold.reporting",
    "sample": "ganfold.sampling",
    "study": "ganfold.study.study",
    "train": "ganfold.training.train",
    "translate": "ganfold.translating",
    "upscale": "ganfold.upscaling",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ganfold' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value  # also over the sub-module of the same name that the import has set here
    return value
