"""The command line: the same verbs as the Python API. It parses, calls, prints."""

from __future__ import annotations

import argparse
import collections.abc
import io
import json
import os
import re
import shlex
import shutil
import sys
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import tyro

import ganfold
from ganfold.errors import GanfoldError, did_you_mean, printable
from ganfold.files import unwritable
from ganfold.gans.registry import find, installed
from ganfold.interface.options import Described, described
from ganfold.interface.result import version
from ganfold.interface.settings import Settings
from ganfold.interface.stopping import StopReason
from ganfold.training.request import Planned
from ganfold.verbs import VERBS

CONFIG = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes)
SENTENCE = "A folder of images in; a trained, measured, usable generator out."
NARROW = 40  # columns
ATTRIBUTES = {"gans": "list_gans", "env": "environment"}  # of `ganfold`, where the verb's own name is taken


@dataclass(frozen=True)
class Common:
    """Flags of every verb."""

    json: bool = False  # print the result as JSON, and nothing else
    quiet: bool = False  # print no progress


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0 done; 2 the user's mistake; 129, 130, 143 stopped by SIGHUP, Ctrl-C, SIGTERM; 141 the reader
        of the output has gone.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what its encoding lacks is written as escapes
            stream.reconfigure(errors="backslashreplace")
    if shutil.get_terminal_size().columns < NARROW:  # where tyro's help never ends
        os.environ["COLUMNS"] = str(NARROW)
    code = 0
    try:
        try:
            code = _run(list(sys.argv[1:] if arguments is None else arguments))
        finally:
            sys.stdout.flush()
        return code
    except OSError as error:
        if error.filename is None:  # stdout cannot be written, and Python would try again at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # its reader, such as `head`, has seen enough
            return 141
        if code == 2:  # it has its sentence
            return code
        what = "write the output" if error.filename is None else f"read or write {error.filename}"
        return _refused(f"cannot {what}: {error.strerror or error}")


def _run(words: list[str]) -> int:
    try:
        if not words or words[0] in ("-h", "--help"):
            print(_help())
            return 0 if words else 2
        if words[0] == "--version":
            print(f"ganfold {version()}")
            return 0
        name, *rest = words
        if name not in VERBS:
            raise GanfoldError(f"there is no command {name!r}{did_you_mean(name, VERBS)} (known: {', '.join(VERBS)})")
        verb = getattr(ganfold, ATTRIBUTES.get(name, name))
        if name in ("train", "plan"):
            return _with_gan(name, verb, rest)
        values, common = _parsed(f"ganfold {name}", _described(verb), described(verb.options), rest)
        return _call(verb, values, common)
    except GanfoldError as error:
        return 2 if error.is_told else _refused(str(error))
    except KeyboardInterrupt:
        return StopReason.INTERRUPT.exit_code


def _refused(sentence: str) -> int:
    print(f"ganfold: {printable(sentence)}", file=sys.stderr)
    return 2


def _help() -> str:
    """The verbs in the order of use."""
    width = max(map(len, VERBS))
    lines = [f"  {name:{width}}  {summary}" for name, summary in VERBS.items()]
    usage = ["usage: ganfold VERB ...", "       ganfold VERB --help", "       ganfold --version"]
    return "\n".join([*usage, "", SENTENCE, "", *lines])


def _with_gan(name: str, verb: Any, words: list[str]) -> int:
    """`train [GAN] ...` and `plan DATA [--gan GAN] ...`: the GAN decides which further flags there are."""
    named = words[:1] if name == "train" and words and not words[0].startswith("-") else []
    gan = named[0] if named else _value_of("gan", words)
    if name == "train" and gan and not named:
        raise GanfoldError(f"`train` takes the name of the GAN first: ganfold train {gan} --data ...")
    rest = words[len(named) :]
    own: Any = Planned if gan is None else find(gan).config_class
    groups = {gan or "GAN": own, "training": Settings}
    shown = [field for field in described(verb.options) if (name, field.name) != ("train", "gan")]
    values, common = _parsed(" ".join(["ganfold", name, *named]), _described(verb, gan), shown, rest, groups)
    options: dict[str, Any] = {}
    for group in groups:
        options |= values.pop(_identifier(group))
    given = _given(rest, options)  # the rest is chosen, or has its default
    options = {name: value for name, value in options.items() if name in given}
    if name == "train":
        values |= {"gan": gan}
    if named:
        values |= {"command": shlex.join(["ganfold", "train", *(word for word in words if word != "--restart")])}
    return _call(verb, values | options, common)


def _call(verb: Callable[..., Any], values: dict[str, Any], common: Common) -> int:
    """Call a verb, print its result, and give the exit code."""
    known = {field.name for field in fields(verb.options)}  # type: ignore[attr-defined]
    if "progress" in known:
        values["progress"] = not (common.quiet or common.json)
    if "shared" in known:
        values["shared"] = True
    try:
        result = verb(**values)
    except OSError as error:
        if error.filename is not None or isinstance(error, BrokenPipeError):
            raise
        raise unwritable("a file", error) from error  # not stdout: what verbs print has its own sentence
    reason = getattr(result, "stopped_by", None)
    if "shared" in known and not _is_first():
        return 0
    if common.json:
        print(_json(result))
    elif verb is not ganfold.train:  # which has printed what it did
        print("\n".join(map(printable, result.lines())))
    return StopReason(reason).exit_code if reason else 0


def _is_first() -> bool:
    """Whether this process is the first of those that share the work."""
    from ganfold.runs.team import Team

    return Team(shared=True).first


def _json(result: Any) -> str:
    """The result as JSON that the encoding of stdout can hold, and that no terminal obeys."""
    text = "\n".join(map(printable, result.to_json().split("\n")))
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return json.dumps(json.loads(text), indent=2)
    return text


def _parsed(
    prog: str,
    description: str,
    options: Iterable[Described],
    words: list[str],
    groups: dict[str, type[Any]] | None = None,
) -> tuple[dict[str, Any], Common]:
    """The words as values of the options by name, those of each group by the group's name, and the common flags."""
    options = list(options)
    parts: list[Any] = [_flag(field) for field in options if not field.python_only]
    parts += [(_identifier(title), _flags(title, described(kind))) for title, kind in (groups or {}).items()]
    parts += [_flag(field) for field in described(Common)]
    _check_flags(prog, words, [*options, *described(Common)], groups or {})
    parts.sort(key=lambda part: len(part))  # those without a default come first
    parsed: Any = tyro.cli(
        make_dataclass("flags", parts, frozen=True), prog=prog, description=description, args=words, config=CONFIG
    )
    values: dict[str, Any] = {
        name: asdict(value) if is_dataclass(value) else value  # type: ignore[arg-type]
        for name, value in vars(parsed).items()
    }
    return values, Common(values.pop("json"), values.pop("quiet"))


def _check_flags(prog: str, words: list[str], options: list[Described], groups: dict[str, type[Any]]) -> None:
    """See that there is every flag that the words name.

    Raises:
        GanfoldError: there is not; names the one that is meant.
    """
    offered = [
        field
        for field in [*options, *(f for kind in groups.values() for f in described(kind))]
        if not (field.positional or field.python_only)
    ]
    helps = {("no-" * (field.default is True) + field.name).replace("_", "-"): field.help for field in offered}
    for word in words:
        name = word[2:].partition("=")[0].replace("_", "-")
        if not word.startswith("--") or name in helps or name == "help" or name.startswith("tyro-"):
            continue
        near = did_you_mean(name, helps).removeprefix("; did you mean '").removesuffix("'?")
        meant = f"; did you mean --{near} ({helps[near]})?" if near else f"; `{prog} --help` lists them"
        raise GanfoldError(f"{prog} has no option --{name}{meant}")


def _flags(title: str, options: Iterable[Described]) -> type[Any]:
    """A dataclass of flags, as tyro takes it; its title heads them in the help."""
    made = make_dataclass(_identifier(title), [_flag(field) for field in options if not field.python_only], frozen=True)
    made.__doc__ = " "
    return made


def _flag(field: Described) -> tuple[Any, ...]:
    """A field of such a dataclass."""
    metavar = field.name.upper() if field.positional else _metavar(_command_type(field.type))
    is_plain = field.default is None or isinstance(field.default, bool) or field.default in ((), MISSING)
    hint = "" if is_plain else f"(default: {_shown(field.default)})"
    text = f"turn this off: {field.sentence}" if field.default is True else field.sentence
    marks = [tyro.conf.arg(help=text, metavar=metavar, help_behavior_hint=hint)]
    marks += [tyro.conf.Positional] if field.positional else []
    annotation = Annotated[(_command_type(field.type), *marks)]  # type: ignore[valid-type]
    return (field.name, annotation) if field.default is MISSING else (field.name, annotation, field.default)


def _metavar(kind: Any) -> str | None:
    """What stands for the value of a flag in the help; None: what tyro writes."""
    kinds = [part for part in get_args(kind) if part is not type(None)] if get_origin(kind) is Union else [kind]
    if len(kinds) == 1 and get_origin(kinds[0]) is Literal:
        return "{" + ",".join(str(value) for value in get_args(kinds[0])) + "}"
    if str in kinds:  # also where Python takes numbers
        return "TEXT"
    if int in kinds and len(kinds) > 1:  # a number, or one of some words
        return "|".join(str(_metavar(part)) for part in kinds)
    names = {int: "INT", float: "FLOAT", str: "TEXT", bool: "{True,False}"}
    return names.get(kinds[0]) if len(kinds) == 1 and kind is not bool else None


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        return " ".join(map(_shown, default))
    return f"{default:g}" if isinstance(default, float) else str(default)


def _command_type(kind: Any) -> Any:
    """The part of a type that words can give: a path as a `str`, and nothing that is an object of Python."""
    if get_origin(kind) in (Union, types.UnionType):
        parts = [_command_type(part) for part in get_args(kind)]
        kept = tuple(dict.fromkeys(part for part in parts if part is not object))
        return Union[kept]  # noqa: UP007  made of a tuple
    if kind is Path:
        return str
    if get_origin(kind) is collections.abc.Sequence:
        return tuple[(_command_type(get_args(kind)[0]), ...)]  # type: ignore[misc]
    if kind in (str, int, float, bool, type(None)) or get_origin(kind) in (Literal, tuple):
        return kind
    return object


def _described(verb: Any, gan: str | None = None) -> str:
    """The description of a verb, without what only Python's users need; with a GAN the description of that."""
    text = re.split(r"\n\n(?:Args|Returns|Raises):\n", str(verb.__doc__))[0]
    if gan is not None:
        entry = installed().get(gan)
        about = f"{entry.summary} Use it when {entry.use_when}.\n\n" if entry and entry.use_when else ""
        return about + text.splitlines()[0]
    if verb is ganfold.train:
        text += f"\n\n`ganfold train NAME --help` lists all options of a GAN: {', '.join(installed())}."
    return text


def _value_of(name: str, words: list[str]) -> str | None:
    """The value of one flag."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument(f"--{name}")
    try:
        value: str | None = getattr(parser.parse_known_args(words)[0], name)
    except argparse.ArgumentError:  # without a value: tyro says so
        return None
    return value


def _given(words: list[str], names: Iterable[str]) -> set[str]:
    """Which of these options the words name, as `--name` or `--no-name`."""
    flags = {word.partition("=")[0] for word in words if word.startswith("--")}
    plain = {flag[2:].removeprefix("no-").replace("-", "_") for flag in flags}
    return {name for name in names if name in plain}


def _identifier(title: str) -> str:
    return re.sub(r"\W+", "_", title)
