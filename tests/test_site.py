"""The site: links of the repository become links of the site, the reference is the parser's, and no page calls out."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

import pytest

import ganfold
from ganfold import cli
from ganfold.gans.registry import GANS, find
from ganfold.interface.options import described
from ganfold.verbs import VERBS

ROOT = Path(__file__).parents[1]
LOADED = {
    "link": "href",
    "script": "src",
    "img": "src",
    "source": "src",
    "iframe": "src",
    "video": "src",
    "object": "data",
}
LINKS_ONLY = ("canonical", "prev", "next", "alternate")  # kinds of <link> that load nothing


@pytest.fixture(scope="module")
def make_site() -> ModuleType:
    spec = spec_from_file_location("make_site", ROOT / "docs" / "make_site.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Page(HTMLParser):
    """What a page loads, where it leads, and which anchors it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag in LOADED and values.get("rel") not in LINKS_ONLY:
            self.loads.append(values.get(LOADED[tag], ""))
        if tag == "a":
            self.links.append(values.get("href", ""))


def test_every_verb_and_flag_is_in_the_reference(make_site: ModuleType) -> None:
    page = make_site.command_line()
    for name in VERBS:
        section = page.partition(f"\n## ganfold {name}\n")[2].partition("\n## ")[0]
        options = getattr(ganfold, cli.ATTRIBUTES.get(name, name)).options
        for field in described(options):
            if field.python_only:
                continue
            assert (field.name.upper() if field.positional else field.name.replace("_", "-")) in section
            assert make_site.cell(field.help) in section
    page = make_site.options_of_gans()
    for name in GANS:
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        for field in described(find(name).config_class):
            assert f"--{'no-' * (field.default is True)}{field.name.replace('_', '-')}" in section


@pytest.mark.parametrize(
    ("source", "uri", "link", "expected"),
    [
        ("docs/gans/gan.md", "gans/gan.md", "../losses.md#x", "../losses.md#x"),
        ("docs/losses.md", "losses.md", "../lab/README.md", "lab/README.md"),
        ("docs/gans/gan.md", "gans/gan.md", "../../CHANGELOG.md", "../changelog.md"),
        ("lab/README.md", "lab/README.md", "../docs/losses.md", "../losses.md"),
        ("CONTRIBUTING.md", "contributing.md", "docs/losses.md", "losses.md"),
        ("docs/losses.md", "losses.md", "../NOTICE", "https://github.com/ganfold/ganfold/blob/main/NOTICE"),
        ("docs/losses.md", "losses.md", "../src", "https://github.com/ganfold/ganfold/tree/main/src"),
        ("docs/losses.md", "losses.md", "https://a.org/b.md", "https://a.org/b.md"),
        ("docs/losses.md", "losses.md", "missing.md", "missing.md"),  # which the strict build refuses
    ],
)
def test_a_link_leads_to_its_page_in_the_site(
    make_site: ModuleType, source: str, uri: str, link: str, expected: str
) -> None:
    assert make_site.led(f"See [it]({link}).", source, uri) == f"See [it]({expected})."
    assert make_site.led(f"```\n[it]({link})\n```", source, uri) == f"```\n[it]({link})\n```"


def test_lists_tables_and_code_stand_alone_where_the_page_does_not_say_so(make_site: ModuleType) -> None:
    code = "```python\nx = 1\n- no list\n\n```\n"
    page = f"![a](b)\n{code}Text:\n- one\n  more\n- two\n\nText\n| a |\n| b |"
    spaced = f"![a](b)\n\n{code}\nText:\n\n- one\n  more\n- two\n\nText\n\n| a |\n| b |"
    assert make_site.spaced(page) == spaced
    assert make_site.spaced(spaced) == spaced


def test_versions_lie_side_by_side_the_newest_first(make_site: ModuleType, tmp_path: Path) -> None:
    site, folder = tmp_path / "site", tmp_path / "published"
    site.mkdir()
    folder.mkdir()
    (site / "sitemap.xml").write_text("new")
    for version in ("v0.9.0", "dev", "v0.10.0", "v0.9.0"):
        make_site.publish(site, folder, version)
    listed = json.loads((folder / "versions.json").read_text())
    assert [row["version"] for row in listed] == ["v0.10.0", "v0.9.0", "dev"]
    assert [row["aliases"] for row in listed] == [["latest"], [], []]
    assert "url=v0.10.0/" in (folder / "index.html").read_text()
    assert (folder / "v0.9.0" / "sitemap.xml").is_file()


@pytest.mark.slow
def test_the_site_builds_strictly_has_no_broken_link_and_loads_nothing_from_elsewhere() -> None:
    if not find_spec("zensical"):
        pytest.skip("needs the extra `docs`")
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "make_site.py"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, re.sub(r"\x1b\[[\d;]*m", "", done.stdout + done.stderr)
    site = ROOT / "build" / "site"
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    assert len(pages) > 40
    foreign = [(path.name, url) for path, page in pages.items() for url in page.loads if urlsplit(url).netloc]
    styles = [path.read_text(encoding="utf-8") for kind in ("css", "svg") for path in site.rglob(f"*.{kind}")]
    foreign += [("css", url) for text in styles for url in re.findall(r"url\([\"']?((?:https?:)?//[^)]+)\)", text)]
    assert foreign == []
    for path in pages:
        text = re.sub(r"<pre.*?</pre>", "", path.read_text(encoding="utf-8"), flags=re.S)
        # For these parts the theme's script calls api.github.com and unpkg.com.
        assert not re.search(r'data-md-component="source"|class="mermaid"', text), path
        assert not re.search(r"```|\| ?---|<code>(?:python (?:import|from)|bash|console) ", text), (
            f"{path}: Markdown is left"
        )
    broken = []
    for path, page in pages.items():
        for link in page.links + page.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or path.name == "404.html":  # whose links are seen from the host's root
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            there = target.is_file() and (
                target.suffix != ".html" or unquote(parts.fragment) in ("", *pages[target].anchors)
            )
            broken += [] if there else [(path.relative_to(site).as_posix(), link)]
    assert broken == []
