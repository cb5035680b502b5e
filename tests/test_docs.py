"""The documentation says what is there: commands parse, names exist, links lead somewhere, pages keep their length."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

import ganfold
import ganfold.gans
from ganfold import cli
from ganfold.gans.registry import GANS, find
from ganfold.interface.options import Many, check_ranges, described
from ganfold.interface.settings import Settings
from ganfold.training.request import configured
from ganfold.verbs import VERBS

ROOT = Path(__file__).parents[1]
USER = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]  # what a user reads
PAGES = [*sorted(ROOT.glob("*.md")), *USER[1:], *sorted((ROOT / "lab").rglob("*.md"))]
GAN_PAGES = sorted((ROOT / "docs" / "gans").glob("*.md"))
GUIDE = sorted((ROOT / "docs" / "guide").glob("*.md"))
LONGEST = 100  # columns of prose
FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>```+|~~~+)(?P<info>[^\n]*)\n(?P<body>.*?)^(?P=indent)(?P=fence) *$", re.S | re.M
)
INDENTED = re.compile(r"(?:^\n|\A)(?P<body>(?:(?: {4}|\t).*\n)(?:(?: {4}.*)?\n)*)", re.M)
RUNS = "<!-- runs -->\n"  # before a block of Python that a test runs
GAN_HEADINGS = ("The losses", "Use it", "Options", "What to expect", "Fidelity", "Lab")  # beginnings, in order
# flags of torchrun, then of other programs
FOREIGN = {"--nproc-per-node", "--nnodes", "--node-rank", "--rdzv-backend", "--rdzv-endpoint", "--max-restarts"}
FOREIGN |= {"--check", "--draft", "--index-url", "--no-deps", "--find-links", "--no-index", "--user", "--strict"}

pages = pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
user_pages = pytest.mark.parametrize("page", USER, ids=[str(page.relative_to(ROOT)) for page in USER])


@dataclass(frozen=True)
class Block:
    """A block of code on a page."""

    kind: str  # the word after the fence; "" for an indented block
    text: str
    line: int  # of its first line of code
    runs: bool = False


def blocks(text: str) -> Iterator[Block]:
    """The blocks of code of a page, fenced and indented."""
    for match in FENCE.finditer(text):
        kind = (match["info"].split() or ["text"])[0]
        body = re.sub(f"^{match['indent']}", "", match["body"], flags=re.M)
        yield Block(kind, body, text.count("\n", 0, match.start("body")) + 1, text[: match.start()].endswith(RUNS))
    rest = FENCE.sub(lambda match: re.sub(r".*", "", match[0]), text)
    for match in INDENTED.finditer(rest):
        body = re.sub("^(?: {4}|\t)", "", match["body"], flags=re.M)
        yield Block("", body, rest.count("\n", 0, match.start("body")) + 1)


def prose(text: str) -> str:
    """A page without its fenced code."""
    return FENCE.sub(lambda match: re.sub(r".*", "", match[0]), text)


def commands(text: str) -> Iterator[tuple[int, list[str]]]:
    """The lines of a page that call ganfold, as line numbers and words after `ganfold`."""
    for block in blocks(text):
        if block.kind not in ("", "bash", "sh", "shell", "console"):
            continue
        joined = re.sub(r"\\\n\s*", "\0", block.text)
        for number, line in enumerate(joined.split("\n")):
            line = line.strip().replace("\0", " ")
            if block.kind == "console" and not line.startswith("$ "):
                continue  # output
            match = re.match(
                r"(?:\$ )?(?:\w+=\S+ |time |srun |nice )*(?:torchrun .*-m |python -m )?ganfold (?P<rest>.*)", line
            )
            if match:
                yield block.line + number, shlex.split(re.split(r" [|>&]|; ", match["rest"])[0], comments=True)


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub and the site make it."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "")
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    text = prose(page.read_text(encoding="utf-8"))
    return {slug(heading) for heading in re.findall(r"^#+ (.+?) *$", text, flags=re.M)}


@pages
def test_every_link_picture_and_anchor_leads_somewhere(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", prose(page.read_text(encoding="utf-8")))
    links = re.findall(r"\]\(([^)\s]+)[^)]*\)", text) + re.findall(r"""(?:src|href)=["']([^"']+)["']""", text)
    wrong = []
    for link in links:
        path, _, anchor = unquote(link).partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = page.parent / path if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            wrong.append(link)
    assert wrong == []


class Parsed(Exception):
    """A command got as far as its verb."""


def refuse_bad_values(verb: Any, values: dict[str, Any], common: object) -> int:
    """In the place of the call of a verb: check the values as the verb would, and do nothing."""
    own = {field.name for field in fields(verb.options)}
    rest = {name: value for name, value in values.items() if name not in own}
    if any(field.type is Many for field in described(verb.options)):
        configured(find(values.get("gan") or "rsgan"), rest)
    else:
        assert rest == {}
    made = verb.options(**{name: value for name, value in values.items() if name in own})
    check_ranges(made)
    if verb is ganfold.train and values["data"] is None:
        return 2
    raise Parsed


def refused(words: list[str]) -> bool:
    """Whether the program refuses a command before it does anything."""
    try:
        return cli.main(words) != 0
    except Parsed:
        return False
    except SystemExit as end:  # help, or a mistake
        return end.code != 0


@pytest.fixture
def parse_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cli, "_call", refuse_bad_values)
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "docs" / "examples" / "sngan.py", "my_gan.py")


@pytest.mark.usefixtures("parse_only")
@user_pages
def test_every_command_parses(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = []
    for line, words in commands(page.read_text(encoding="utf-8")):
        if refused(words):
            wrong.append((line, shlex.join(words), "".join(capsys.readouterr())))
    assert wrong == []


@pytest.mark.usefixtures("parse_only")
def test_a_wrong_command_would_be_seen() -> None:
    text = "```bash\n$ ganfold sample runs/a \\\n    --count 3 --out a.png  # images\nls\n```\n\n    ganfold gans\n"
    assert list(commands(text)) == [(2, ["sample", "runs/a", "--count", "3", "--out", "a.png"]), (7, ["gans"])]
    right = ["train", "dcgan", "--data", "photos/", "--kimg", "5"]
    assert not refused(right)
    for wrong in ([*right, "--kimgs", "3"], [*right, "--batch", "0"], right[:2], ["trian"], ["sample", "runs/a"]):
        assert refused(wrong), wrong


@user_pages
def test_every_verb_and_flag_in_the_text_exists(page: Path) -> None:
    kinds = [Settings, *(find(name).config_class for name in GANS), cli.Common]
    kinds += [getattr(ganfold, cli.ATTRIBUTES.get(name, name)).options for name in VERBS]
    known = {"--" + field.name.replace("_", "-") for kind in kinds for field in described(kind)}
    known |= {"--no-" + flag[2:] for flag in known} | {"--help", "--version"} | FOREIGN
    spans = re.findall(r"`([^`\n]+)`", prose(page.read_text(encoding="utf-8")))
    ours = [span for span in spans if span.startswith(("--", "ganfold "))]
    flags = {flag for span in ours for flag in re.findall(r"(?<![\w-])--[a-z][\w-]*", span)}
    assert sorted(flags - known) == []
    verbs = {match[1] for span in spans if (match := re.match(r"ganfold ([a-z]+)\b", span))}
    assert sorted(verbs - VERBS.keys()) == []


def python_blocks() -> list[Any]:
    found = [(page, block) for page in PAGES for block in blocks(page.read_text(encoding="utf-8"))]
    named = [(page.relative_to(ROOT), block) for page, block in found if block.kind in ("python", "py")]
    return [pytest.param(block, id=f"{name}:{block.line}") for name, block in named]


@pytest.mark.parametrize("block", python_blocks())
def test_python_compiles_and_names_what_exists(block: Block) -> None:
    tree = ast.parse(block.text)
    assert list(strangers(tree)) == []


def strangers(tree: ast.AST) -> Iterator[str]:
    """What a program takes from ganfold that ganfold does not have: names, and options of calls."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ganfold":
            module = __import__(str(node.module), fromlist=["_"])
            yield from (alias.name for alias in node.names if not hasattr(module, alias.name))
        if isinstance(node, ast.Attribute) and (path := dotted(node)) and path[0] == "ganfold" and found(path) is None:
            yield ".".join(path)
        if isinstance(node, ast.Call) and (path := dotted(node.func)) and callable(function := found(path)):
            parameters = inspect.signature(function).parameters
            named = [keyword.arg for keyword in node.keywords if keyword.arg not in parameters]
            if path == ["ganfold", "train"] or path == ["ganfold", "plan"]:
                named = [name for name in named if name not in options_of(node)]
            yield from (f"{'.'.join(path)}({name}=)" for name in named if name is not None)


def options_of(call: ast.Call) -> set[str]:
    """The options that a call of `train` or `plan` may name beside those in its signature."""
    first = call.args[0] if call.args else None
    name = first.value if isinstance(first, ast.Constant) and first.value in GANS else None
    kinds = [find(str(name)).config_class] if name else [find(gan).config_class for gan in GANS]
    return {field.name for kind in (*kinds, Settings) for field in fields(kind)}


def dotted(node: ast.AST) -> list[str]:
    """The names of `a.b.c`; [] for anything else."""
    if isinstance(node, ast.Name):
        return [node.id]
    inner = dotted(node.value) if isinstance(node, ast.Attribute) else []
    return [*inner, node.attr] if inner and isinstance(node, ast.Attribute) else []


def found(path: list[str]) -> Any:
    if path[0] != "ganfold":
        return None
    value: Any = ganfold
    for name in path[1:]:
        value = getattr(value, name, None)
    return value


def test_a_wrong_name_in_python_would_be_seen() -> None:
    wrong = """
import ganfold
from ganfold.gans import nothing
ganfold.trian("dcgan", data="a")
ganfold.train("dcgan", data="a", kimgs=3)
ganfold.sample("runs/a", out="b", number=3)
"""
    assert sorted(strangers(ast.parse(wrong))) == [
        "ganfold.sample(number=)",
        "ganfold.train(kimgs=)",
        "ganfold.trian",
        "nothing",
    ]


def recipes() -> list[Path]:
    return [page for page in USER if any(block.runs for block in blocks(page.read_text(encoding="utf-8")))]


@pytest.mark.slow
@pytest.mark.parametrize("page", recipes(), ids=lambda page: str(page.relative_to(ROOT)))
def test_recipes_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.runs:
            exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), names)


def compared(text: str) -> Iterator[tuple[str, Path | None]]:
    """The lines of diffs of a page that are not in the file that the diff takes them from.

    A diff begins with the names of its two files, seen from the root: `--- src/a.py` and `+++ src/b.py`.
    """
    for block in blocks(text):
        if block.kind != "diff":
            continue
        before, after = (re.search(rf"^{mark} (\S+)", block.text, flags=re.M) for mark in (r"---", r"\+\+\+"))
        files = [ROOT / match[1] if match else None for match in (before, after)]
        for line in block.text.splitlines():
            if not line.strip() or line.startswith(("---", "+++", "@@")):
                continue
            for file, marks in zip(files, ("- ", "+ "), strict=True):
                lines = file.read_text(encoding="utf-8").splitlines() if file and file.is_file() else []
                if line[0] in marks and line[1:].rstrip() not in lines:
                    yield line, file


@pages
def test_every_line_of_a_diff_is_in_its_files(page: Path) -> None:
    assert list(compared(page.read_text(encoding="utf-8"))) == []


def test_a_stale_diff_would_be_seen() -> None:
    files = "--- src/ganfold/gans/dcgan.py\n+++ src/ganfold/gans/wgan.py\n"
    lines = " from __future__ import annotations\n-class WGAN(GAN):\n+class DCGAN(GAN):\n+class WGAN(GAN):\n"
    stale = f"```diff\n{files}{lines}```\n"
    assert [line for line, _ in compared(stale)] == ["-class WGAN(GAN):", "+class DCGAN(GAN):"]
    assert list(compared("```diff\n+class WGAN(GAN):\n```\n"))  # which names no files


@pytest.mark.parametrize("page", GAN_PAGES, ids=lambda page: page.stem)
def test_a_page_of_a_gan_is_short_and_has_its_parts(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60
    headings = re.findall(r"^## (.+)", prose(text), flags=re.M)
    assert tuple(heading for heading in headings if heading in GAN_HEADINGS) == GAN_HEADINGS


@pytest.mark.parametrize("page", GUIDE, ids=lambda page: page.stem)
def test_a_page_of_the_guide_is_short(page: Path) -> None:
    assert len(page.read_text(encoding="utf-8").splitlines()) < 150


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 100


@pages
def test_prose_keeps_to_its_columns(page: Path) -> None:
    text = re.sub(r"<!--.*?-->", "", prose(page.read_text(encoding="utf-8")), flags=re.S)
    lines = re.sub(r"\]\([^)]*\)|<[^>\n]*>", "]", text).splitlines()  # an address may be as long as it is
    assert [line for line in lines if len(line) > LONGEST and not line.startswith(("|", "    "))] == []


def test_the_gallery_shows_every_picture() -> None:
    text = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    files = [path.name for path in (ROOT / "docs" / "pictures").iterdir() if not path.name.startswith("terminal-")]
    assert len(files) > 15
    assert [name for name in sorted(files) if f"(pictures/{name})" not in text] == []


@pytest.mark.parametrize("name", GANS)
def test_every_gan_has_a_page_and_a_row_in_the_readme(name: str) -> None:
    assert (ROOT / "docs" / "gans" / f"{name}.md").is_file()
    assert re.search(rf"^\| \[?`{name}`", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.M)


@pytest.mark.parametrize("name", GANS)
def test_every_gan_says_what_it_is_and_when_to_use_it(name: str) -> None:
    entry = GANS[name]
    assert re.search(r"\d{4}", entry.summary), "the summary names no year of a paper"
    assert entry.use_when
    assert not entry.use_when.endswith(".")


def test_scripts_that_the_documentation_names_are_there() -> None:
    named = {
        (page, script)
        for page in PAGES
        for script in re.findall(r"\b((?:lab/scripts|benchmarks|tests)/[\w/]+\.py)\b", page.read_text(encoding="utf-8"))
    }
    assert named
    assert [(str(page), script) for page, script in named if not (ROOT / script).is_file()] == []


def test_pages_that_the_code_names_are_there() -> None:
    files = [path for folder in ("src", "tests", "benchmarks", "lab/scripts") for path in (ROOT / folder).rglob("*.py")]
    named = {
        (path.relative_to(ROOT).as_posix(), page)
        for path in files
        for page in re.findall(r"\bdocs/[\w/-]+\.md\b", path.read_text(encoding="utf-8"))
    }
    assert named
    assert [pair for pair in sorted(named) if not (ROOT / pair[1]).is_file() and "test_site" not in pair[0]] == []


def test_the_glossary_has_one_line_for_each_term() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    terms = re.findall(r"^\| (.+?) \| .+ \|$", text.partition("## One word for one idea")[2], flags=re.M)
    assert len(terms) == len(set(terms)) > 25


def messages() -> list[str]:
    """The texts of the program, with `{}` for what varies."""
    found = []
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
                found.append("".join(map(str, parts)))
    return found


def test_troubleshooting_quotes_messages_that_exist() -> None:
    text = (ROOT / "docs" / "guide" / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = [quote.strip("`") for quote in re.findall(r"^- (`+[^`]+`+)[,:]", text, flags=re.M)]
    assert len(quoted) > 35
    known = messages()
    parts = [part.strip() for quote in quoted for part in quote.split("...")]
    assert [part for part in parts if not any(part in message for message in known)] == []
