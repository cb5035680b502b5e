"""The options of a verb stand once: Python, the command line and the help agree."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass, field, fields
from typing import Annotated, Any

import pytest

import ganfold
from ganfold import cli
from ganfold.errors import GanfoldError
from ganfold.gans import GANS, find
from ganfold.interface.options import (
    AT_LEAST_ONE,
    SEED,
    SHARE,
    Many,
    Positional,
    PythonOnly,
    Range,
    check_ranges,
    described,
    open_verb,
    verb,
)
from ganfold.interface.settings import Settings
from ganfold.verbs import VERBS


@dataclass(frozen=True)
class Paint:
    canvas: Annotated[str, Positional]  # what is painted on
    coats: Annotated[int, AT_LEAST_ONE] = 2  # how many layers
    gloss: Annotated[float, SHARE] = 0.5  # how much it shines
    weights: Annotated[tuple[float, ...], Range(least=0, below=1)] = (0.5, 0.9)  # of each layer
    progress: Annotated[bool, PythonOnly] = True  # show a bar


@verb(Paint)
def paint(options: Paint) -> str:
    """Paint something."""
    return f"{options.canvas} {options.coats}"


def attribute(name: str) -> Any:
    return getattr(ganfold, cli.ATTRIBUTES.get(name, name))


def test_a_verb_is_called_with_the_fields_of_its_options() -> None:
    assert paint("wall") == "wall 2"
    assert paint("wall", coats=3) == "wall 3"
    assert list(inspect.signature(paint).parameters) == [field.name for field in fields(Paint)]
    assert "coats: how many layers (1 or more)." in (paint.__doc__ or "")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"coats": 0}, "coats must be 1 or more, not 0"),
        ({"gloss": 1.5}, "gloss must be 0 or more and at most 1, not 1.5"),
        ({"gloss": math.nan}, "gloss must be 0 or more and at most 1, not nan"),
        ({"weights": (0.5, 1.0)}, "weights must be 0 or more and below 1, not 1.0"),
        ({"coat": 3}, "paint has no option 'coat'; did you mean 'coats'?"),
    ],
)
def test_a_bad_option_is_one_sentence(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(GanfoldError) as caught:
        paint("wall", **wrong)
    assert str(caught.value) == sentence


def test_further_options_are_collected_where_a_verb_takes_them() -> None:
    @dataclass(frozen=True)
    class Open:
        name: str  # of something
        options: Many = field(default_factory=Many)  # the rest

    @open_verb(Open)
    def collect(options: Open) -> dict[str, Any]:
        """Collect."""
        return dict(options.options)

    assert collect("a", width=3, lr=0.1) == {"width": 3, "lr": 0.1}


def test_the_bounds_of_a_seed_are_said_in_words() -> None:
    @dataclass(frozen=True)
    class Seeded:
        seed: Annotated[int, SEED] = 0  # of everything

    with pytest.raises(GanfoldError, match=r"^seed must be 0 or more and below 2\^63, not -1$"):
        check_ranges(Seeded(-1))


@pytest.mark.parametrize("name", VERBS)
def test_every_option_has_a_description_and_a_default_that_is_in_its_range(name: str) -> None:
    for option in described(attribute(name).options):
        assert option.help, f"{name}: {option.name}"
        if option.range and isinstance(option.default, int | float):
            assert option.range.holds(option.default)


@pytest.mark.parametrize("options", [Settings, *(find(name).config_class for name in GANS)])
def test_every_setting_and_every_option_of_a_gan_has_a_description(options: Any) -> None:
    for option in described(options):
        assert option.help, option.name
        for number in option.default if isinstance(option.default, tuple) else (option.default,):
            assert not option.range or number is None or option.range.holds(number)


@pytest.mark.parametrize("name", VERBS)
def test_python_the_command_line_and_the_help_have_the_same_options(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    verb = attribute(name)
    assert list(inspect.signature(verb).parameters) == [field.name for field in fields(verb.options)]
    with pytest.raises(SystemExit) as left:
        cli.main([name, "--help"])
    assert left.value.code == 0
    said = capsys.readouterr().out
    for option in described(verb.options):
        flag = f"--{option.name.replace('_', '-')}"
        negated = f"--no-{option.name.replace('_', '-')}"
        positional = option.name.upper().replace("_", "-")
        if option.python_only:
            assert f"{flag} " not in said
        elif (name, option.name) != ("train", "gan"):  # the word after `train`
            assert flag in said or negated in said or positional in said.upper(), option.name
    for flag in ("--json", "--quiet"):
        assert flag in said


@pytest.mark.parametrize("name", VERBS)
def test_the_list_of_verbs_says_what_each_says_of_itself(name: str) -> None:
    assert str(attribute(name).__doc__).splitlines()[0] == VERBS[name]


def test_inherited_options_are_read_where_they_stand() -> None:
    @dataclass(frozen=True)
    class Inherited(find("dcgan").config_class):  # type: ignore[misc]
        own: Annotated[int, AT_LEAST_ONE] = 1  # of this class

    options = {option.name: option for option in described(Inherited)}
    assert options["own"].help == "of this class"
    assert options["augment"].range == SHARE
    assert options["z_dim"].help.startswith("dimensions of the latent")


def test_a_missing_option_and_infinity_are_one_sentence() -> None:
    with pytest.raises(GanfoldError, match="^paint: missing a required argument: 'canvas'$"):
        paint()  # type: ignore[call-arg]
    with pytest.raises(GanfoldError, match="^gloss must be a finite number, not inf$"):
        paint("wall", gloss=math.inf)
    with pytest.raises(GanfoldError, match="^coats must be a number, not 'two'$"):
        paint("wall", coats="two")  # type: ignore[arg-type]
    with pytest.raises(GanfoldError, match="did you mean 'lr'"):
        ganfold.train("dcgan", data="digits", learning_rate=0.1)
