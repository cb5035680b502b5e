"""The documentation names what is there: links lead somewhere, and every GAN has its page and its row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ganfold.gans.registry import GANS

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "lab").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("name", GANS)
def test_every_gan_has_a_page_and_a_row_in_the_readme(name: str) -> None:
    assert (ROOT / "docs" / "gans" / f"{name}.md").is_file()
    assert f"| `{name}` |" in (ROOT / "README.md").read_text(encoding="utf-8")


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


def test_the_glossary_has_one_line_for_each_term() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    terms = re.findall(r"^\| (.+?) \| .+ \|$", text.partition("## One word for one idea")[2], flags=re.M)
    assert len(terms) == len(set(terms)) > 25
