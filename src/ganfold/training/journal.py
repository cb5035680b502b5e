"""What a run writes while it trains: log.jsonl, TensorBoard, sample grids, state.json, the console."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from tensorboardX import SummaryWriter

from ganfold.files import write_json
from ganfold.images import grids

GRID = 64  # samples in a grid


class _Console(Console):
    """A console whose reader may leave (`head`, a pager) without ending the training."""

    unread = False

    def on_broken_pipe(self) -> None:
        self.unread = True
        with suppress(SystemExit):  # rich would end the program here
            super().on_broken_pipe()


class Journal:
    """The written record of a run. Only the first rank opens it."""

    def __init__(self, out: Path, *, progress: bool) -> None:
        self.out = out
        self.console = _Console(quiet=not progress, highlight=False, soft_wrap=True)
        self._progress = Progress(
            TextColumn("{task.fields[clock]}"),
            BarColumn(None),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not (progress and sys.stdout.isatty()),
            expand=True,
        )
        self._task: TaskID | None = None
        self._board: Any = None  # TensorBoard's writer
        self.rows: list[dict[str, Any]] = []  # of the log

    def open(self, *, log_bytes: int, step: int) -> None:
        """Begin, or go on at a checkpoint. What was logged after it is cut off, since it will come again."""
        self._log = open(self.out / "log.jsonl", "ab+")  # noqa: SIM115  closed in `close`
        self.rewind(log_bytes, step)
        self._task = self._progress.add_task("", total=1.0, clock="", speed="")
        self._progress.start()

    def rewind(self, log_bytes: int, step: int) -> None:
        """Forget what was logged after a checkpoint."""
        self._log.truncate(log_bytes)
        self._log.seek(0)
        self.rows = [json.loads(line) for line in self._log.read().splitlines()]
        if self._board:
            self._board.close()
        self._board = SummaryWriter(str(self.out / "tensorboard"), purge_step=step)

    @property
    def log_bytes(self) -> int:
        """The length of the log, for the checkpoint."""
        return self._log.tell()

    @property
    def unread(self) -> bool:
        """Whether the reader of the console has left."""
        return self.console.unread

    def say(self, sentence: str) -> None:
        """One line on the console, above the bar."""
        self._progress.console.print(sentence, markup=False)

    def tick(self, share: float, kimg: float, images_per_second: float) -> None:
        """Move the bar."""
        assert self._task is not None
        self._progress.update(
            self._task, completed=share, clock=f"{kimg:,.1f} kimg", speed=f"{images_per_second:,.0f} images/s"
        )

    def log(self, row: dict[str, Any]) -> None:
        """Write the row of a report to the log, TensorBoard and console."""
        self._write(row)
        shown = [n for n in row if n.startswith(("Loss_", "D("))]
        figures = "  ".join(f"{name} {row[name]:.3f}" for name in shown)
        self.say(f"{row['kimg']:9,.1f} kimg  {figures}  {row['images/s']:,.0f} images/s")

    def checkup(self, row: dict[str, Any], best: dict[str, float]) -> None:
        """Write the row of a checkup to the log, TensorBoard and console."""
        self._write(row)
        where = "the best so far" if best["kimg"] == row["kimg"] else f"best {best['KID']:.3f} at {best['kimg']:g} kimg"
        figures = "  ".join(f"{name} {row[name]:.2f}" for name in ("precision", "recall", "coverage"))
        self.say(f"{row['kimg']:9,.1f} kimg  KID {row['KID']:.3f} ± {row['KID/error']:.3f} ({where})  {figures}")

    def _write(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        self._log.write((json.dumps(row) + "\n").encode())
        self._log.flush()
        for name, value in row.items():
            if name not in ("step", "kimg"):
                self._board.add_scalar(name, value, row["step"])

    def grid(self, samples: np.ndarray, kimg: float, step: int, columns: int | None = None) -> None:
        """Write the grid of the fixed latents to `samples/<kimg>.png` and TensorBoard."""
        image = grids.grid(samples, columns, scale=grids.enlargement(samples))
        grids.save_png(image, self.out / "samples" / f"{kimg:010.3f}.png", {"kimg": f"{kimg:g}"})
        pixels = np.asarray(image)
        self._board.add_image("samples", pixels, step, dataformats="HWC" if pixels.ndim == 3 else "HW")

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
        if self._task is not None:
            self._log.flush()
            os.fsync(self._log.fileno())
            self._log.close()
            self._board.close()


def real_grid(images: np.ndarray, out: Path) -> None:
    """Write `samples/reals.png`: real images (N, C, H, W) to compare with."""
    reals = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    grids.save_png(grids.grid(reals, scale=grids.enlargement(reals)), out / "samples" / "reals.png", None)
