"""The options of a verb: one frozen dataclass that Python, the command line and the reference read.

    @dataclass(frozen=True)
    class Options:
        run: Annotated[str | Path, Positional]  # a run folder
        count: Annotated[int, Range(least=1)] = 64  # how many images

    @verb(Options)
    def sample(options: Options) -> Path:
        ...

`sample("runs/faces", count=9)` then makes the `Options`, checks every range, and calls the function. The comment
beside a field is its description everywhere.
"""

from __future__ import annotations

import ast
import builtins
import errno
import functools
import inspect
import io
import math
import os
import sys
import textwrap
import tokenize
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, replace
from numbers import Real
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar, get_args, get_origin

from ganfold.errors import GanfoldError, did_you_mean
from ganfold.interface.unsaved import refusal

P = ParamSpec("P")
R = TypeVar("R")
O = TypeVar("O")  # noqa: E741


@dataclass(frozen=True)
class Range:
    """The bounds that a number keeps, as part of its annotation: `Annotated[float, Range(least=0, most=1)]`."""

    least: float = -math.inf  # the number may equal this
    most: float = math.inf  # and this
    above: float = -math.inf  # the number may not equal this
    below: float = math.inf  # nor this

    def holds(self, number: float) -> bool:
        """Whether the number lies within; NaN never does."""
        return self.least <= number <= self.most and self.above < number < self.below

    def __str__(self) -> str:
        lower = f"{self.least:g} or more" if self.least > -math.inf else f"above {self.above:g}"
        upper = f"at most {self.most:g}" if self.most < math.inf else f"below {_short(self.below)}"
        if self.most == self.below == math.inf:
            return lower
        return upper if self.least == self.above == -math.inf else f"{lower} and {upper}"


OF_FILES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".json", ".html", ".zip", ".csv")

SHARE = Range(least=0, most=1)
POSITIVE = Range(above=0)
NOT_NEGATIVE = Range(least=0)
AT_LEAST_ONE = Range(least=1)
SEED = Range(least=0, below=2**63)

# Types of the options of a GAN.
BatchSize = Annotated[int, AT_LEAST_ONE]
Count = Annotated[int, AT_LEAST_ONE]
Share = Annotated[float, SHARE]
NotNegative = Annotated[float, NOT_NEGATIVE]
Smoothing = Annotated[float, Range(least=0, below=1)]
Betas = Annotated[tuple[float, float], Range(least=0, below=1)]  # Adam's beta_1 and beta_2

Pairs = Mapping[str, float] | Mapping[int, float] | Sequence[str]  # {"red": 2}, or ["red=2"] as on the command line


class Positional:
    """Marks a field that the command line takes without a flag."""


class Folder:
    """Marks a field that names a folder to write; a name that ends like a file's is refused for a new one."""


class PythonOnly:
    """Marks a field that the command line does not offer."""


class Many(dict[str, Any]):
    """A field of this type collects further options by name, such as those of a GAN."""


@dataclass(frozen=True)
class Described:
    """One field of an options class, as every reader of it needs it."""

    name: str
    type: Any  # the annotation without its marks; `object` stands for what only Python can give
    default: Any  # `dataclasses.MISSING` where there is none
    help: str  # the comment beside the field
    range: Range | None
    positional: bool
    python_only: bool
    folder: bool = False

    @property
    def sentence(self) -> str:
        """The description, with the range if there is one."""
        return f"{self.help} ({self.range})" if self.range and str(self.range) not in self.help else self.help


def described(options: Any) -> tuple[Described, ...]:
    """The fields of a dataclass, given as a class, with their types, descriptions and ranges, in order."""
    return _described_once(options)


@functools.cache
def _described_once(options: Any) -> tuple[Described, ...]:
    owners = {name: cls for cls in reversed(options.__mro__) for name in inspect.get_annotations(cls)}
    comments = {cls: _comments(cls) for cls in set(owners.values())}
    names = {cls: _Names(vars(builtins) | vars(sys.modules[cls.__module__])) for cls in comments}
    return tuple(
        _described(field, names[owners[field.name]], comments[owners[field.name]]) for field in fields(options)
    )


def check_ranges(options: Any) -> None:
    """See that every number of an options object is in its range. Infinity and NaN are in none.

    Raises:
        GanfoldError: one is not; names it, its range and its value.
    """
    for field in described(type(options)):
        value = getattr(options, field.name)
        for number in value if isinstance(value, tuple | list) else (value,):
            if isinstance(number, float) and math.isinf(number):
                raise GanfoldError(f"{field.name} must be a finite number, not {number}")
            if field.range and number is not None and not isinstance(number, Real):
                raise GanfoldError(f"{field.name} must be a number, not {number!r}")
            if field.range and number is not None and not field.range.holds(number):
                raise GanfoldError(f"{field.name} must be {field.range}, not {number}")
            if isinstance(number, float) and math.isnan(number):
                raise GanfoldError(f"{field.name} must be a number, not {number}")


def as_path(name: str, value: str | Path) -> str | Path:
    """A path as the option of this name gives it, with `~` as the home folder.

    Raises:
        GanfoldError: it is an array or another object, is empty, holds a NUL, is longer than the system allows, or
            names nobody's home.
    """
    if not isinstance(value, str | os.PathLike):
        raise GanfoldError(refusal(name, value))
    text = os.fspath(value)
    if not text:
        raise GanfoldError(f"{name} is empty: give a path")
    if text == "-":
        raise GanfoldError(f"{name} is -, and no command reads or writes a pipe: give a path (a file named - is ./-)")
    if "\0" in text:
        raise GanfoldError(f"{name} holds the character NUL, which no path can hold")
    home = os.path.expanduser(text)
    if home.startswith("~"):
        first = home.split("/")[0]
        raise GanfoldError(f"{name}: there is no home folder {first}; a file of that name is ./{first}")
    try:
        os.lstat(home)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise GanfoldError(f"{name} has a name that is too long for this system: {text[:60]}...") from error
    return value if home == text else type(value)(home)


def _with_paths(options: Any) -> Any:
    """The options with `~` as the home folder in all paths, and in what may be a file or an object of Python."""
    changed = {}
    for field in described(type(options)):
        value = getattr(options, field.name)
        kinds = get_args(field.type) or (field.type,)
        takes_paths = any(kind in (Path, object, type[object]) for kind in kinds)
        if takes_paths and (isinstance(value, str | Path) or _needs_a_path(value, kinds)):
            changed[field.name] = as_path(field.name, value)
            if field.folder:
                _check_folder(field.name, Path(changed[field.name]))
    return replace(options, **changed)


def _check_folder(name: str, path: Path) -> None:
    if path.suffix.lower() in OF_FILES and not path.is_dir():
        raise GanfoldError(f"{name} is {path}, a name of a file, and a folder is written: leave out {path.suffix}")


def _needs_a_path(value: Any, kinds: Sequence[Any]) -> bool:
    """Whether a path is meant where this value was given, such as an array of images."""
    is_set = any(hasattr(value, name) for name in ("shape", "__len__", "__iter__", "__getitem__"))
    return Path in kinds and value is not None and (object not in kinds or is_set)


def verb(options: Callable[P, O]) -> Callable[[Callable[[O], R]], Callable[P, R]]:
    """Make a verb of a function of its options: it is called with the fields of `options`."""

    def decorate(work: Callable[[O], R]) -> Callable[P, R]:
        return _verb(options, work)

    return decorate


def open_verb(options: Callable[..., O]) -> Callable[[Callable[[O], R]], Callable[..., R]]:
    """As `verb`, for options with a field of type `Many`, which collects all further names."""

    def decorate(work: Callable[[O], R]) -> Callable[..., R]:
        return _verb(options, work)

    return decorate


def _verb(options: Any, work: Callable[[Any], Any]) -> Any:
    names = [field.name for field in fields(options)]
    many = next((field.name for field in described(options) if field.type is Many), None)
    signature = inspect.signature(options)

    @functools.wraps(work)
    def call(*arguments: Any, **named: Any) -> Any:
        if many is None and (unknown := [name for name in named if name not in names]):
            raise GanfoldError(f"{work.__name__} has no option {unknown[0]!r}{did_you_mean(unknown[0], names)}")
        if many is not None:
            rest = {name: value for name, value in named.items() if name not in names}
            named = {name: value for name, value in named.items() if name in names} | {many: Many(rest)}
        try:
            signature.bind(*arguments, **named)
        except TypeError as error:
            raise GanfoldError(f"{work.__name__}: {error}") from None
        made = options(*arguments, **named)
        check_ranges(made)
        return work(_with_paths(made))

    call.options = options  # type: ignore[attr-defined]
    returned = inspect.signature(work).return_annotation
    call.__signature__ = signature.replace(return_annotation=returned)  # type: ignore[attr-defined]
    del call.__wrapped__  # `help` must show the options, not the function inside
    call.__doc__ = _Doc(work.__doc__ or "", options)
    return call


class _Doc(str):
    """A docstring that lists the options when somebody reads it."""

    def __new__(cls, text: str, options: type[Any]) -> _Doc:
        told, sections = _split(inspect.cleandoc(text))
        listed = [f"    {field.name}: {field.sentence}." for field in described(options)]
        lines = [told, *(["", "Args:", *listed] if listed else [])]
        return super().__new__(cls, "\n".join([*lines, *(["", sections] if sections else [])]))


def _split(text: str) -> tuple[str, str]:
    """A docstring before its sections, and its sections."""
    places = [text.index(head) for head in ("\nReturns:\n", "\nRaises:\n") if head in text]
    place = min(places, default=len(text))
    return text[:place].rstrip(), text[place:].strip()


class _Names(dict[str, Any]):
    """The names of a module; one that only a type checker knows stands for `object`."""

    def __missing__(self, name: str) -> Any:
        return object


def _described(field: Field[Any], names: Mapping[str, Any], comments: dict[str, str]) -> Described:
    kind = eval(field.type, {}, names) if isinstance(field.type, str) else field.type
    marks: tuple[Any, ...] = ()
    if get_origin(kind) is Annotated:
        kind, *rest = get_args(kind)
        marks = tuple(rest)
    return Described(
        name=field.name,
        type=kind,
        default=field.default_factory() if field.default_factory is not MISSING else field.default,
        help=comments.get(field.name, ""),
        range=next((mark for mark in marks if isinstance(mark, Range)), None),
        positional=Positional in marks,
        python_only=PythonOnly in marks,
        folder=Folder in marks,
    )


def _comments(options: type[Any]) -> dict[str, str]:
    """The comment at the end of each field's line."""
    try:
        source = textwrap.dedent(inspect.getsource(options))
    except (OSError, TypeError):  # typed into an interpreter
        return {}
    remarks = {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    return dict(_beside(source, remarks))


def _beside(source: str, remarks: dict[int, str]) -> Iterator[tuple[str, str]]:
    (body,) = (node.body for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, remarks.get(node.end_lineno or node.lineno, "")


def _short(number: float) -> str:
    return "2^63" if number == 2**63 else f"{number:g}"
