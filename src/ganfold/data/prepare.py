"""From a source to one uint8 array on disk: looked at, decoded, freed of duplicates, split and stored."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ganfold.data import work
from ganfold.data.cache import Prepared, building, clear, find_entry, held, native_of, store
from ganfold.data.pruning import limit_of, prune_aloud
from ganfold.data.sources.decode import Fit, TargetShape, Traits
from ganfold.data.sources.findings import CLASSES, FEW, Finding, Findings, counted, shown
from ganfold.data.sources.source import Listing, Source, key_of
from ganfold.data.sources.strings import write_strings
from ganfold.errors import GanfoldError
from ganfold.files import unwritable, write_json

FORMAT = 2  # raise it when the same source would be prepared differently: old entries are then not found
PORTION = 256  # images sent to a worker at once; fewer if their pixels take more than `BYTES`
BYTES = 2**24
HEADER = 128  # bytes before the pixels in images.npy
LARGEST = 1024  # px: the highest resolution
DARK = 64  # an image without a brighter value, of 255, is called nearly black


@dataclass(frozen=True)
class LoadOptions:
    """How a source is to be prepared; see `ganfold.data.load`."""

    resolution: int | Callable[[int], int] | None
    channels: int | None
    fit: Fit
    held_out: float | None
    keep_duplicates: bool = False


def prepare(
    source: Source,
    name: str,
    options: LoadOptions,
    cache: Path,
    *,
    progress: bool = False,
    workers: int | None = None,
) -> Prepared:
    """Find the cache entry of a source, or make it.

    Args:
        source: what to prepare.
        name: what the user calls it.
        options: how to prepare it.
        cache: the folder of the cache.
        progress: show a bar, if stderr is a terminal.
        workers: child processes; 0: none; None: it depends on the work.

    Raises:
        GanfoldError: no image is usable, the resolution is out of range, or the cache cannot be written.
    """
    clear(cache)
    native = native_of(cache, source.key)
    if native and (entry := find_entry(cache, _key(source, options, native))):
        return entry
    limit = limit_of(cache)
    try:
        for part in ("index", "content", "native", "building"):
            (cache / part).mkdir(parents=True, exist_ok=True)
        with building(cache) as folder:
            (folder / "scratch").mkdir()
            listing = source.list(folder / "scratch")
            findings = Findings(source=name, found=len(listing.names), notes=listing.notes)
            if workers is None:
                workers = _workers(len(listing.names), listing.size)
            made = _Preparation(source, options, cache, folder, listing, findings, workers, progress).run()
    except OSError as error:
        if isinstance(error.filename, str | os.PathLike) and not Path(error.filename).is_relative_to(cache):
            raise GanfoldError(f"cannot read {error.filename}: {error.strerror}") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise GanfoldError(
                f"cannot write the cache {cache}: set GANFOLD_CACHE to a folder that can be written"
            ) from error
        raise unwritable(cache, error) from error
    if not made:  # another process is clearing the cache
        raise GanfoldError(f"the cache entry in {cache} vanished while it was made: give the same command again")
    prune_aloud(cache, limit)
    return made


@dataclass(frozen=True)
class _Pass:
    """What one pass over M images has shown."""

    traits: np.ndarray  # uint16 (M,)
    sizes: np.ndarray  # uint32 (M, 2), width and height, after a look
    digests: np.ndarray  # uint64 (M, 2), of the pixels, after decoding


@dataclass(frozen=True)
class _Values:
    """What the pixels of the N used images are like."""

    brightest: np.ndarray  # uint8 (N,): the highest value of an image, alpha left out
    is_flat: np.ndarray  # bool (N,): all its pixels are equal
    is_grey: bool  # there are several channels, and no pixel of any image has a colour


@dataclass
class _Preparation:
    """One preparation, from the listing to the cache entry."""

    source: Source
    options: LoadOptions
    cache: Path
    folder: Path  # to build in
    listing: Listing
    findings: Findings
    workers: int
    progress: bool

    def run(self) -> Prepared | None:
        """Prepare the source; returns its entry, or None if another program has removed it."""
        faults: dict[int, str] = {}
        # Headers first: the sizes and modes of all images decide the one shape that all get.
        indices, headers = self._look(faults)
        shape = self._choose_shape(headers)
        # Then the pixels, straight to their place in the file.
        images = self.folder / "images.npy"
        self._reserve(images, len(indices), shape)
        decoded = self._pass("Decoding", indices, shape, faults)
        good = np.array([i not in faults for i in indices.tolist()], bool) if faults else np.ones(len(indices), bool)
        none = np.full(len(indices), -1, np.int64)
        original = none if self.options.keep_duplicates else _originals(decoded.digests, good)
        kept = good & (original < 0)
        self._refuse_nothing(kept, faults)
        self._report_skipped(indices, faults, original)
        self._report_changes(headers.traits[kept] | decoded.traits[kept], indices[kept], headers.sizes[kept], shape)
        _compact(images, kept, shape)
        labels, classes = _labels(self.listing, indices[kept])
        self._report_classes(labels, classes, indices, original)
        return self._store(images, indices[kept], decoded.digests[kept], labels, classes, shape)

    def _look(self, faults: dict[int, str]) -> tuple[np.ndarray, _Pass]:
        """The images that have a label, if there are labels, and a good header; and what these headers say."""
        labels = self.listing.labels
        usable = np.ones(len(self.listing.names), bool) if labels is None else labels >= 0
        indices = np.flatnonzero(usable)
        headers = self._pass("Looking", indices, None, faults)
        usable[list(faults)] = False
        self._refuse_nothing(usable, faults)
        good = usable[indices]
        return indices[good], replace(headers, traits=headers.traits[good], sizes=headers.sizes[good])

    def _pass(self, title: str, indices: np.ndarray, shape: TargetShape | None, faults: dict[int, str]) -> _Pass:
        """Look at, or with a `shape` decode, the images with these numbers. Adds what is wrong to `faults`."""
        count = len(indices)
        done = _Pass(np.zeros(count, np.uint16), np.zeros((count, 2), np.uint32), np.zeros((count, 2), np.uint64))
        at_once = min(PORTION, 1 + count // (8 * self.workers + 1))  # few large photos are shared by all workers
        target = self.folder / "images.npy" if shape else None
        if shape:
            at_once = max(1, min(at_once, BYTES // (shape.channels * shape.resolution**2)))
        portions = (
            work.Portion(self.listing.reader, slot, indices[slot : slot + at_once], shape, target, HEADER)
            for slot in range(0, count, at_once)
        )
        with _bar(title, count, self.progress) as advance:
            for outcome in work.process_all(portions, self.workers):
                part = slice(outcome.slot, outcome.slot + len(outcome.traits))
                done.traits[part], done.sizes[part] = outcome.traits, outcome.sizes
                done.digests[part] = outcome.digests
                faults.update({int(indices[outcome.slot + i]): why for i, why in outcome.faults.items()})
                advance(len(outcome.traits))
        return done

    def _refuse_nothing(self, usable: np.ndarray, faults: dict[int, str]) -> None:
        """Raise a GanfoldError with some reasons if no image is usable."""
        if usable.any():
            return
        if not self.listing.names and not self.listing.skipped:
            raise GanfoldError(f"{self.findings.source} holds no images")
        named = [f"{f.file}: {f.why}" for f in self.listing.skipped[:3]]
        named += [f"{shown(self.listing.names[i])}: {why}" for i, why in sorted(faults.items())[:3]]
        count = len(self.listing.skipped) + len(faults)
        more = f", and {count - 3:,} more" if count > 3 else ""
        raise GanfoldError(f"{self.findings.source} holds no usable image ({'; '.join(named[:3])}{more})")

    def _choose_shape(self, headers: _Pass) -> TargetShape:
        """Resolution and channels. The findings say why."""
        options, findings = self.options, self.findings
        shorter = headers.sizes.min(1)
        median = int(np.sort(shorter)[len(shorter) // 2])
        findings.native = {"min": int(shorter.min()), "median": median, "max": int(shorter.max())}
        write_json(self.cache / "native" / f"{self.source.key}.json", median)
        resolution, why = _resolution(options.resolution, median)
        if options.channels:
            channels, reason = options.channels, "as requested"
        elif (headers.traits & Traits.GREY).all():
            channels, reason = 1, "all images are grey"
        else:
            channels, reason = 3, "there are colours"
        findings.resolution, findings.channels = resolution, channels
        findings.choice = f"{resolution} px: {why}; {channels} channel{'s' * (channels > 1)}: {reason}"
        return TargetShape(resolution, channels, options.fit)

    def _reserve(self, images: Path, count: int, shape: TargetShape) -> None:
        """Begin images.npy.

        Raises:
            GanfoldError: the disk cannot hold it.
        """
        need, free = count * shape.channels * shape.resolution**2, shutil.disk_usage(self.folder).free
        if need > free:
            raise GanfoldError(
                f"no space left for the cache {self.cache}: {need / 1e9:,.1f} GB needed, {free / 1e9:,.1f} free; "
                "free some (`ganfold cache` lists what can go), or set GANFOLD_CACHE to a folder on another disk"
            )
        with open(images, "wb") as file:
            file.write(_header(count, shape))

    def _report_skipped(self, indices: np.ndarray, faults: dict[int, str], original: np.ndarray) -> None:
        """Name the files that are not used."""
        skipped, names = self.findings.skipped, self.listing.names
        skipped += self.listing.skipped
        skipped += [Finding(shown(names[i]), why) for i, why in sorted(faults.items())]
        for i in np.flatnonzero(original >= 0).tolist():
            first = shown(names[indices[original[i]]])
            skipped.append(Finding(shown(names[indices[i]]), f"duplicate: the same pixels as {first}"))

    def _report_changes(self, traits: np.ndarray, indices: np.ndarray, sizes: np.ndarray, shape: TargetShape) -> None:
        """Say what was done to the used images."""
        findings, names = self.findings, self.listing.names
        side = sizes.max(1) if shape.fit == "pad" else sizes.min(1)
        changes = {
            f"smaller than {shape.resolution} px and enlarged, so they are blurred": side < shape.resolution,
            "turned upright by their EXIF orientation": traits & Traits.TURNED,
            "of 16 or more bits a value brought to 8": traits & Traits.DEEP,
            "converted from CMYK": traits & Traits.CMYK,
        }
        if shape.channels != 4:
            changes["with transparency laid on white (4 channels keep it)"] = traits & Traits.TRANSPARENT
        if shape.channels == 1:
            changes["in colour made grey"] = (traits & Traits.GREY) == 0
        if shape.fit != "stretch":
            how = "cropped to the middle square" if shape.fit == "crop" else "padded to a square"
            changes[f"not square, {how}"] = sizes[:, 0] != sizes[:, 1]
        generated = np.flatnonzero(traits & Traits.GENERATED)
        findings.generated = len(generated)
        if len(generated):
            said = f"{counted(len(generated))} {'was' if len(generated) == 1 else 'were'} made by ganfold"
            such = shown(names[indices[generated[0]]])
            findings.warnings.append(f"{said} (such as {such}): take them out, unless generated images are meant")
        findings.converted = {what: n for what, where in changes.items() if (n := int(np.count_nonzero(where)))}
        for trait, why in (
            (Traits.FRAMES, "animation: its first frame is used"),
            (Traits.PAGES, "several pages: the first is used"),
            (Traits.STRETCHED, "values out of any usual range: its darkest is made black, its brightest white"),
        ):
            findings.repaired += [Finding(shown(names[i]), why) for i in indices[(traits & trait) > 0].tolist()]

    def _report_values(self, values: _Values, used: np.ndarray) -> None:
        """Say where the pixels show little or nothing: flat colours, colours that are all grey, near black."""
        self._report_dark(values.brightest, used)
        flat = np.flatnonzero(values.is_flat & (values.brightest > DARK))  # the others have had their note
        if values.is_flat.all():
            self.findings.warnings.insert(
                0, "each image is of one flat colour, so there is nothing to learn: look at how they were saved"
            )
        elif len(flat):
            verb = "is" if len(flat) == 1 else "are"
            first = shown(self.listing.names[used[flat[0]]])
            self.findings.notes.append(f"{counted(len(flat))} {verb} of one flat colour (such as {first}).")
        if values.is_grey and not self.options.channels:
            self.findings.notes.append(
                "The files have colours, but all their pixels are grey: --channels 1 makes training faster."
            )

    def _report_dark(self, brightest: np.ndarray, used: np.ndarray) -> None:
        """Warn of images that are nearly black, such as masks of 0 and 1 and scans of 12 bits in 16."""
        dark = np.flatnonzero(brightest <= DARK)
        if not len(dark):
            return
        first = shown(self.listing.names[used[dark[0]]])
        highest = brightest[dark].max()
        verb = "is" if len(dark) == 1 else "are"
        said = f"{counted(len(dark))} {verb} nearly black: the brightest value is {highest} of 255 (such as {first})"
        if 2 * len(dark) <= len(brightest):
            self.findings.notes.append(f"{said}.")
        else:
            remedy = "if these are masks of 0 and 1, or scans of 10 to 14 bits, multiply their values up to 255"
            self.findings.warnings.insert(0, f"{said}; {remedy}")

    def _report_classes(
        self, labels: np.ndarray | None, classes: tuple[str, ...], indices: np.ndarray, original: np.ndarray
    ) -> None:
        """Count the classes, and warn of lost ones and of duplicates in two classes."""
        listing, findings = self.listing, self.findings
        if labels is None or listing.labels is None:
            return
        findings.classes = dict(zip(classes, np.bincount(labels, minlength=len(classes)).tolist(), strict=True))
        if lost := {shown(name) for name in listing.classes} - set(classes):
            findings.warnings.append(f"no image of the class {', '.join(sorted(lost))} is usable")
        folded = Counter(name.casefold() for name in classes)
        if alike := [name for name in classes if folded[name.casefold()] > 1]:
            findings.warnings.append(f"classes differ only in large and small letters: {', '.join(alike[:CLASSES])}")
        again = np.flatnonzero(original >= 0)
        clash = listing.labels[indices[again]] != listing.labels[indices[original[again]]]
        if clash.any():
            at = again[clash][0]
            pair = f"{shown(listing.names[indices[at]])} and {shown(listing.names[indices[original[at]]])}"
            findings.warnings.append(f"{counted(int(clash.sum()), 'duplicate')} in different classes, such as {pair}")

    def _store(
        self,
        images: Path,
        used: np.ndarray,
        digests: np.ndarray,
        labels: np.ndarray | None,
        classes: tuple[str, ...],
        shape: TargetShape,
    ) -> Prepared | None:
        """Write all files of the entry, rename them into the cache, and open it."""
        listing, findings = self.listing, self.findings
        groups = None if listing.groups is None else listing.groups[used]
        held_out = _held_out(digests, labels, self.options.held_out, groups)
        findings.used, findings.held_out = len(used), len(held_out)
        findings.warn()
        content, index = self.folder / "content", self.folder / "index"
        content.mkdir()
        index.mkdir()
        os.replace(images, content / "images.npy")
        if labels is not None:
            np.save(content / "labels.npy", labels)
        np.save(content / "held_out.npy", held_out)
        fingerprint, values = _fingerprint(content, classes, shape)
        self._report_values(values, used)
        write_strings(index / "names", (shown(listing.names[i]) for i in used.tolist()))
        if listing.rows:
            write_strings(index / "rows", _row_texts(*listing.rows, used))
        entry = {
            "fingerprint": fingerprint,
            "images": [len(used), shape.channels, shape.resolution, shape.resolution],
            "classes": list(classes),
            "findings": findings.to_dict(),
        }
        (index / "entry.json").write_text(json.dumps(entry), encoding="utf-8")
        key = _key(self.source, self.options, findings.native["median"])
        with held(self.cache, "shared"):  # no other process prunes it before it is in use here
            store(self.cache, key, content, index)
            return find_entry(self.cache, key)


def _workers(count: int, size: int) -> int:
    """One process for each core, if the work outweighs the half second that they take to start; 0 if not."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if cores > 1 and (count > 20_000 or size > 2**26) else 0


def _resolution(requested: int | Callable[[int], int] | None, native: int) -> tuple[int, str]:
    """The resolution, and why it is this one."""
    if requested is None:
        if native > LARGEST:
            return LARGEST, f"the median shorter side is {native:,}, and {LARGEST:,} is the most"
        return native, f"the median shorter side is {native}"
    if not callable(requested):
        return requested, f"as requested; the median shorter side is {native:,}"
    resolution = requested(native)
    check_resolution(resolution)
    makes = "makes it" if resolution == native else f"makes {resolution}"
    return resolution, f"the median shorter side is {native:,} and the network {makes}"


def check_resolution(resolution: int) -> None:
    """Raise GanfoldError if the resolution is out of range."""
    if not 8 <= resolution <= LARGEST:
        raise GanfoldError(f"resolution {resolution} is out of range: 8 to {LARGEST:,} px")


def _originals(digests: np.ndarray, good: np.ndarray) -> np.ndarray:
    """int64 (N,): for each duplicate the place of the first image with its digest, and -1 for all other images."""
    original = np.full(len(digests), -1, np.int64)
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # a stable sort: equal digests keep their order
    order = order[good[order]]
    new = np.ones(len(order), bool)
    new[1:] = (digests[order[1:]] != digests[order[:-1]]).any(1)
    first = order[np.flatnonzero(new)][np.cumsum(new) - 1] if len(order) else order
    original[order] = np.where(first == order, -1, first)
    return original


def _labels(listing: Listing, used: np.ndarray) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Labels of the used images, int64 (N,), and the classes that are left; no labels if there is only one class."""
    if listing.labels is None or not listing.classes:
        return None, ()
    left, labels = np.unique(listing.labels[used], return_inverse=True)
    if len(left) < 2:
        return None, ()
    names = [shown(listing.classes[i]) for i in left.tolist()]
    classes = tuple(dict.fromkeys(names))  # two names may look the same where their letters cannot be shown
    return np.array([classes.index(name) for name in names], np.int64)[labels], classes


def _held_out(
    digests: np.ndarray, labels: np.ndarray | None, fraction: float | None, groups: np.ndarray | None = None
) -> np.ndarray:
    """The images to hold out, int64, ascending: those with the smallest digests of their pixels.

    The choice follows from the content alone, not from names or order. Of each class the image with the largest digest
    stays in training: no class leaves training altogether. The images of a group go together, and the group's digest
    is that of all its images; by default at least two groups are held out, if there are four.
    """
    count = len(digests)
    default = 0 if count < FEW else min(round(0.1 * count), 5000)
    number = default if fraction is None else round(fraction * count)
    _, first, group, sizes = np.unique(
        np.arange(count) if groups is None else groups, return_index=True, return_inverse=True, return_counts=True
    )
    joined = np.zeros((len(sizes), 2), np.uint64)
    np.bitwise_xor.at(joined, group, digests)
    order = np.lexsort((joined[:, 1], joined[:, 0]))
    classes = np.zeros(len(sizes), np.int64) if labels is None else labels[first]
    _, last = np.unique(classes[order][::-1], return_index=True)
    free = np.ones(len(sizes), bool)
    free[len(sizes) - 1 - last] = False
    chosen = order[free]
    before = np.cumsum(sizes[chosen]) - sizes[chosen]
    enough = before >= number
    if groups is not None and default and fraction is None and len(sizes) >= 4:
        enough[:2] = False
    return np.flatnonzero(np.isin(group, chosen[~enough]))


def _row_texts(path: Path, places: np.ndarray, used: np.ndarray) -> Iterator[str]:
    """The metadata of the used images; see `Listing.rows`."""
    with open(path, "rb") as file:
        for start, length in places[used].tolist():
            file.seek(start)
            yield file.read(length).decode("utf-8", "surrogatepass") if length else "{}"


def _header(count: int, shape: TargetShape) -> bytes:
    """The .npy header of `count` images. It always has `HEADER` bytes, because the count is corrected later."""
    size = (count, shape.channels, shape.resolution, shape.resolution)
    text = repr({"descr": "|u1", "fortran_order": False, "shape": size}).encode()
    return b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little") + text.ljust(HEADER - 11) + b"\n"


def _compact(images: Path, kept: np.ndarray, shape: TargetShape) -> None:
    """Move the kept images up over the gaps, in place. Images only move up: none is overwritten before it is read."""
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


def _fingerprint(content: Path, classes: tuple[str, ...], shape: TargetShape) -> tuple[str, _Values]:
    """The digest of class names, pixels, labels and held-out rows; and what the pixels are like.

    Both come of one reading: it is the longest part of this.
    """
    digest = hashlib.blake2b(repr(classes).encode(), digest_size=16)
    pixels, colours = shape.resolution**2, min(shape.channels, 3)
    size = shape.channels * pixels
    brightest, is_flat, is_grey = [np.zeros(0, np.uint8)], [np.zeros(0, bool)], colours > 1
    with open(content / "images.npy", "rb") as file:
        digest.update(file.read(HEADER))
        while part := file.read(max(1, 2**20 // size) * size):
            digest.update(part)
            values = np.frombuffer(part, np.uint8).reshape(-1, shape.channels, pixels)
            highest = values.max(2)
            brightest.append(highest[:, :colours].max(1))
            is_flat.append((highest == values.min(2)).all(1))
            is_grey = is_grey and all(np.array_equal(values[:, 0], values[:, i]) for i in range(1, colours))
    for name in ("labels.npy", "held_out.npy"):
        if (content / name).exists():
            with open(content / name, "rb") as file:
                while part := file.read(2**20):
                    digest.update(part)
    return digest.hexdigest(), _Values(np.concatenate(brightest), np.concatenate(is_flat), is_grey)


def _key(source: Source, options: LoadOptions, native: int) -> str:
    """The key of an entry: all that decides its content."""
    resolution: Any = options.resolution
    if not isinstance(resolution, int):
        resolution = _resolution(resolution, native)
    values = (resolution, options.channels, options.fit, options.held_out, options.keep_duplicates)
    return key_of("entry", source.key, FORMAT, *values)


@contextmanager
def _bar(title: str, count: int, shown: bool) -> Iterator[Callable[[int], Any]]:
    """A progress bar on stderr, if that is a terminal; yields a function that advances it."""
    if not shown or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=count)
        yield lambda n: progress.advance(task, n)
