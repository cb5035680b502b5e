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
    from ganfold.runs.run import Run, load
    from ganfold.verbs.augment import augment
    from ganfold.verbs.cache import cache
    from ganfold.verbs.check import check
    from ganfold.verbs.copies import copies
    from ganfold.verbs.env import env as environment
    from ganfold.verbs.evaluate import evaluate
    from ganfold.verbs.explore import explore
    from ganfold.verbs.export import export
    from ganfold.verbs.gans import gans as list_gans
    from ganfold.verbs.inpaint import inpaint
    from ganfold.verbs.learn import learn
    from ganfold.verbs.plan import plan
    from ganfold.verbs.probe import probe
    from ganfold.verbs.push import push
    from ganfold.verbs.report import report
    from ganfold.verbs.sample import sample
    from ganfold.verbs.study import study
    from ganfold.verbs.train import train
    from ganfold.verbs.translate import translate
    from ganfold.verbs.upscale import upscale

    __version__: str

__all__ = [
    "GanfoldError",
    "Run",
    "__version__",
    "augment",
    "cache",
    "check",
    "copies",
    "environment",
    "evaluate",
    "explore",
    "export",
    "inpaint",
    "learn",
    "list_gans",
    "load",
    "plan",
    "probe",
    "push",
    "report",
    "sample",
    "study",
    "train",
    "translate",
    "upscale",
]

_HOMES = {  # public name -> its module, and its name there
    "Run": ("ganfold.runs.run", "Run"),
    "load": ("ganfold.runs.run", "load"),
    "environment": ("ganfold.verbs.env", "env"),
    "list_gans": ("ganfold.verbs.gans", "gans"),
    **{
        name: (f"ganfold.verbs.{name}", name)
        for name in __all__
        if name not in ("GanfoldError", "Run", "__version__", "environment", "list_gans", "load")
    },
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from ganfold.interface.result import version

        return version()
    if name not in _HOMES:
        raise AttributeError(f"module 'ganfold' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
