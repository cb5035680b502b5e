"""Build the site from `docs`, from `lab`, and from the code: the reference of the command line is written here.

python docs/make_site.py            # into build/site
python docs/make_site.py --serve    # show it while you write

The pages are put together in build/pages, so that any program that reads mkdocs.yml can build them.
"""

from __future__ import annotations

import argparse
import json
import posixpath
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable
from dataclasses import MISSING
from pathlib import Path

import ganfold
from ganfold import cli
from ganfold.gans.registry import GANS, find
from ganfold.interface.options import Described, described
from ganfold.interface.settings import Settings
from ganfold.training.request import Planned
from ganfold.verbs import VERBS

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "build" / "pages"
OWN = {"make_site.py", "plain_types.py", "__pycache__"}  # what `docs` holds that is no part of the site
TOP = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}  # pages of the root that the site has
LINK = re.compile(r"(?P<before>\]\()(?P<path>[^)#\s:]+)(?P<rest>(?:#[^)\s]*)?\))")
FENCE = re.compile(r"^( *)(```+|~~~+).*?^\1\2 *$", re.S | re.M)


def assemble(pages: Path = PAGES) -> None:
    """Write all pages and images of the site into a folder that then holds nothing else. Equal files stay."""
    docs = [path for path in (ROOT / "docs").rglob("*") if path.is_file() and not OWN & set(path.parts)]
    content = {path.relative_to(ROOT / "docs").as_posix(): path.read_bytes() for path in docs}
    sources = {path: path.relative_to(ROOT / "docs").as_posix() for path in docs if path.suffix == ".md"}
    sources |= {ROOT / name: uri for name, uri in TOP.items()}
    sources |= {path: path.relative_to(ROOT).as_posix() for path in (ROOT / "lab").rglob("*.md")}
    for path, uri in sources.items():
        text = path.read_text(encoding="utf-8") + (lab_index() if uri == "lab/README.md" else "")
        content[uri] = spaced(led(text, path.relative_to(ROOT).as_posix(), uri)).encode()
    content["reference/cli.md"] = command_line().encode()
    content["reference/options.md"] = options_of_gans().encode()
    for path in [path for path in pages.rglob("*") if path.is_file()]:
        if path.relative_to(pages).as_posix() not in content:
            path.unlink()
    for uri, new in content.items():
        path = pages / uri
        if not path.is_file() or path.read_bytes() != new:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(new)


def serve() -> int:
    """Show the site at http://localhost:8000, and put it together again whenever a page changes."""
    server = subprocess.Popen([sys.executable, "-m", "zensical", "serve"], cwd=ROOT)
    seen = changes()
    try:
        while server.poll() is None:
            time.sleep(1)
            if (now := changes()) != seen:
                assemble()
                seen = now
    except KeyboardInterrupt:
        pass
    finally:
        server.terminate()
    return server.wait()


def changes() -> set[tuple[Path, int]]:
    """The pages and images, and when each was last changed."""
    folders = (ROOT / "docs", ROOT / "lab" / "entries")
    return {(path, path.stat().st_mtime_ns) for folder in folders for path in folder.rglob("*") if path.is_file()}


def spaced(text: str) -> str:
    """A page with an empty line before each list, table and block of code, which GitHub does not need."""
    lines: list[str] = []
    code = False
    for line in text.split("\n"):
        before = lines[-1] if lines else ""
        is_fence = line.startswith("```")
        is_plain = bool(before) and not re.match(r"- |\* |\d+\. |\||#| |<!--", before)
        begins = (is_fence and not code and bool(before)) or bool(is_plain and re.match(r"- |\* |\d+\. |\|", line))
        if not code and (begins or (before == "```" and line)):
            lines.append("")
        lines.append(line)
        code ^= is_fence
    return "\n".join(lines)


def led(text: str, source: str, uri: str) -> str:
    """A page whose links lead to pages of the site, or else to the repository.

    Args:
        source: where the page lies, seen from the root of the repository.
        uri: where it lies in the site.
    """
    code = [match.span() for match in FENCE.finditer(text)]

    def lead(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match["path"]))
        if any(start <= match.start() < end for start, end in code) or not (ROOT / target).exists():
            return match[0]
        is_page = target.startswith("docs/") or (target.startswith("lab/") and target.endswith(".md"))
        if target in TOP or is_page:
            path = posixpath.relpath(TOP.get(target, target.removeprefix("docs/")), posixpath.dirname(uri) or ".")
        else:
            path = f"{repository()}/{'tree' if (ROOT / target).is_dir() else 'blob'}/main/{target}"
        return f"{match['before']}{path}{match['rest']}"

    return LINK.sub(lead, text)


def repository() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["urls"]["Repository"])


def lab_index() -> str:
    """The lab's entries, the newest first."""
    lines = ["\n## Entries\n"]
    for path in sorted((ROOT / "lab" / "entries").glob("*.md"), reverse=True):
        title = path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        lines.append(f"- {path.name[:10]} [{title}](entries/{path.name})")
    return "\n".join(lines) + "\n"


def command_line() -> str:
    """The reference of the command line."""
    verbs = "".join(f"| [`{name}`](#ganfold-{name}) | {summary} |\n" for name, summary in VERBS.items())
    parts = [
        "# Command line",
        "Written from the program's own parser. `ganfold VERB --help` prints the same.",
        f"| verb | what it does |\n|---|---|\n{verbs}",
        "Every verb takes these flags, too:\n\n" + table(described(cli.Common)),
        "`ganfold --version` prints the version.",
        "## Exit codes",
        "| code | meaning |\n|---|---|\n| 0 | done |\n| 2 | a mistake that you can correct; the message says how |\n"
        "| 129, 130, 143 | stopped by SIGHUP, Ctrl-C or SIGTERM; what was trained is saved |\n"
        "| 141 | the reader of the output has gone |",
        *(verb_section(name) for name in VERBS),
    ]
    return "\n\n".join(parts) + "\n"


def verb_section(name: str) -> str:
    verb = getattr(ganfold, cli.ATTRIBUTES.get(name, name))
    fields = [field for field in described(verb.options) if not field.python_only]
    words = [
        field.name.upper() if field.positional else f"--{field.name} ..."
        for field in fields
        if field.default is MISSING
    ]
    usage = " ".join(["ganfold", name, *(["[GAN]"] if name == "train" else []), *words, "[options]"])
    text = re.split(r"\n\n(?:Args|Returns|Raises):\n", str(verb.__doc__))[0]
    parts = [f"## ganfold {name}", text, f"```text\n{usage}\n```", table(fields)]
    if name in ("train", "plan"):
        parts += [
            "How to train:",
            table(described(Settings)),
            "What a plan chooses where you do not:",
            table(described(Planned)),
        ]
        parts += ["Each GAN has [options of its own](options.md)."]
    return "\n\n".join(parts)


def options_of_gans() -> str:
    """The options that each GAN adds to `train` and `plan`."""
    parts = ["# Options of each GAN", "`ganfold train NAME --help` prints the same. [All verbs](cli.md)."]
    for name, entry in GANS.items():
        parts += [f"## {name}", f"{entry.summary} Use it when {entry.use_when}. [Its page](../gans/{name}.md)."]
        parts += [table(described(find(name).config_class))]
    return "\n\n".join(parts) + "\n"


def table(options: Iterable[Described]) -> str:
    """Options as a table of flags."""
    lines = ["| flag | default | meaning |", "|---|---|---|"]
    for field in options:
        kind = cli._metavar(cli._command_type(field.type)) or ("" if field.type is bool else "...")
        flag = ("--no-" if field.default is True else "--") + field.name.replace("_", "-")
        shown = (
            field.name.upper() if field.positional else flag if isinstance(field.default, bool) else f"{flag} {kind}"
        )
        plain = field.default in (None, MISSING, ()) or isinstance(field.default, bool)
        default = "required" if field.default is MISSING else "" if plain else f"`{cli._shown(field.default)}`"
        meaning = f"turn this off: {field.sentence}" if field.default is True else field.sentence
        lines.append(f"| `{cell(shown)}` | {default} | {cell(meaning)} |")
    return "\n".join(lines)


def cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "&lt;")


def publish(site: Path, folder: Path, version: str) -> None:
    """Put a built site beside those of other versions, and list them for the selector in the header.

    Args:
        folder: what the web server shows: a folder for each version.
        version: such as `v1.2.0`; anything else, such as `dev`, is listed last.
    """
    shutil.rmtree(folder / version, ignore_errors=True)
    shutil.copytree(site, folder / version)
    names = sorted(
        (path.name for path in folder.iterdir() if (path / "sitemap.xml").exists()), key=_order, reverse=True
    )
    listed = [{"version": name, "title": name, "aliases": ["latest"] if name == names[0] else []} for name in names]
    (folder / "versions.json").write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")
    newest = f'<!doctype html><meta http-equiv="refresh" content="0; url={names[0]}/">\n'
    (folder / "index.html").write_text(newest, encoding="utf-8")


def _order(version: str) -> list[int]:
    return [int(number) for number in version[1:].split(".")] if re.fullmatch(r"v\d+(\.\d+)*", version) else []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", action="store_true", help="show the site at http://localhost:8000")
    parser.add_argument("--publish", type=Path, metavar="FOLDER", help="put it beside the sites of other versions")
    parser.add_argument("--version", default="dev", help="with --publish: the name of its folder [dev]")
    options = parser.parse_args()
    assemble()
    if options.serve:
        return serve()
    words = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    code = subprocess.run(words, cwd=ROOT, check=False).returncode
    if code == 0 and options.publish:
        publish(ROOT / "build" / "site", options.publish, options.version)
    return code


if __name__ == "__main__":
    sys.exit(main())
