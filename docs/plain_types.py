"""For the reference of Python: an option's type without the marks that the command line reads."""

from __future__ import annotations

import re
from typing import Any

import griffe


class PlainTypes(griffe.Extension):
    """`Annotated[int | None, PythonOnly]` is shown as `int | None`."""

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        for parameter in func.parameters:
            annotation = str(parameter.annotation or "")
            if plain := re.fullmatch(r"Annotated\[(.+), [\w.]+(?:\(.*\))?\]", annotation):
                parameter.annotation = plain[1]
