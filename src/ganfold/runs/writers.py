"""Many samples as files. PNGs are encoded beside the network, and what is whole stays when a command is killed.

Samples are made in blocks. A block leaves a part in a hidden folder beside `out` when its files are on the disk. When
all parts are there, they become `out`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL
import torch
from PIL import PngImagePlugin

from ganfold.errors import GanfoldError
from ganfold.files import LOCK, locked, read_json, sync_files, unwritable, write_atomically, write_bytes, write_json
from ganfold.images.files import class_folders, from_row
from ganfold.interface.result import version
from ganfold.runs.run import Run
from ganfold.runs.team import Team

BLOCK = 256  # images: at most so many are made again after a kill, and one process makes them
STRIDE = 64  # images in memory as pixels; twice as many with those that are being encoded
REQUESTED = "requested.json"  # in the hidden folder: what is made there
CONTENT, PARTS = "content", "parts"  # its folders


@dataclass(frozen=True)
class Job:
    """Which samples of a run are written."""

    run: Run
    count: int
    seed: int
    start: int
    label: str | None  # the class of all of them
    requested: dict[str, Any]  # options of `Run.sample` by name, where they are requested
    note: dict[str, str]  # what each PNG says of itself
    z: np.ndarray | None = None  # (count, *latent) the latents of all of them [those of the seed]

    def pixels(self, begin: int, count: int) -> np.ndarray:
        """Samples from number `begin` on: uint8 (count, H, W, C)."""
        z = None if self.z is None else self.z[begin - self.start :][:count]
        return self.run.sample(count, self.seed, begin, self.label, z=z, **self.requested)

    def labels(self, begin: int, count: int) -> np.ndarray | None:
        """The numbers of their classes, int64 (count,); None where the generator takes no labels."""
        if self.label is not None and self.label in self.run.classes:
            return np.full(count, self.run.classes.index(self.label))
        return self.run.labels(count, self.seed, begin, self.requested.get("shares", ()))

    def blocks(self) -> list[tuple[int, int]]:
        """Where each block begins, and how many samples it has. Blocks are aligned at 0, as chunks are."""
        return list(_cut(self.start, self.start + self.count, BLOCK))

    @cached_property
    def folders(self) -> list[str]:
        """A folder for each class; none where all samples are of one class or have none."""
        return class_folders(self.run.classes) if self.label is None else []

    def identity(self, kind: str) -> dict[str, Any]:
        """All that decides the bytes of the files. What a killed command has left is used where this is equal."""
        digest = hashlib.sha256(json.dumps(self.run.forms.table, sort_keys=True).encode())
        for name, tensor in sorted(self.run.gan.state_dict().items()):
            digest.update(name.encode() + tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return {
            "kind": kind,
            "generator": digest.hexdigest(),
            "data": self.run.record.data.fingerprint,
            "start": self.start,
            "count": self.count,
            "label": self.label,
            "note": self.note,
            "block": BLOCK,
            "versions": [version(), torch.__version__, PIL.__version__],
        }


class Sample(NamedTuple):
    """One sample, encoded."""

    number: int
    label: int | None
    png: bytes


class Folder:
    """A PNG for each sample. The part of a block is an empty file."""

    def write(self, job: Job, partial: Path, begin: int, count: int, advance: Callable[[int], object]) -> None:
        content, written = partial / CONTENT, []
        for sample in encoded(job, begin, count, advance):
            path = content / self._name(job, sample.number, sample.label)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(sample.png)
            written.append(path)
        sync_files(written)
        write_bytes(_part(partial, begin), b"")

    def is_whole(self, job: Job, partial: Path, begin: int, count: int) -> bool:
        """Whether a block is there. A command that was killed at its end may have moved some files."""
        labels = job.labels(begin, count) if job.folders else None
        names = (self._name(job, begin + i, None if labels is None else int(labels[i])) for i in range(count))
        return all((partial / CONTENT / name).exists() for name in names)

    def join(self, job: Job, partial: Path, out: Path) -> None:
        """Move the files into `out`: all at once, unless it holds something."""
        with suppress(OSError):
            out.rmdir()  # of an empty folder alone
        content = partial / CONTENT
        if not out.exists():
            content.rename(out)
            return
        for path in content.rglob("*.png"):
            target = out / path.relative_to(content)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)

    @staticmethod
    def _name(job: Job, number: int, label: int | None) -> str:
        name = f"{number:06d}.png"
        return f"{job.folders[label]}/{name}" if job.folders and label is not None else name


class OneFile:
    """All samples in one file, which is made of the parts of all blocks."""

    def write(self, job: Job, partial: Path, begin: int, count: int, advance: Callable[[int], object]) -> None:
        write_atomically(_part(partial, begin), lambda path: self.write_part(job, path, begin, count, advance))

    def is_whole(self, job: Job, partial: Path, begin: int, count: int) -> bool:
        return True  # it is renamed when it is whole

    def join(self, job: Job, partial: Path, out: Path) -> None:
        parts = [_part(partial, begin) for begin, _ in job.blocks()]
        write_atomically(out, lambda path: self.join_parts(job, parts, path))

    def write_part(self, job: Job, path: Path, begin: int, count: int, advance: Callable[[int], object]) -> None:
        raise NotImplementedError

    def join_parts(self, job: Job, parts: list[Path], path: Path) -> None:
        raise NotImplementedError


class Npz(OneFile):
    """NumPy arrays: images, uint8 (N, H, W, C); and labels, int64 (N,), with classes, where there are any."""

    def write_part(self, job: Job, path: Path, begin: int, count: int, advance: Callable[[int], object]) -> None:
        with open(path, "wb") as file:
            for first, some in _cut(begin, begin + count, STRIDE):
                file.write(np.ascontiguousarray(job.pixels(first, some)).data)
                advance(some)

    def join_parts(self, job: Job, parts: list[Path], path: Path) -> None:
        shape, labels = job.run.gan.shape, job.labels(job.start, job.count)
        header = {"descr": "|u1", "fortran_order": False}
        header["shape"] = (job.count, shape.resolution, shape.resolution, shape.channels)
        arrays = {} if labels is None else {"labels": labels, "classes": np.array(job.run.classes)}
        with zipfile.ZipFile(path, "w") as file:
            with file.open(zipfile.ZipInfo("images.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array_header_1_0(member, header)
                for part in parts:
                    with open(part, "rb") as made:
                        shutil.copyfileobj(made, member, 2**20)
            for name, values in arrays.items():
                with file.open(zipfile.ZipInfo(f"{name}.npy"), "w") as member:
                    np.lib.format.write_array(member, values, allow_pickle=False)


class Tar(OneFile):
    """Webdataset: a .png and a .json for each sample, and a .cls where there are classes."""

    def write_part(self, job: Job, path: Path, begin: int, count: int, advance: Callable[[int], object]) -> None:
        with open(path, "wb") as file:
            for sample in encoded(job, begin, count, advance):
                told: dict[str, Any] = {**job.note, "number": sample.number}
                members = {"png": sample.png}
                if sample.label is not None:
                    members["cls"] = str(sample.label).encode()
                    told["class"] = job.run.classes[sample.label]
                members["json"] = json.dumps(told).encode()
                for suffix, content in members.items():
                    info = tarfile.TarInfo(f"{sample.number:06d}.{suffix}")
                    info.size = len(content)
                    file.write(info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE))

    def join_parts(self, job: Job, parts: list[Path], path: Path) -> None:
        with open(path, "wb") as file:
            for part in parts:
                with open(part, "rb") as made:
                    shutil.copyfileobj(made, file, 2**20)
            file.write(bytes(2 * tarfile.BLOCKSIZE))
            file.write(bytes(-file.tell() % tarfile.RECORDSIZE))


class Parquet(OneFile):
    """Rows of image (bytes, path), number, and label where there are classes, as Hugging Face datasets reads them."""

    def write_part(self, job: Job, path: Path, begin: int, count: int, advance: Callable[[int], object]) -> None:
        import pyarrow
        import pyarrow.parquet

        rows = [
            {"image": {"bytes": png, "path": f"{number:06d}.png"}, "number": number, "label": label}
            for number, label, png in encoded(job, begin, count, advance)
        ]
        table = pyarrow.Table.from_pylist(rows, schema=_schema(job))
        pyarrow.parquet.write_table(table, path, compression="NONE")

    def join_parts(self, job: Job, parts: list[Path], path: Path) -> None:
        import pyarrow.parquet

        with pyarrow.parquet.ParquetWriter(path, _schema(job), compression="NONE") as writer:
            for part in parts:
                writer.write_table(pyarrow.parquet.read_table(part))


FILES: dict[str, type[OneFile]] = {".npz": Npz, ".tar": Tar, ".parquet": Parquet}  # by the suffix of `out`


def check_suffix(suffix: str) -> None:
    """See that the packages that a kind of file needs are there.

    Raises:
        GanfoldError: one is not installed.
    """
    if suffix == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise GanfoldError("a .parquet file needs one more package: pip install 'ganfold[hub]'") from error


def write_samples(job: Job, out: Path, team: Team, progress: bool) -> None:
    """Write samples into a folder, or into one file whose kind its suffix names.

    Args:
        job: which samples.
        out: the folder, or a file that ends with .npz, .tar or .parquet.
        team: the processes that share the work.
        progress: show a bar on a terminal.

    Raises:
        GanfoldError: another process writes there, or the disk is full.
    """
    kind = Folder() if out.is_dir() else FILES.get(out.suffix.lower(), Folder)()
    place, partial = out.resolve(), _partial(out)
    with _one_sentence(out), locked(partial, "sampling") if team.first else nullcontext():
        try:
            waiting = team.once(lambda: _begun(job, kind, partial))
            mine = waiting[team.rank :: team.world]

            def work() -> None:
                with _one_sentence(out), _bar(sum(count for _, count in mine), progress and team.first) as advance:
                    for begin, count in mine:
                        kind.write(job, partial, begin, count, advance)

            team.each(work)
            team.once(lambda: kind.join(job, partial, place))
        except Exception:
            _clear(partial, team)
            raise
        _clear(partial, team)
    if team.first:
        with suppress(OSError):  # it is there if a command was killed before
            partial.rmdir()


def discard_partial(out: Path) -> None:
    """Remove what a command left that was killed when its files were in their place."""
    partial = _partial(out)
    if partial.exists():
        with suppress(GanfoldError, OSError), locked(partial, "sampling"):  # unless it is being filled
            _empty(partial)
        with suppress(OSError):
            partial.rmdir()


def encoded(job: Job, begin: int, count: int, advance: Callable[[int], object]) -> Iterator[Sample]:
    """Samples in order as PNGs. While the network makes some, threads encode those before."""
    waiting: deque[list[Future[Sample]]] = deque()
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for first, some in _cut(begin, begin + count, STRIDE):
            images, labels = job.pixels(first, some), job.labels(first, some)
            waiting.append(
                [
                    pool.submit(_encode, job, first + i, None if labels is None else int(labels[i]), image)
                    for i, image in enumerate(images)
                ]
            )
            if len(waiting) > 1:
                yield from _ended(waiting.popleft(), advance)
        yield from _ended(waiting.popleft(), advance)


def _ended(some: list[Future[Sample]], advance: Callable[[int], object]) -> Iterator[Sample]:
    for future in some:
        yield future.result()
        advance(1)


def _encode(job: Job, number: int, label: int | None, image: np.ndarray) -> Sample:
    info = PngImagePlugin.PngInfo()
    for key, value in {**job.note, "number": str(number)}.items():
        info.add_text(key, value)
    file = io.BytesIO()
    from_row(image).save(file, "PNG", pnginfo=info, compress_type=zlib.Z_RLE)  # 1 % larger, up to 3 times faster
    return Sample(number, label, file.getvalue())


def _cut(start: int, end: int, step: int) -> Iterator[tuple[int, int]]:
    """A range in pieces aligned at 0: where each begins, and how long it is."""
    for begin in range(start // step * step, end, step):
        first = max(start, begin)
        yield first, min(end, begin + step) - first


def _begun(job: Job, kind: Folder | OneFile, partial: Path) -> list[tuple[int, int]]:
    """Prepare the hidden folder, and give the blocks that are not there."""
    with _one_sentence(partial):
        identity = json.loads(json.dumps(job.identity(type(kind).__name__)))
        if _left_by(partial) != identity:
            _empty(partial)
            write_json(partial / REQUESTED, identity)
        for name in (CONTENT, PARTS):
            (partial / name).mkdir(exist_ok=True)
        return [
            (begin, count)
            for begin, count in job.blocks()
            if not (_part(partial, begin).exists() and kind.is_whole(job, partial, begin, count))
        ]


def _left_by(partial: Path) -> Any:
    try:
        return read_json(partial / REQUESTED)
    except GanfoldError:  # nothing is there, or nothing that can be used
        return None


def _part(partial: Path, begin: int) -> Path:
    return partial / PARTS / f"{begin:012d}"


def _partial(out: Path) -> Path:
    """The folder in which `out` is made."""
    place = out.resolve()
    return place.parent / f".{place.name}.partial"


def _clear(partial: Path, team: Team) -> None:
    if team.first:
        _empty(partial)


def _empty(folder: Path) -> None:
    """Remove all but the lock, first what says that something is there."""
    for name in (REQUESTED, PARTS, *(os.listdir(folder) if folder.exists() else ())):
        path = folder / name
        if name == LOCK:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def _one_sentence(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unwritable(out, error) from error


@contextmanager
def _bar(count: int, shown: bool) -> Iterator[Callable[[int], object]]:
    """A progress bar on stderr, if that is a terminal; yields a function that advances it."""
    if not shown or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Images", total=count)
        yield lambda more: bar.advance(task, more)


def _schema(job: Job) -> Any:
    """The columns, with what Hugging Face datasets must know of them."""
    import pyarrow

    image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    columns: Iterable[tuple[str, Any]] = [("image", image), ("number", pyarrow.int64())]
    features: dict[str, Any] = {"image": {"_type": "Image"}, "number": {"dtype": "int64", "_type": "Value"}}
    if job.run.classes:
        columns = [*columns, ("label", pyarrow.int64())]
        features["label"] = {"names": list(job.run.classes), "_type": "ClassLabel"}
    return pyarrow.schema(columns, {"huggingface": json.dumps({"info": {"features": features}})})
