"""Does it help? Generated images as additional training images of a classifier: made, selected, and judged.

The verb `ganfold.study` has the name of this package, so the package can be called as the verb.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Verb(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        from ganfold.study.study import study

        return study(*arguments, **options)


sys.modules[__name__].__class__ = _Verb
