"""What a public project repeats in several files agrees: address, version, licence, pinned tools, systems."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PROJECT_FILE: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PROJECT_FILE["project"]
REPOSITORY = PROJECT["urls"]["Repository"]
SITE = PROJECT["urls"]["Documentation"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_address_is_the_same_everywhere() -> None:
    assert f'link: "{REPOSITORY}"' in text("mkdocs.yml")
    assert f"site_url: {SITE}" in text("mkdocs.yml")
    assert f"repository-code: {REPOSITORY}\n" in text("CITATION.cff")
    files = [ROOT / "pyproject.toml", *ROOT.glob("*.md"), *(ROOT / ".github").rglob("*.yml"), ROOT / "mkdocs.yml"]
    owner = REPOSITORY.removeprefix("https://github.com/")
    for path in [*files, ROOT / "CITATION.cff"]:
        named = re.findall(r"github(?:usercontent)?\.com/([\w.-]*/ganfold)\b", path.read_text(encoding="utf-8"))
        assert set(named) <= {owner}, path.name


def test_the_version_is_the_same_everywhere() -> None:
    version = PROJECT["version"]
    assert f"\nversion: {version}\n" in text("CITATION.cff")
    assert "__version__ =" not in text("src/ganfold/__init__.py")


def test_the_licence_names_all_that_the_wheel_carries() -> None:
    notice = text("NOTICE").replace("\n    ", " ")
    named = {kind.replace("CC BY", "CC-BY") for kind in re.findall(r"under (CC(?:0| BY(?:-\w+)*) [\d.]+)", notice)}
    assert {name.replace(" ", "-") for name in named} == {"CC-BY-4.0", "CC-BY-SA-3.0", "CC0-1.0"}
    assert PROJECT["license"].split(" AND ") == ["MIT", *sorted(name.replace(" ", "-") for name in named)]


@pytest.mark.parametrize("tool", ["ruff", "mypy"])
def test_a_tool_has_one_version(tool: str) -> None:
    (pinned,) = (line for line in PROJECT["optional-dependencies"]["test"] if line.startswith(tool))
    version = pinned.removeprefix(f"{tool}==")
    assert f"\n{pinned}\n" in text("constraints-ci.txt")
    if tool == "ruff":
        assert f"rev: v{version}\n" in text(".pre-commit-config.yaml")


def test_the_lock_pins_every_requirement() -> None:
    extras = PROJECT["optional-dependencies"].values()
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]
    names = {re.split(r"[^\w-]", line)[0].lower().replace("_", "-") for line in lines} - {"ganfold"}
    pinned = {line.split("==")[0] for line in text("constraints-ci.txt").splitlines() if "==" in line}
    assert names <= pinned
    (torch,) = re.findall(r"^torch==.+$", text("constraints.txt"), flags=re.M)
    assert f"\n{torch}\n" in text("constraints-ci.txt")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_names_files_that_are_there(path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    runs = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert runs
    named = {
        name for run in runs for name in re.findall(r"\b(?:tests|docs|lab)/[\w./]+\b|\bconstraints[\w-]*\.txt\b", run)
    }
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_workflows_try_every_python_that_is_promised() -> None:
    yaml = pytest.importorskip("yaml")
    jobs = yaml.safe_load(text(".github/workflows/check.yml"))["jobs"]
    promised = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert jobs["test"]["strategy"]["matrix"]["python"] == promised
    assert PROJECT["requires-python"] == f">={promised[0]}"
    for job in ("door", "wheel"):
        assert jobs[job]["strategy"]["matrix"]["python"] == [promised[0], promised[-1]]


def test_the_page_at_the_package_index_has_absolute_addresses() -> None:
    page = text("README.md")
    for rule in PROJECT_FILE["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        page = re.sub(rule["pattern"], rule["replacement"], page)
    links = re.findall(r"""(?:\]\(|src="|href=")([^)"]+)""", page)
    assert len(links) > 20
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    raw = REPOSITORY.replace("github.com", "raw.githubusercontent.com") + "/main/docs/pictures/"
    assert [link for link in links if "/pictures/" in link and not link.startswith(raw)] == []


def test_the_citation_can_be_read() -> None:
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load(text("CITATION.cff"))
    assert {"cff-version", "message", "title", "authors", "version", "repository-code"} <= citation.keys()


def test_a_bug_report_asks_for_the_environment() -> None:
    assert "`ganfold env`" in text(".github/ISSUE_TEMPLATE/bug.yml")
    assert "Does it change numbers?" in text(".github/pull_request_template.md")
