"""Steps until the budget is spent or somebody stops it, with reports, checkups, checkpoints and rescues on the way."""

from __future__ import annotations

import math
import shlex
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from ganfold.data import ImageSet
from ganfold.data.fields import FromReals, from_reals
from ganfold.device import ran_out_of_memory, release_memory
from ganfold.errors import GanfoldError
from ganfold.runs import checkpoint
from ganfold.runs.run import Giving, class_rows, generate, labelled
from ganfold.training.checkups import FEWEST, Checkup
from ganfold.training.diagnosis import diagnose, lost_its_gain
from ganfold.training.journal import GRID, Journal
from ganfold.training.ranks import Ranks, has_batch_norm
from ganfold.training.settings import Settings
from ganfold.training.trainer import Trainer, weights

TRIPLES = 24  # images of a grid that shows beside each what it was made from and what it should be
FINITE_CHECK_STEPS = 64  # on a device that would have to be waited for
AGREE_STEPS = 8  # with several ranks, which must agree to stop
CHECKUPS = 10  # in a whole budget ...
CHECKUP_KIMG = 2.0  # ... but none before so much of training
MEMORY_STEPS = 32  # after the beginning, lazy phases and all, memory should not run out any more
HANGUP = getattr(signal, "SIGHUP", None)  # the terminal goes; Windows has no such signal
NOBODY = "a closed pipe"  # as good as a signal: whoever read what we say has gone
RESCUES = 3  # at most, each with half the learning rate of the one before


class Loop:
    """One call of `train`, from the newest checkpoint (or the beginning) to the end of the budget."""

    def __init__(
        self,
        trainer: Trainer,
        journal: Journal,
        out: Path,
        settings: Settings,
        record: dict[str, Any],
        ranks: Ranks,
    ) -> None:
        self.trainer, self.journal, self.out, self.settings, self.ranks = trainer, journal, out, settings, ranks
        self.record = record  # what config.json holds
        self.spent = 0.0  # seconds of training before this call
        self.begun = time.monotonic()
        self.reported = (self.begun, 0)  # when, and at how many images
        self.first = 0  # the step at which this call began
        self.checkups = 0  # how many are behind us
        self.best: dict[str, float] | None = None  # KID and kimg of the best checkup
        self.rescues: list[dict[str, Any]] = []
        self.named: set[str] = set()  # alarms that the console has had
        self.checkup: Checkup | None = None

    def run(self, images: ImageSet) -> None:
        trainer, settings = self.trainer, self.settings
        log_bytes = self._resume()
        if self.ranks.first:
            if settings.evaluate_every != 0 and len(images.train) >= FEWEST:
                self.checkup = Checkup(images, settings.seed, trainer.device)
            self.journal.open(log_bytes=log_bytes, step=trainer.steps)
            self._announce(images, resumed=trainer.steps > 0)
            if trainer.steps == 0:
                self._grid()
        saved = self.begun = time.monotonic()
        self.reported, self.first = (self.begun, trainer.images), trainer.steps
        if trainer.steps == 0:
            self._save("running", "")  # where a rescue can always go back to
        with _stop_signal() as stop:
            status, why = "done", "the budget is spent"
            spent = self._budget_spent()
            while not spent:
                due = _next_report(trainer.images, settings.report_kimg)
                if not self._step():
                    continue
                reporting = trainer.images >= due
                saving = self._agreed(time.monotonic() - saved >= 60 * settings.checkpoint_minutes)
                if self.journal.unread and not stop:
                    stop.append(NOBODY)
                stopping = self._agreed(bool(stop))
                spent = self._budget_spent()
                if wrong := self._not_finite(surely=reporting or saving or stopping or spent):
                    self._rescue(f"{', '.join(wrong)} became infinite or NaN", final=True)
                    spent = self._budget_spent()
                    continue
                if reporting:
                    self._report()
                if self.checkup and self._passed() >= self.checkups + 1 and (lost := self._examine()):
                    self._rescue(lost, final=False)
                    spent = self._budget_spent()
                elif saving:
                    self._save("running", "")
                    saved = time.monotonic()
                if stopping:
                    status, why = "stopped", stop[0] if stop else "another rank was stopped"
                    break
            self._save(status, why)
        if self.ranks.first:
            self._end(status, why)

    def _step(self) -> bool:
        """Make a step; False where memory ran out and training is back at the last checkpoint, with smaller parts."""
        try:
            self.trainer.step()
            return True
        except (RuntimeError, MemoryError) as error:
            early = self.trainer.steps < self.first + MEMORY_STEPS
            # Other ranks know nothing of it and would wait for this one.
            if not ran_out_of_memory(error) or not early or self.ranks.world > 1 or not self.trainer.split_further():
                raise
        release_memory(self.trainer.device)  # only now: the error held what the step had made
        parts, size, spent = self.trainer.parts, self.trainer.batches.size, 60 * self.minutes
        log_bytes = self._resume()
        self.spent, self.begun = spent, time.monotonic()
        self.reported = (self.begun, self.trainer.images)
        self.trainer.parts = parts  # recorded from the next checkpoint on, which is this one
        self.journal.rewind(log_bytes, self.trainer.steps)
        self._save("running", "")
        own = " BatchNorm sees each part by itself." if has_batch_norm(self.trainer.gan) else ""
        self.journal.say(
            f"Out of memory: from now on a batch of {size} is taken in {parts} parts of about {size // parts}, whose "
            f"gradients are added up.{own}"
        )
        return False

    @property
    def minutes(self) -> float:
        return (self.spent + time.monotonic() - self.begun) / 60

    @property
    def share(self) -> float:
        """How much of the budget is spent, 0 to 1 and a little."""
        by_time = self.minutes / self.settings.minutes if self.settings.minutes else 0.0
        return max(self.trainer.images / 1000 / self.settings.budget_kimg, by_time)

    def _budget_spent(self) -> bool:
        return self.settings.is_spent(self.trainer.images, 0) or self._agreed(
            self.settings.is_spent(self.trainer.images, self.minutes)
        )

    def _agreed(self, flag: bool) -> bool:
        """Whether any rank says so; asked only now and then, since ranks must wait for each other to answer."""
        if self.ranks.world == 1:
            return flag
        return self.trainer.steps % AGREE_STEPS == 0 and self.ranks.any(flag, self.trainer.device)

    def _resume(self) -> int:
        """Go on from the newest checkpoint, if there is one; the length that the log had at it."""
        found = checkpoint.checkpoints(self.out / "checkpoints")
        return self._load(found[-1]) if found else 0

    def _load(self, path: Path) -> int:
        tensors, state = checkpoint.load(path)
        self.trainer.load(tensors, state)
        self.spent, self.checkups, self.best = state["seconds"], state.get("checkups", 0), state.get("best")
        self.checkups = min(self.checkups, math.floor(self._passed()))  # of a larger budget there are more to come
        self.rescues = state.get("rescues", [])
        self.trainer.slow_down(0.5 ** len(self.rescues))
        log_bytes: int = state["log_bytes"]
        return log_bytes

    def _announce(self, images: ImageSet, resumed: bool) -> None:
        trainer, settings = self.trainer, self.settings
        budget = " or ".join(
            ([f"{settings.budget_kimg:,g} kimg"] if math.isfinite(settings.budget_kimg) else [])
            + ([f"{settings.minutes:g} minutes"] if settings.minutes else [])
        )
        networks = weights(trainer.gan)
        self.journal.say(
            f"{'Going on at ' + format(trainer.images / 1000, ',.1f') + ' kimg' if resumed else 'Training'} "
            f"on {trainer.device}: {len(images.train):,} images of {images.resolution} px, {networks} weights, "
            f"until {budget}. Ctrl-C stops and saves."
        )
        if self.ranks.world > 1 and has_batch_norm(trainer.gan) and not settings.sync_bn:
            share = trainer.batches.size // self.ranks.world
            self.journal.say(
                f"BatchNorm sees each rank's own {share} images, not the joined {trainer.batches.size}: "
                "not the same training as on one rank; --sync-bn joins them."
            )

    # What is written on the way.

    def _report(self) -> None:
        trainer, now = self.trainer, time.monotonic()
        self.ranks.average(trainer.meter.sums())
        when, images = self.reported
        speed = (trainer.images - images) / max(now - when, 1e-9)
        if self.ranks.first:
            row = self._clock() | trainer.meter.means()
            self.journal.log(row | {"images/s": round(speed, 1), "minutes": round(self.minutes, 3)})
            self._grid()
            self._consult("running", "")
            self.journal.tick(self.share, trainer.images / 1000, speed)
        trainer.meter.clear()
        self.reported = (time.monotonic(), trainer.images)

    def _clock(self) -> dict[str, Any]:
        return {"step": self.trainer.steps, "kimg": self.trainer.images / 1000}

    def _grid(self) -> None:
        trainer, gan = self.trainer, self.trainer.gan
        count: int = GRID
        columns: int | None = None
        giving: Giving | None = from_reals(gan, trainer.batches.data, self.settings.seed, trainer.device)
        if gan.conditional:
            count, columns, labelling = class_rows(GRID, gan.shape.classes)
            giving = labelled(labelling)
        count = TRIPLES if isinstance(giving, FromReals) else count
        samples = generate(trainer.sample, gan.latent, self.settings.seed, count, device=trainer.device, giving=giving)
        if isinstance(giving, FromReals):
            samples, each = giving.beside(samples)
            columns = 3 * each if each > 1 else None
        self.journal.grid(samples, trainer.images / 1000, trainer.steps, columns)

    def _save(self, status: str, why: str) -> None:
        """Write a checkpoint, and with it what the run says of itself; all ranks at once."""
        self.ranks.average(self.trainer.meter.sums())
        self.ranks.broadcast(self.trainer.gan.buffers())
        if self.ranks.first:
            checkpoint.save(self.out / "checkpoints", self.trainer.steps, *self._content())
            self.journal.state(self._state(status, why))

    def _content(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What a checkpoint holds."""
        tensors, state = self.trainer.state()
        state |= {"seconds": self.minutes * 60, "log_bytes": self.journal.log_bytes}
        return tensors, state | {"checkups": self.checkups, "best": self.best, "rescues": self.rescues}

    def _state(self, status: str, why: str) -> dict[str, Any]:
        return {
            "images": self.trainer.images,
            "step": self.trainer.steps,
            "minutes": self.minutes,
            "status": status,
            "why": why,
            "best": self.best,
            "rescues": self.rescues,
        }

    def _end(self, status: str, why: str) -> None:
        self.journal.film()
        self._consult(status, why)
        kimg = f"{self.trainer.images / 1000:,.1f} kimg"
        if status == "stopped":
            self.journal.say(
                f"Stopped by {why} and saved at {kimg}. To go on, give the same command:\n  {self.record['command']}"
            )
        else:
            self.journal.say(
                f"Done: {kimg} in {self.minutes:,.1f} minutes.\n"
                f"  ganfold sample {shlex.quote(str(self.out))} --out grid.png\n"
                f"  ganfold report {shlex.quote(str(self.out))}"
            )

    # The doctor.

    def _passed(self) -> float:
        """How many checkups the training so far is worth."""
        kimg = self.trainer.images / 1000
        if every := self.settings.evaluate_every:
            return kimg / every
        return min(self.share * CHECKUPS, kimg / CHECKUP_KIMG)

    def _examine(self) -> str:
        """A checkup: its row in the log, the best checkpoint. Says what was lost where training has diverged."""
        assert self.checkup
        self.checkups = math.floor(self._passed())
        row = self.checkup(self.trainer)
        is_best = not self.best or row["KID"] < self.best["KID"]
        if is_best:
            self.best = {"KID": row["KID"], "kimg": self.trainer.images / 1000}
        assert self.best
        self.journal.checkup(self._clock() | row | {"minutes": round(self.minutes, 3)}, self.best)
        if is_best:  # after its row, so that a rescue from here keeps it
            checkpoint.write(self.out / "checkpoints" / checkpoint.BEST, *self._content())
        self._consult("running", "")
        if self.ranks.world > 1 or not lost_its_gain(self.journal.rows):
            return ""
        return f"KID was {self.best['KID']:.3g} at {self.best['kimg']:g} kimg and is {row['KID']:.3g}"

    def _consult(self, status: str, why: str) -> None:
        """Say what the doctor sees, each thing once."""
        for diagnosis in diagnose(self.journal.rows, self.record, self._state(status, why)):
            if diagnosis.name not in self.named:
                self.named.add(diagnosis.name)
                self.journal.say(f"{'Doctor' if diagnosis.alarm else 'Hint'}: {diagnosis}")

    def _not_finite(self, surely: bool) -> list[str]:
        """The names of what is no longer finite, as often as it costs nothing, or surely; all ranks agree."""
        trainer = self.trainer
        if self.ranks.world > 1:
            if not surely and trainer.steps % FINITE_CHECK_STEPS:
                return []
            wrong = trainer.meter.not_finite()
            return (wrong or ["a figure of another rank"]) if self.ranks.any(bool(wrong), trainer.device) else []
        if trainer.device.type == "cpu" or surely or trainer.steps % FINITE_CHECK_STEPS == 0:
            return trainer.meter.not_finite()
        return []

    def _rescue(self, why: str, final: bool) -> None:
        """Go back to the last good checkpoint with half the learning rate, or give up.

        Raises:
            GanfoldError: the rescues are used up or were not wanted, and training cannot go on as it is (`final`).
        """
        trainer, folder, rescues = self.trainer, self.out / "checkpoints", self.rescues
        at, found = trainer.images / 1000, checkpoint.checkpoints(folder)
        if not self.settings.rescue or len(rescues) >= RESCUES:
            if not final:  # the doctor has said what happens
                return
            if self.ranks.first:
                self.journal.state(self._state("failed", why))
            again = f" after {len(rescues)} rescues with ever lower learning rates" if rescues else ""
            raise GanfoldError(
                f"{why} before {at:,.1f} kimg, so training stopped{again}; the last good state is kept ({found[-1]}): "
                "try a lower --lr, --precision fp32 or another --seed, each with --restart"
            )
        # The newest may have been written when it was already too late, so each further rescue goes further back.
        spent = self.minutes * 60
        log_bytes = self._load(found[max(0, len(found) - 1 - len(rescues))] if final else folder / checkpoint.BEST)
        self.spent, self.begun = spent, time.monotonic()  # the time is gone all the same
        self.rescues = [*rescues, {"at": at, "to": trainer.images / 1000, "why": why}]
        trainer.slow_down(0.5 ** len(self.rescues))
        trainer.meter.clear()
        self.reported = (time.monotonic(), trainer.images)
        self.ranks.wait()
        if self.ranks.first:
            for path in found:
                if path > checkpoint.place(folder, trainer.steps):
                    path.unlink(missing_ok=True)
            self.journal.rewind(log_bytes, trainer.steps)
            self.journal.say(
                f"Doctor: training diverged ({why}): back from {at:,.1f} to {trainer.images / 1000:,.1f} kimg with "
                f"{0.5 ** len(self.rescues):g} of the learning rate, rescue {len(self.rescues)} of {RESCUES}; "
                "--no-rescue turns this off."
            )
        self._save("running", "")


def _next_report(images: int, report_kimg: float) -> float:
    """The number of images at which to report next: every `report_kimg` a hundred times, then ever rarer."""
    base = report_kimg * 1000
    interval = base * 2 ** max(0, math.floor(math.log2(max(images, 1) / (100 * base))) + 1)
    return float((math.floor(images / interval) + 1) * interval)


@contextmanager
def _stop_signal() -> Iterator[list[str]]:
    """A list that receives the name of the first signal to stop; a second one acts as it would without us."""
    received: list[str] = []
    earlier: dict[signal.Signals, Any] = {}

    def note(number: int, _: Any) -> None:
        received.append("Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name)
        signal.signal(number, earlier[signal.Signals(number)])

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            earlier[number] = signal.signal(number, note)
        if HANGUP and signal.getsignal(HANGUP) != signal.SIG_IGN:  # nohup has it ignored
            earlier[HANGUP] = signal.signal(HANGUP, note)
    except ValueError:  # not the main thread: whoever started it must stop it
        pass
    try:
        yield received
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
