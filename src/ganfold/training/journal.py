"""What a run writes while it trains: log.jsonl, TensorBoard, sample grids, state.json, the console."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog

from ganfold.errors import GanfoldError, printable
from ganfold.files import unwritable, write_bytes, write_json
from ganfold.images import grids
from ganfold.runs.record import LOG, NEWEST

GRID = 64  # samples in a grid
SHARES = ("precision", "recall", "coverage")
YOUNG = (
    "Precision, recall and coverage are still 0.00. That is normal for a young run: they rise after a few kimg with "
    "some GANs, after hundreds with others. Follow the quick KID until then."
)


class _Console(Console):
    """A console whose reader may leave (`head`, a pager) without ending the training."""

    unread = False

    def on_broken_pipe(self) -> None:
        self.unread = True
        with suppress(SystemExit):  # rich would end the program here
            super().on_broken_pipe()


class _Times(ProgressColumn):
    """How long this call has trained, and how long it still will."""

    max_refresh = 0.5  # seconds

    def render(self, task: Task) -> Text:
        elapsed, left = (
            "-:--:--" if seconds is None else str(timedelta(seconds=int(seconds)))
            for seconds in (task.finished_time if task.finished else task.elapsed, task.time_remaining)
        )
        return Text(f"elapsed {elapsed}, left {left}")


def _texts(*formats: str) -> list[TextColumn]:
    return [TextColumn(text, table_column=Column(no_wrap=True)) for text in formats]


class _Board:
    """TensorBoard's file, written at once and by no thread. Where it cannot be written training goes on without it."""

    def __init__(self, folder: Path, step: int, say: Callable[[str], object]) -> None:
        self._folder, self._say = folder, say
        self._writer: Any = None
        self._tried(lambda: self._open(step))

    def add(self, step: int, *summaries: Any) -> None:
        """Write summaries of tensorboardX."""
        if self._writer:
            self._tried(lambda: self._write(*(Event(wall_time=time.time(), step=step, summary=s) for s in summaries)))

    def close(self) -> None:
        if self._writer:
            self._tried(self._writer.close)

    def _open(self, step: int) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f".{os.getpid()}.{time.time_ns()}"  # two in one second are two files
        self._writer = EventsWriter(str(self._folder / "events"), name)
        self._write(Event(wall_time=time.time(), step=step, session_log=SessionLog(status=SessionLog.START)))

    def _write(self, *events: Any) -> None:
        for event in events:
            self._writer.write_event(event)
        self._writer.flush()

    def _tried(self, write: Callable[[], object]) -> None:
        try:
            write()
        except OSError as error:
            self._writer = None
            self._say(f"TensorBoard's files are left out from here on: {unwritable(self._folder, error)}")


class Journal:
    """The written record of a run. Only the first rank opens it."""

    def __init__(self, out: Path, *, progress: bool) -> None:
        self.out = out
        self.console = _Console(quiet=not progress, highlight=False, soft_wrap=True)
        self._progress = Progress(
            *_texts("{task.fields[clock]}"),
            BarColumn(None),  # which alone may shrink
            *_texts("{task.percentage:.0f} %", "{task.fields[speed]}"),
            _Times(Column(no_wrap=True)),
            console=self.console,
            disable=not (progress and sys.stdout.isatty()),
            expand=True,
        )
        self._task: TaskID | None = None
        self._board: _Board | None = None
        self._log: BinaryIO | None = None
        self._told: set[str] = set()  # what is said once
        self.rows: list[dict[str, Any]] = []  # of the log

    def open(self, *, log_bytes: int, step: int) -> None:
        """Begin, or go on at a checkpoint. What was logged after it is cut off, since it will come again."""
        self.rewind(log_bytes, step)
        self._task = self._progress.add_task("", total=1.0, clock="", speed="")
        self._progress.start()

    def rewind(self, log_bytes: int, step: int) -> None:
        """Forget what was logged after a checkpoint, and what is damaged.

        Args:
            log_bytes: the length that the log had then.
            step: of the checkpoint.
        """
        self._close()
        path = self.out / LOG
        content = path.read_bytes() if path.exists() else b""
        kept, self.rows, damaged = _whole_rows(content, log_bytes, step)
        if damaged:
            self.once(f"{path} is damaged: {damaged} of its lines {'is' if damaged == 1 else 'are'} left out.")
        elif len(kept) < log_bytes:
            last = self.rows[-1]["kimg"] if self.rows else 0
            self.once(f"The log {path} ends before the checkpoint: its rows after {last:g} kimg are lost.")
        if not content.startswith(kept):
            write_bytes(path, kept)
        self._log = open(path, "ab")  # noqa: SIM115  closed in `close`
        self._log.truncate(len(kept))
        self._log.seek(len(kept))
        self._board = _Board(self.out / "tensorboard", step, self.say)

    def sync(self) -> int:
        """Bring the log to the disk. Gives its length, for the checkpoint."""
        assert self._log
        self._log.flush()
        os.fsync(self._log.fileno())
        return self._log.tell()

    def once(self, sentence: str) -> None:
        """As `say`, but not a second time."""
        if sentence not in self._told:
            self._told.add(sentence)
            self.say(sentence)

    @property
    def unread(self) -> bool:
        """Whether the reader of the console has left."""
        return self.console.unread

    def say(self, sentence: str) -> None:
        """One line on the console, above the bar."""
        text = "\n".join(map(printable, sentence.split("\n")))
        code = self.console.encoding  # what it lacks is written as escapes
        try:
            self.console.print(text.encode(code, "backslashreplace").decode(code), markup=False)
        except OSError as error:
            raise GanfoldError(f"cannot print: {error.strerror or error}") from error

    def tick(self, share: float, kimg: float, images_per_second: float) -> None:
        """Move the bar."""
        assert self._task is not None
        speed = f"{images_per_second:,.0f} images/s" if images_per_second else ""
        self._progress.update(self._task, completed=min(1.0, share), clock=f"{kimg:,.1f} kimg", speed=speed)

    def end_bar(self) -> None:
        """Leave the bar as it is. What is said later stands below it."""
        self._progress.stop()

    def log(self, row: dict[str, Any]) -> None:
        """Write the row of a report to the log, TensorBoard and console."""
        self._write(row)
        self.show(row)

    def show(self, row: dict[str, Any]) -> None:
        """Print the row of a report."""
        shown = [n for n in row if n.startswith(("Loss_", "D("))]
        figures = "  ".join(f"{name} {row[name]:.3f}" for name in shown)
        self.say(f"{row['kimg']:9,.1f} kimg  {figures}  {row['images/s']:,.0f} images/s")

    def checkup(self, row: dict[str, Any], best: dict[str, float]) -> None:
        """Write the row of a checkup to the log, TensorBoard and console."""
        self._write(row)
        where = "the best so far" if best["kimg"] == row["kimg"] else f"best {best['KID']:.3f} at {best['kimg']:g} kimg"
        is_young = all(row[name] < 0.005 for name in SHARES)
        figures = "" if is_young else "".join(f"  {name} {row[name]:.2f}" for name in SHARES)
        self.say(f"{row['kimg']:9,.1f} kimg  quick KID {row['KID']:.3f} ± {row['KID/error']:.3f} ({where}){figures}")
        if is_young:
            self.once(YOUNG)

    def _write(self, row: dict[str, Any]) -> None:
        assert self._log
        assert self._board
        self.rows.append(row)
        try:
            self._log.write((json.dumps(row) + "\n").encode())
            self._log.flush()
        except OSError as error:
            raise unwritable(self.out / LOG, error) from error
        scalars = [summary.scalar(name, value) for name, value in row.items() if name not in ("step", "kimg", "epoch")]
        self._board.add(row["step"], *scalars)

    def grid(self, samples: np.ndarray, kimg: float, step: int, columns: int | None = None) -> None:
        """Write the grid of the fixed latents to `samples/<kimg>.png` and TensorBoard."""
        image = self._save_grid(self._grid_file(kimg), samples, kimg, columns)
        (self.out / NEWEST).unlink(missing_ok=True)
        pixels = np.asarray(image)
        assert self._board
        self._board.add(step, summary.image("samples", pixels, dataformats="HWC" if pixels.ndim == 3 else "HW"))

    def has_grid(self, kimg: float) -> bool:
        """Whether there is a grid of this report."""
        return self._grid_file(kimg).exists()

    def newest(self, samples: np.ndarray, kimg: float, columns: int | None = None) -> None:
        """Write the grid of the fixed latents to `newest.png`, until the next report."""
        self._save_grid(self.out / NEWEST, samples, kimg, columns)

    def _grid_file(self, kimg: float) -> Path:
        return self.out / "samples" / f"{kimg:010.3f}.png"

    def _save_grid(self, path: Path, samples: np.ndarray, kimg: float, columns: int | None) -> Image.Image:
        image = grids.grid(samples, columns, scale=grids.enlargement(samples))
        grids.save_sheet(image, path, {"kimg": f"{kimg:g}"})
        return image

    def state(self, content: dict[str, Any]) -> None:
        """Write `state.json`: how far the run is, and how it ended."""
        write_json(self.out / "state.json", content)

    def film(self) -> None:
        """Join the grids into `progress.webp`."""
        frames = [path for path in sorted((self.out / "samples").glob("*.png")) if path.stem != "reals"]
        if len(frames) > 1:
            grids.film(frames, self.out / "progress.webp")

    def close(self) -> None:
        self._progress.stop()
        self._close()

    def _close(self) -> None:
        if self._log:
            with suppress(OSError):  # a disk that is full has already had its sentence
                self.sync()
            with suppress(OSError):
                self._log.close()
        if self._board:
            self._board.close()
        self._log = self._board = None


def _whole_rows(content: bytes, log_bytes: int, step: int) -> tuple[bytes, list[dict[str, Any]], int]:
    """The lines of a log up to a step, the rows in them, and how many lines before `log_bytes` are damaged."""
    lines, rows, damaged, place = [], [], 0, 0
    for line in content.splitlines(keepends=True):
        row, is_cut = _row(line), place + len(line) == len(content) and not line.endswith(b"\n")
        damaged += row is None and not is_cut and place < log_bytes
        if row and row["step"] <= step:
            lines.append(line)
            rows.append(row)
        place += len(line)
    return b"".join(lines), rows, damaged


def _row(line: bytes) -> dict[str, Any] | None:
    """The row of a line of the log; None if the line is damaged."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not line.endswith(b"\n") or not isinstance(row, dict) or not {"step", "kimg"} <= row.keys():
        return None
    return row if all(isinstance(value, int | float) for value in row.values()) else None


def real_grid(images: np.ndarray, out: Path) -> None:
    """Write `samples/reals.png`: real images (N, C, H, W) to compare with."""
    reals = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    grids.save_sheet(grids.grid(reals, scale=grids.enlargement(reals)), out / "samples" / "reals.png")
