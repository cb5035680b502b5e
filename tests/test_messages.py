"""All messages for mistakes of the user, read together: one sentence each, in the words of the glossary."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "ganfold"
FOREIGN = r"\b(pictures?|wanted|asked|ask for|wish(?:es)?|figures?|ours|else|please|sorry|invalid|illegal|oops)\b"


def text(node: ast.expr) -> str:
    """The text of an expression, with `{}` for what varies; "" where it is made elsewhere."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    if isinstance(node, ast.BinOp):
        return text(node.left) + text(node.right)
    return ""


def messages(source: str) -> Iterator[str]:
    """The texts of all `GanfoldError` that a module makes."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "GanfoldError":
            yield from (text(argument) for argument in node.args[:1])


def faults(message: str) -> list[str]:
    """What is wrong with the form of a message."""
    found = [f"the word {word!r}" for word in re.findall(FOREIGN, message, flags=re.I)]
    found += ["more than one line"] if "\n" in message else []
    found += ["ends like a sentence of prose"] if re.search(r"(?<!\.\.)[.!]$", message) else []
    found += ["more than one sentence"] if re.search(r"(?<!\.)[.!?] [A-Z]", message) else []
    return found


def test_every_message_is_one_sentence_in_the_words_of_the_glossary() -> None:
    every = [message for path in SOURCE.rglob("*.py") for message in messages(path.read_text(encoding="utf-8"))]
    assert len(every) > 200
    assert [(message, wrong) for message in every if (wrong := faults(message))] == []


def test_a_message_that_is_not_would_be_seen() -> None:
    code = (
        'raise GanfoldError(f"{path} holds no picture. Give another.")\nraise GanfoldError("no" + " file {}".format(a))'
    )
    first, second = messages(code)
    assert first == "{} holds no picture. Give another."
    assert len(faults(first)) == 3
    assert second == "no"
    assert faults("cannot read a.png: the disk is full") == []
