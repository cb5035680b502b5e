"""Steps until the budget is spent or somebody stops it, with reports, checkups, checkpoints and rescues on the way."""

from __future__ import annotations

import math
import shlex
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ganfold.data import ImageSet
from ganfold.device import ran_out_of_memory, release_memory
from ganfold.errors import GanfoldError
from ganfold.interface.stopping import StopReason
from ganfold.runs import checkpoint
from ganfold.runs.conditioning import Conditioning, HeldOutConditioning, class_rows, held_out_conditioning, labelled
from ganfold.runs.generate import generate
from ganfold.runs.record import NEWEST, RunRecord
from ganfold.runs.run import Run
from ganfold.training.checkups import FEWEST, QUICK, Checkup
from ganfold.training.diagnosis import diagnose, lost_its_gain
from ganfold.training.journal import GRID, Journal
from ganfold.training.ranks import Ranks, has_batch_norm
from ganfold.training.trainer import Trainer, weights

TRIPLES = 24  # samples in a grid that shows each between its input and its target
FINITE_CHECK_STEPS = 64  # how often to check a device that the check would have to wait for
AGREE_STEPS = 8  # how often several ranks agree whether to stop
CHECKUPS = 10  # in a whole budget ...
CHECKUP_KIMG = 2.0  # ... but none before this much training
MEMORY_STEPS = 32  # after this many steps, lazy phases and all, memory should not run out any more
HANGUP = getattr(signal, "SIGHUP", None)  # Windows has no such signal
RESCUES = 3  # at most, each with half the learning rate of the one before
LOOK_SECONDS = 20.0  # without a report before there is a look; before each further look twice as many
TICK_SECONDS = 0.2  # between two moves of the bar


@dataclass(frozen=True)
class Events:
    """What is due after a step."""

    report: bool
    look: bool
    save: bool
    stop: bool
    spent: bool  # the budget is used up

    @property
    def any(self) -> bool:
        return self.report or self.look or self.save or self.stop or self.spent


class Loop:
    """One call of `train`, from the newest checkpoint (or the beginning) to the end of the budget."""

    def __init__(
        self,
        trainer: Trainer,
        journal: Journal,
        out: Path,
        record: RunRecord,
        ranks: Ranks,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.trainer, self.journal, self.out, self.ranks, self.clock = trainer, journal, out, ranks, clock
        self.record, self.settings = record, record.settings
        self.spent = 0.0  # seconds of training before this call
        self.begun = self.saved = clock()
        self.reported = (self.begun, 0)  # when, and at how many images
        self.looked = self.ticked = self.begun  # when a report or a look was shown, and when the bar moved
        self.looks, self.speed = 0, 0.0  # so far; images a second
        self.first = 0  # the step at which this call began
        self.checkups = 0  # how many are behind us
        self.best: dict[str, float] | None = None  # KID and kimg of the best checkup
        self.rescues: list[dict[str, Any]] = []
        self.named: set[str] = set()  # diagnoses that the console has had
        self.checkup: Checkup | None = None

    def run(self, images: ImageSet) -> None:
        """Train until the budget is spent or a signal comes."""
        self._begin(images)
        with _stop_signal() as signals:
            is_spent = self._budget_spent()
            reason: StopReason | None = None
            while not is_spent and reason is None:
                due = _next_report(self.trainer.images, self.settings.report_kimg)
                if not self._step():
                    continue
                events = self._events(due, signals)
                if wrong := self._not_finite(surely=events.any):
                    self._rescue(f"{', '.join(wrong)} became infinite or NaN", final=True)
                    is_spent = self._budget_spent()
                    continue
                is_spent = events.spent
                if events.report:
                    self._report()
                elif events.look:
                    self._look()
                    self.journal.once(f"The newest samples are in {self.out / NEWEST}.")
                if self.checkup and self._passed() >= self.checkups + 1 and (lost := self._examine()):
                    self._rescue(lost, final=False)
                    is_spent = self._budget_spent()
                elif events.save:
                    self._save("running", "")
                    self.saved = self.clock()
                if events.stop:
                    reason = signals[0] if signals else StopReason.OTHER_RANK
            # A signal in the last step stops nothing: the same command would have nothing left to do.
            status, why = ("stopped", str(reason)) if reason and not is_spent else ("done", "the budget is spent")
            self._save(status, why)
        if self.ranks.first:
            self._end(status, why)

    def _begin(self, images: ImageSet) -> None:
        """Load the newest checkpoint, open the journal, and write the first grid and checkpoint."""
        trainer = self.trainer
        log_bytes = self._resume()
        if self.ranks.first:
            if self.settings.evaluate_every != 0 and len(images.train) >= FEWEST:
                self.checkup = Checkup(images, self.settings.seed, trainer.device)
            self.journal.open(log_bytes=log_bytes, step=trainer.steps)
            self._announce(images, resumed=trainer.steps > 0)
            if trainer.steps == 0:
                self._grid()
        self.saved = self.begun = self.clock()
        self.reported, self.first = (self.begun, trainer.images), trainer.steps
        self.looked = self.begun
        if trainer.steps == 0:
            self._save("running", "")  # a rescue can always go back to here

    def _events(self, due: float, signals: list[StopReason]) -> Events:
        """What is due now; `due` is the number of images at which to report."""
        now = self.clock()
        self._tick(now)
        look = self._agreed(now - self.looked >= LOOK_SECONDS * 2**self.looks)
        save = self._agreed(now - self.saved >= 60 * self.settings.checkpoint_minutes)
        if self.journal.unread and not signals:
            signals.append(StopReason.CLOSED_PIPE)
        stop = self._agreed(bool(signals))
        return Events(self.trainer.images >= due, look, save, stop, self._budget_spent())

    def _step(self) -> bool:
        """Make a step. False if memory ran out: training is then back at the last checkpoint, with smaller parts."""
        try:
            self.trainer.step()
            return True
        except (RuntimeError, MemoryError) as error:
            early = self.trainer.steps < self.first + MEMORY_STEPS
            # Other ranks do not know of it and would wait for this one.
            if not ran_out_of_memory(error) or not early or self.ranks.world > 1 or not self.trainer.split_further():
                raise
        release_memory(self.trainer.device)  # only now: the error held the tensors of the step
        parts, size, spent = self.trainer.parts, self.trainer.batches.size, 60 * self.minutes
        log_bytes = self._resume()
        self.spent, self.begun = spent, self.clock()
        self.reported = (self.begun, self.trainer.images)
        self.trainer.parts = parts  # the checkpoint below records it
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
        return (self.spent + self.clock() - self.begun) / 60

    @property
    def share(self) -> float:
        """The share of the budget that is spent: 0 to 1, at the end slightly more."""
        by_time = self.minutes / self.settings.minutes if self.settings.minutes else 0.0
        return max(self.trainer.images / 1000 / self.settings.budget_kimg, by_time)

    def _budget_spent(self) -> bool:
        return self.settings.is_spent(self.trainer.images, 0) or self._agreed(
            self.settings.is_spent(self.trainer.images, self.minutes)
        )

    def _agreed(self, flag: bool) -> bool:
        """Whether the flag stands on any rank. Ranks wait for each other here, so they do it rarely."""
        if self.ranks.world == 1:
            return flag
        return self.trainer.steps % AGREE_STEPS == 0 and self.ranks.any(flag, self.trainer.device)

    def _resume(self) -> int:
        """Load the newest checkpoint, if there is one. Gives the length that the log had then."""
        checkpoints = checkpoint.checkpoints(self.out / "checkpoints")
        return self._load(checkpoints[-1]) if checkpoints else 0

    def _load(self, path: Path) -> int:
        tensors, state = checkpoint.load(path)
        self.trainer.load(tensors, state, path)
        self.spent, self.checkups, self.best = state["seconds"], state.get("checkups", 0), state.get("best")
        self.checkups = min(self.checkups, math.floor(self._passed()))  # a larger budget has more
        self.rescues = state.get("rescues", [])
        self.trainer.slow_down(0.5 ** len(self.rescues))
        log_bytes: int = state["log_bytes"]
        return log_bytes

    def _load_first(self, paths: list[Path]) -> int:
        """Load the first of these checkpoints that is there and whole."""
        for path in paths[:-1]:
            with suppress(GanfoldError):
                return self._load(path)
        return self._load(paths[-1])

    def _announce(self, images: ImageSet, resumed: bool) -> None:
        trainer, settings = self.trainer, self.settings
        networks = weights(trainer.gan)
        self.journal.say(
            f"{'Going on at ' + format(trainer.images / 1000, ',.1f') + ' kimg' if resumed else 'Training'} "
            f"on {trainer.device}: {len(images.train):,} images of {images.resolution} px, {networks} weights, "
            f"until {settings.budget}. An epoch, each image once, is {len(images.train) / 1000:g} kimg. "
            "Ctrl-C stops and saves."
        )
        if self.ranks.world > 1 and has_batch_norm(trainer.gan) and not settings.sync_bn:
            share = trainer.batches.size // self.ranks.world
            self.journal.say(
                f"BatchNorm sees each rank's own {share} images, not the joined {trainer.batches.size}: "
                "not the same training as on one rank; --sync-bn joins them."
            )

    # What is written on the way.

    def _report(self) -> None:
        trainer, now = self.trainer, self.clock()
        self.ranks.average(trainer.meter.sums())
        self.speed = self._speed(now)
        if self.ranks.first:
            self.journal.log(self._row() | {"minutes": round(self.minutes, 3)})
            self._grid()
            self._consult("running", "")
        trainer.meter.clear()
        self.looked = self.clock()
        self.reported = (self.looked, trainer.images)

    def _look(self, line: bool = True) -> None:
        """Show how far training is where the next report is far away: the newest samples, and a `line` if requested.

        When it comes depends on the clock. It only reads: it leaves the meter, the log and the samples of the reports
        as they are. A run that goes on therefore still writes the same log.
        """
        self.speed = self._speed(self.clock())
        if self.ranks.first:
            if line:
                self.journal.show(self._row())
            self.journal.newest(*self._samples())
        self.looks += 1
        self.looked = self.clock()

    def _row(self) -> dict[str, Any]:
        """What a report says."""
        return self._clock() | self.trainer.meter.means() | {"images/s": round(self.speed, 1)}

    def _speed(self, now: float) -> float:
        """Images a second since the last report."""
        when, images = self.reported
        return (self.trainer.images - images) / max(now - when, 1e-9)

    def _tick(self, now: float) -> None:
        """Move the bar now and then. Nothing here waits for the device."""
        if not self.ranks.first or now - self.ticked < TICK_SECONDS:
            return
        if now - self.reported[0] > 5:
            self.speed = self._speed(now)
        self.journal.tick(self.share, self.trainer.images / 1000, self.speed)
        self.ticked = now

    def _clock(self) -> dict[str, Any]:
        images = self.trainer.images
        epoch = round(images / len(self.trainer.batches.data.train), 3)  # how often it has seen each image
        return {"step": self.trainer.steps, "kimg": images / 1000, "epoch": epoch}

    def _grid(self) -> None:
        samples, kimg, columns = self._samples()
        self.journal.grid(samples, kimg, self.trainer.steps, columns)

    def _samples(self) -> tuple[np.ndarray, float, int | None]:
        """The samples of a grid, their kimg, and the number of columns."""
        trainer, gan = self.trainer, self.trainer.gan
        count: int = GRID
        columns: int | None = None
        conditioning: Conditioning | None = held_out_conditioning(
            gan, trainer.batches.data, self.settings.seed, trainer.device
        )
        if gan.conditional:
            count, columns, labelling = class_rows(GRID, gan.shape.classes)
            conditioning = labelled(labelling)
        count = TRIPLES if isinstance(conditioning, HeldOutConditioning) else count
        samples = generate(
            trainer.sample, gan.latent, self.settings.seed, count, device=trainer.device, conditioning=conditioning
        )
        if isinstance(conditioning, HeldOutConditioning):
            samples, each = conditioning.beside(samples)
            columns = 3 * each if each > 1 else None
        return samples, trainer.images / 1000, columns

    def _save(self, status: str, why: str) -> None:
        """Write a checkpoint and `state.json`. All ranks call it together."""
        self.ranks.average(self.trainer.meter.sums())
        self.ranks.broadcast(self.trainer.gan.buffers())
        if self.ranks.first:
            checkpoint.save(self.out / "checkpoints", self.trainer.steps, *self._content())
            if status != "running":  # before the state says so: a training that is killed here makes them again
                self._last_images(status)
            self.journal.state(self._state(status, why))

    def _content(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The content of a checkpoint: tensors, and counters."""
        tensors, state = self.trainer.state()
        state |= {"seconds": self.minutes * 60, "log_bytes": self.journal.sync()}
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
            "not begun": self._not_begun(),
        }

    def _not_begun(self) -> list[dict[str, Any]]:
        """The phases that begin later, each with when, and the option that says so."""
        return [
            {"phase": getattr(phase.loss, "__name__", phase.optimizer), "at": phase.since, "option": phase.since_option}
            for phase in self.trainer.gan.phases
            if phase.since * 1000 >= max(self.trainer.images, 1)
        ]

    def _last_images(self, status: str) -> None:
        """Show the images of a training that ends, and join the grids of its reports."""
        kimg = self.trainer.images / 1000
        if status == "done" and not self.journal.has_grid(kimg):
            self._look(line=self.looked == self.begun)  # a short training is not silent
        self.journal.tick(1.0 if status == "done" else self.share, kimg, self.speed)
        self.journal.end_bar()
        self.journal.film()

    def _end(self, status: str, why: str) -> None:
        kimg = f"{self.trainer.images / 1000:,.1f} kimg"
        self._consult(status, why)
        if status == "stopped":
            self.journal.say(
                f"Stopped by {why} and saved at {kimg}. To go on, give the same command:\n  {self.record.command}"
            )
        else:
            over, minutes = "", self.settings.minutes
            if minutes and self.minutes > 1.1 * minutes:
                over = f" The budget of {minutes:g} ended within a step or a checkup, and that was finished first."
            self.journal.say("\n  ".join([f"Done: {kimg} in {self.minutes:,.1f} minutes.{over}", *self._done()]))

    def _done(self) -> list[str]:
        """What a run leaves: which checkpoint is used, the newest samples, and what to do next."""
        out, best, lines = self.out, self.best, []
        if best is None:
            lines.append("No checkup has measured it, so the newest checkpoint is used.")
        else:
            last = "" if best["kimg"] * 1000 == self.trainer.images else " (--checkpoint last takes the newest)"
            lines.append(
                f"Best checkpoint: quick KID {best['KID']:.3f} at {best['kimg']:,.1f} kimg; sample and evaluate use "
                f"it{last}."
            )
        if newest := Run(out, gan=type(self.trainer.gan)).image_files():
            lines.append(f"Newest samples: {newest[0]}")
        where = shlex.quote(str(out))
        return [*lines, f"ganfold sample {where} --out grid.png", f"ganfold report {where}"]

    # The doctor.

    def _passed(self) -> float:
        """The number of checkups that should have happened by now, as a fraction."""
        kimg = self.trainer.images / 1000
        if every := self.settings.evaluate_every:
            return kimg / every
        return min(self.share * CHECKUPS, kimg / CHECKUP_KIMG)

    def _examine(self) -> str:
        """Make a checkup: log its row, and keep the best checkpoint.

        Returns:
            A sentence where training has lost most of its gain; "" otherwise.
        """
        assert self.checkup
        self.checkups = math.floor(self._passed())
        row = self.checkup(self.trainer)
        is_best = not self.best or row["KID"] < self.best["KID"]
        if is_best:
            self.best = {"KID": row["KID"], "kimg": self.trainer.images / 1000}
        assert self.best
        self.journal.once(QUICK)
        self.journal.checkup(self._clock() | row | {"minutes": round(self.minutes, 3)}, self.best)
        if is_best:  # after its row is logged: a rescue from here keeps the row
            checkpoint.write(self.out / "checkpoints" / checkpoint.BEST, *self._content())
        self._consult("running", "")
        if self.ranks.world > 1 or not lost_its_gain(self.journal.rows):
            return ""
        return f"the quick KID was {self.best['KID']:.3g} at {self.best['kimg']:g} kimg and is {row['KID']:.3g}"

    def _consult(self, status: str, why: str) -> None:
        """Print each diagnosis once."""
        for diagnosis in diagnose(self.journal.rows, self.record, self._state(status, why)):
            if diagnosis.name not in self.named:
                self.named.add(diagnosis.name)
                self.journal.say(f"{'Doctor' if diagnosis.alarm else 'Hint'}: {diagnosis}")

    def _not_finite(self, surely: bool) -> list[str]:
        """The names of logged values that are infinite or NaN; all ranks agree.

        Where the check must wait for the device it runs only now and then, unless `surely`.
        """
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
            GanfoldError: no rescue is left or allowed, and training cannot go on (`final`).
        """
        trainer, folder, rescues = self.trainer, self.out / "checkpoints", self.rescues
        at, checkpoints = trainer.images / 1000, checkpoint.checkpoints(folder)
        if not self.settings.rescue or len(rescues) >= RESCUES:
            if not final:  # the console has had the diagnosis
                return
            if self.ranks.first:
                self.journal.state(self._state("failed", why))
            again = f" after {len(rescues)} rescues with ever lower learning rates" if rescues else ""
            raise GanfoldError(
                f"{why} before {at:,.1f} kimg, so training stopped{again}; the last good state is kept "
                f"({checkpoints[-1]}): try a lower --lr, --precision fp32 or another --seed, each with --restart"
            )
        # The newest checkpoint may already be bad. Each further rescue goes back one more.
        spent = self.minutes * 60
        good = checkpoints[: max(1, len(checkpoints) - len(rescues))]
        log_bytes = self._load_first(good[::-1] if final else [folder / checkpoint.BEST, *checkpoints[::-1]])
        self.spent, self.begun = spent, self.clock()  # a rescue gives no time back
        self.rescues = [*rescues, {"at": at, "to": trainer.images / 1000, "why": why}]
        trainer.slow_down(0.5 ** len(self.rescues))
        trainer.meter.clear()
        self.reported = (self.clock(), trainer.images)
        self.ranks.wait()
        if self.ranks.first:
            for path in checkpoints:
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
    """The number of images at which to report next: a hundred times every `report_kimg`, then less and less often."""
    base = report_kimg * 1000
    interval = base * 2 ** max(0, math.floor(math.log2(max(images, 1) / (100 * base))) + 1)
    return float((math.floor(images / interval) + 1) * interval)


@contextmanager
def _stop_signal() -> Iterator[list[StopReason]]:
    """A list that receives the first signal to stop. A second signal acts as if ganfold had not caught the first."""
    received: list[StopReason] = []
    earlier: dict[signal.Signals, Any] = {}

    def note(number: int, _: Any) -> None:
        received.append(StopReason.INTERRUPT if number == signal.SIGINT else StopReason(signal.Signals(number).name))
        signal.signal(number, earlier[signal.Signals(number)])

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            earlier[number] = signal.signal(number, note)
        if HANGUP and signal.getsignal(HANGUP) != signal.SIG_IGN:  # nohup ignores it
            earlier[HANGUP] = signal.signal(HANGUP, note)
    except ValueError:  # not the main thread: its starter must stop it
        pass
    try:
        yield received
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
