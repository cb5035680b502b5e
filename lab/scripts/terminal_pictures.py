"""Pictures of a terminal for the documentation: runs each command, and draws what it printed.

python lab/scripts/terminal_pictures.py [NAME ...] [--folder DIR]

Commands run in a folder of their own, in the order below, since one makes what the next reads. Training takes the
minutes that its command says. Nothing is typed: a picture that is wrong is mended by mending the program.
"""

from __future__ import annotations

import argparse
import io
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURES = Path(__file__).resolve().parents[2] / "docs" / "pictures"
WIDTH = 100  # columns
COMMANDS = {  # name of the picture: the command, the first and the last lines to show
    "plan": ("ganfold plan avatars", 40, 0),
    "train": ("ganfold train --data avatars --out runs/faces --minutes 6", 15, 12),
    "sample": ("ganfold sample runs/faces --count 64 --out faces.png", 10, 0),
    "evaluate": ("ganfold evaluate runs/faces", 30, 0),
    "copies": ("ganfold copies runs/faces --features pixels", 30, 0),
    "check": ("ganfold check avatars", 30, 0),
    "gans": ("ganfold gans", 40, 0),
}
FORMAT = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" class="rich-terminal">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""  # rich's own, without its font from another host


def printed(command: str, folder: Path) -> str:
    """What a command prints in a folder.

    Raises:
        SystemExit: the command failed.
    """
    environment = {**os.environ, "COLUMNS": str(WIDTH), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        shlex.split(command), cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        sys.exit(f"{command} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def shown(text: str, first: int, last: int) -> list[str]:
    """The first and the last lines of a text, with a mark where lines are left out."""
    lines = text.rstrip().splitlines()
    if len(lines) <= first + last:
        return lines
    return [*lines[:first], f"... {len(lines) - first - last} more lines ...", *lines[len(lines) - last :]]


def draw(command: str, lines: Sequence[str], path: Path) -> None:
    """Write an SVG of a terminal with a command and its output."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text("$ ", "bold green") + Text(command, "bold"))
    for line in lines:
        console.print(Text(line, "dim" if line.startswith("... ") else ""), soft_wrap=False)
    console.save_svg(str(path), title="", code_format=FORMAT, unique_id=path.stem)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(COMMANDS)} [all]")
    parser.add_argument("--folder", type=Path, help="where the commands run [a temporary folder]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in options.names or COMMANDS:
            command, first, last = COMMANDS[name]
            lines = shown(printed(command, folder), first, last)
            draw(command, lines, PICTURES / f"terminal-{name}.svg")
            print(f"{command}: {len(lines)} lines")


if __name__ == "__main__":
    main()
