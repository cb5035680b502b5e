"""A source -> one uint8 array on disk: looked over, decoded, cleared of duplicates, split, stored."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ganfold.data import work
from ganfold.data.cache import Prepared, building, find_entry, native_of, store
from ganfold.data.sources.decode import Fit, Seen, Shape
from ganfold.data.sources.findings import FEW, Finding, Findings, counted, shown
from ganfold.data.sources.source import Listing, Source, key_of
from ganfold.data.sources.strings import write_strings
from ganfold.errors import GanfoldError
from ganfold.files import unwritable, write_json

FORMAT = 1  # raised whenever the same source would be prepared differently, so that old entries are not found
BLOCK = 256  # images handed to a worker at once; fewer if their pixels take more than `BYTES`
BYTES = 2**24
HEADER = 128  # bytes before the pixels in images.npy
LARGEST = 1024  # px


@dataclass(frozen=True)
class Wanted:
    """What the caller asked for."""

    resolution: int | Callable[[int], int] | None
    channels: int | None
    fit: Fit
    held_out: float | None
    keep_duplicates: bool = False


def prepare(
    source: Source,
    name: str,
    wanted: Wanted,
    cache: Path,
    *,
    progress: bool = False,
    workers: int | None = None,
) -> Prepared:
    """Find or make the cache entry. `workers`: child processes, 0 for none, None to let the work decide.

    Raises:
        GanfoldError: nothing is usable, the wish cannot be met, or the cache cannot be written.
    """
    native = native_of(cache, source.key)
    if native and (found := find_entry(cache, _key(source, wanted, native))):
        return found
    try:
        for part in ("index", "content", "native", "building"):
            (cache / part).mkdir(parents=True, exist_ok=True)
        with building(cache) as folder:
            (folder / "scratch").mkdir()
            listing = source.list(folder / "scratch")
            findings = Findings(source=name, found=len(listing.names), notes=listing.notes)
            if workers is None:
                workers = _workers(len(listing.names), listing.size)
            key = _Preparation(source, wanted, cache, folder, listing, findings, workers, progress).run()
    except OSError as error:
        if isinstance(error.filename, str | os.PathLike) and not Path(error.filename).is_relative_to(cache):
            raise GanfoldError(f"cannot read {error.filename}: {error.strerror}") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise GanfoldError(
                f"cannot write the cache {cache}: set GANFOLD_CACHE to a folder that can be written"
            ) from error
        raise unwritable(cache, error) from error
    made = find_entry(cache, key)
    if not made:  # another process is clearing the cache
        raise GanfoldError(f"the cache entry in {cache} vanished while it was made: give the same command again")
    return made


@dataclass
class _Preparation:
    """One preparation from listing to cache entry."""

    source: Source
    wanted: Wanted
    cache: Path
    folder: Path  # to build in
    listing: Listing
    findings: Findings
    workers: int
    progress: bool

    def run(self) -> str:
        listing, findings = self.listing, self.findings
        faults: dict[int, str] = {}
        usable = np.ones(len(listing.names), bool) if listing.labels is None else listing.labels >= 0
        # First the headers alone: sizes and modes decide about the one shape that all get.
        indices = np.flatnonzero(usable)
        seen, sizes, _ = self._pass("Looking", indices, None, faults)
        usable[list(faults)] = False
        self._refuse_nothing(usable, faults)
        looked = usable[indices]
        shape = self._shape(sizes[looked], seen[looked])
        # Then the pixels, straight into their place in the file.
        indices, met = indices[looked], seen[looked]
        sizes = sizes[looked]
        images = self.folder / "images.npy"
        self._reserve(images, len(indices), shape)
        seen, _, digests = self._pass("Decoding", indices, shape, faults)
        good = np.array([i not in faults for i in indices.tolist()], bool) if faults else np.ones(len(indices), bool)
        none = np.full(len(digests), -1, np.int64)
        original = none if self.wanted.keep_duplicates else _duplicates(digests, good)
        kept = good & (original < 0)
        self._refuse_nothing(kept, faults)
        names = listing.names
        findings.skipped += listing.skipped
        findings.skipped += [Finding(shown(names[i]), why) for i, why in sorted(faults.items())]
        findings.skipped += [
            Finding(
                shown(names[indices[i]]),
                f"duplicate: the same pixels as {shown(names[indices[original[i]]])}",
            )
            for i in np.flatnonzero(good & (original >= 0)).tolist()
        ]
        self._count(met[kept] | seen[kept], indices[kept], sizes[kept], shape)
        _compact(images, kept, shape)
        return self._finish(images, indices, kept, original, digests[kept], shape)

    def _pass(
        self, what: str, indices: np.ndarray, shape: Shape | None, faults: dict[int, str]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What was seen (M,), the sizes (M, 2) and digests (M, 2) of the pictures `indices` (M,)."""
        count = len(indices)
        seen, sizes = np.zeros(count, np.uint8), np.zeros((count, 2), np.uint32)
        digests = np.zeros((count, 2), np.uint64)
        at_once = min(BLOCK, 1 + count // (8 * self.workers + 1))  # all workers get some of few large photos
        target = self.folder / "images.npy" if shape else None
        if shape:
            at_once = max(1, min(at_once, BYTES // (shape.channels * shape.resolution**2)))
        blocks = (
            work.Block(self.listing.reader, slot, indices[slot : slot + at_once], shape, target, HEADER)
            for slot in range(0, count, at_once)
        )
        with _bar(what, count, self.progress) as advance:
            for done in work.run(blocks, self.workers):
                part = slice(done.slot, done.slot + len(done.seen))
                seen[part], sizes[part], digests[part] = done.seen, done.sizes, done.digests
                faults.update({int(indices[done.slot + i]): why for i, why in done.faults.items()})
                advance(len(done.seen))
        return seen, sizes, digests

    def _refuse_nothing(self, usable: np.ndarray, faults: dict[int, str]) -> None:
        if usable.any():
            return
        if not self.listing.names and not self.listing.skipped:
            raise GanfoldError(f"{self.findings.source} holds no images")
        named = [f"{f.file}: {f.why}" for f in self.listing.skipped[:3]]
        named += [f"{shown(self.listing.names[i])}: {why}" for i, why in sorted(faults.items())[:3]]
        count = len(self.listing.skipped) + len(faults)
        more = f", and {count - 3:,} more" if count > 3 else ""
        raise GanfoldError(f"{self.findings.source} holds no usable image ({'; '.join(named[:3])}{more})")

    def _shape(self, sizes: np.ndarray, seen: np.ndarray) -> Shape:
        """Resolution and channels, with the reason in the findings."""
        wanted, findings = self.wanted, self.findings
        shorter = sizes.min(1)
        median = int(np.sort(shorter)[len(shorter) // 2])
        findings.native = {"min": int(shorter.min()), "median": median, "max": int(shorter.max())}
        write_json(self.cache / "native" / f"{self.source.key}.json", median)
        resolution, why = _resolution(wanted.resolution, median)
        if wanted.channels:
            channels, reason = wanted.channels, "as asked"
        elif (seen & Seen.GREY).all():
            channels, reason = 1, "all images are grey"
        else:
            channels, reason = 3, "there are colours"
        findings.resolution, findings.channels = resolution, channels
        findings.choice = f"{resolution} px: {why}; {channels} channel{'s' * (channels > 1)}: {reason}"
        return Shape(resolution, channels, wanted.fit)

    def _reserve(self, images: Path, count: int, shape: Shape) -> None:
        """An images.npy of the final length, and the certainty that the disk can hold it."""
        need, free = count * shape.channels * shape.resolution**2, shutil.disk_usage(self.folder).free
        if need > free:
            raise GanfoldError(
                f"no space left for the cache {self.cache}: {need / 1e9:,.1f} GB needed, {free / 1e9:,.1f} free; "
                "free some, or set GANFOLD_CACHE to a folder on another disk"
            )
        with open(images, "wb") as file:
            file.write(_header(count, shape))

    def _count(self, seen: np.ndarray, indices: np.ndarray, sizes: np.ndarray, shape: Shape) -> None:
        """Say what was done to the used images."""
        findings, names = self.findings, self.listing.names
        side = sizes.max(1) if shape.fit == "pad" else sizes.min(1)
        said = {
            f"smaller than {shape.resolution} px and enlarged, so they are blurred": side < shape.resolution,
            "turned upright by their EXIF orientation": seen & Seen.TURNED,
            "of 16 or more bits a value brought to 8": seen & Seen.DEEP,
            "converted from CMYK": seen & Seen.CMYK,
        }
        if shape.channels != 4:
            said["with transparency laid on white (4 channels keep it)"] = seen & Seen.TRANSPARENT
        if shape.channels == 1:
            said["in colour made grey"] = (seen & Seen.GREY) == 0
        if shape.fit != "stretch":
            done = "cropped to the middle square" if shape.fit == "crop" else "padded to a square"
            said[f"not square, {done}"] = sizes[:, 0] != sizes[:, 1]
        findings.converted = {what: n for what, where in said.items() if (n := int(np.count_nonzero(where)))}
        for flag, why in (
            (Seen.FRAMES, "animation: its first frame is used"),
            (Seen.PAGES, "several pages: the first is used"),
            (Seen.STRETCHED, "values out of any usual range: its darkest is made black, its brightest white"),
        ):
            findings.repaired += [Finding(shown(names[i]), why) for i in indices[(seen & flag) > 0].tolist()]

    def _finish(
        self,
        images: Path,
        indices: np.ndarray,
        kept: np.ndarray,
        original: np.ndarray,
        digests: np.ndarray,
        shape: Shape,
    ) -> str:
        """Labels, held-out part, fingerprint, findings; then the renames that make it all visible."""
        listing, findings, used = self.listing, self.findings, indices[kept]
        labels, classes = _labels(listing, used)
        if labels is not None and listing.labels is not None:
            findings.classes = dict(zip(classes, np.bincount(labels, minlength=len(classes)).tolist(), strict=True))
            if lost := set(listing.classes) - set(classes):
                findings.warnings.append(f"no image of the class {', '.join(sorted(lost))} is usable")
            again = np.flatnonzero(original >= 0)
            clash = listing.labels[indices[again]] != listing.labels[indices[original[again]]]
            if clash.any():
                at = again[clash][0]
                pair = f"{shown(listing.names[indices[at]])} and {shown(listing.names[indices[original[at]]])}"
                findings.warnings.append(
                    f"{counted(int(clash.sum()), 'duplicate')} in different classes, such as {pair}"
                )
        held_out = _held_out(digests, labels, self.wanted.held_out)
        findings.used, findings.held_out = len(used), len(held_out)
        findings.warn()
        content, index = self.folder / "content", self.folder / "index"
        content.mkdir()
        index.mkdir()
        os.replace(images, content / "images.npy")
        if labels is not None:
            np.save(content / "labels.npy", labels)
        np.save(content / "held_out.npy", held_out)
        fingerprint = _fingerprint(content, classes)
        write_strings(index / "names", (shown(listing.names[i]) for i in used.tolist()))
        if listing.rows:
            write_strings(index / "rows", _row_texts(*listing.rows, used))
        entry = {
            "fingerprint": fingerprint,
            "images": [len(used), shape.channels, shape.resolution, shape.resolution],
            "classes": list(classes),
            "findings": findings.to_json(),
        }
        (index / "entry.json").write_text(json.dumps(entry), encoding="utf-8")
        key = _key(self.source, self.wanted, findings.native["median"])
        store(self.cache, key, content, index)
        return key


def _workers(count: int, size: int) -> int:
    """As many processes as cores, if the work outweighs the half second that they take to start."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if cores > 1 and (count > 20_000 or size > 2**26) else 0


def _resolution(wanted: int | Callable[[int], int] | None, native: int) -> tuple[int, str]:
    if wanted is None:
        if native > LARGEST:
            return LARGEST, f"the median shorter side is {native:,}, and {LARGEST:,} is the most"
        return native, f"the median shorter side is {native}"
    if not callable(wanted):
        return wanted, f"as asked; the median shorter side is {native:,}"
    resolution = wanted(native)
    check_resolution(resolution)
    made = "makes it" if resolution == native else f"makes {resolution}"
    return resolution, f"the median shorter side is {native:,} and the network {made}"


def check_resolution(resolution: int) -> None:
    if not 8 <= resolution <= LARGEST:
        raise GanfoldError(f"resolution {resolution} is out of range: 8 to {LARGEST:,} px")


def _duplicates(digests: np.ndarray, good: np.ndarray) -> np.ndarray:
    """For each picture the position of the first with the same digest, -1 for that first itself."""
    original = np.full(len(digests), -1, np.int64)
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: within equals, first come first
    order = order[good[order]]
    new = np.ones(len(order), bool)
    new[1:] = (digests[order[1:]] != digests[order[:-1]]).any(1)
    first = order[np.flatnonzero(new)][np.cumsum(new) - 1] if len(order) else order
    original[order] = np.where(first == order, -1, first)
    return original


def _labels(listing: Listing, used: np.ndarray) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Labels of the used images, numbered over the classes that have any; one class is as good as none."""
    if listing.labels is None or not listing.classes:
        return None, ()
    there, labels = np.unique(listing.labels[used], return_inverse=True)
    if len(there) < 2:
        return None, ()
    return labels.astype(np.int64), tuple(listing.classes[i] for i in there.tolist())


def _held_out(digests: np.ndarray, labels: np.ndarray | None, fraction: float | None) -> np.ndarray:
    """The images with the smallest pixel digests: they follow from the content alone, not from names or order.

    Each class keeps its image with the largest digest, so that none leaves training altogether.
    """
    count = len(digests)
    usual = 0 if count < FEW else min(round(0.1 * count), 5000)
    many = usual if fraction is None else round(fraction * count)
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    groups = np.zeros(count, np.int64) if labels is None else labels
    _, last = np.unique(groups[order][::-1], return_index=True)
    free = np.ones(count, bool)
    free[count - 1 - last] = False
    return np.sort(order[free][:many])


def _row_texts(path: Path, places: np.ndarray, used: np.ndarray) -> Iterator[str]:
    with open(path, "rb") as file:
        for start, length in places[used].tolist():
            file.seek(start)
            yield file.read(length).decode("utf-8", "surrogatepass") if length else "{}"


def _header(count: int, shape: Shape) -> bytes:
    """The .npy header of `count` images, always `HEADER` bytes, so that the count may change later."""
    size = (count, shape.channels, shape.resolution, shape.resolution)
    text = repr({"descr": "|u1", "fortran_order": False, "shape": size}).encode()
    return b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little") + text.ljust(HEADER - 11) + b"\n"


def _compact(images: Path, kept: np.ndarray, shape: Shape) -> None:
    """Move the kept images up over the gaps, in place: a row never moves down, so none is overwritten unread."""
    with open(images, "r+b", buffering=0) as file:
        size = shape.channels * shape.resolution**2
        if not kept.all():
            rows = np.flatnonzero(kept)
            for place in range(int(np.argmin(kept)), len(rows)):
                file.seek(HEADER + int(rows[place]) * size)
                row = file.read(size)
                file.seek(HEADER + place * size)
                file.write(row)
        file.truncate(HEADER + int(np.count_nonzero(kept)) * size)
        file.seek(0)
        file.write(_header(int(np.count_nonzero(kept)), shape))


def _fingerprint(content: Path, classes: tuple[str, ...]) -> str:
    digest = hashlib.blake2b(repr(classes).encode(), digest_size=16)
    for name in ("images.npy", "labels.npy", "held_out.npy"):
        if (content / name).exists():
            with open(content / name, "rb") as file:
                while part := file.read(2**20):
                    digest.update(part)
    return digest.hexdigest()


def _key(source: Source, wanted: Wanted, native: int) -> str:
    asked = wanted.resolution if isinstance(wanted.resolution, int) else None
    resolution = asked or _resolution(wanted.resolution, native)
    asked_of = (resolution, wanted.channels, wanted.fit, wanted.held_out, wanted.keep_duplicates)
    return key_of("entry", source.key, FORMAT, *asked_of)


@contextmanager
def _bar(what: str, count: int, shown: bool) -> Iterator[Callable[[int], Any]]:
    """A progress bar on stderr, if a person is watching."""
    if not shown or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=count)
        yield lambda n: progress.advance(task, n)
