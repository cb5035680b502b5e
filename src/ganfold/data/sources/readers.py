"""How image `i` of a source is read. A reader is sent to other processes: it is small, and opens its files late."""

from __future__ import annotations

import io
import stat
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from ganfold.data.sources.decode import Raw, Unusable
from ganfold.data.sources.strings import Strings

LARGEST = 2**28  # bytes of one packed file: more is a decompression bomb, not an image


class Reader(Protocol):
    """Reads the images of a source by number. It must survive `pickle`."""

    def read(self, index: int) -> Raw:
        """Image `index`: the path of a file, an open file, or pixels uint8 (H, W) or (H, W, C).

        Raises:
            Unusable: the image cannot be read; says why.
        """


def content_below(folder: Path | None, name: str) -> bytes:
    """The content of a file that another file names, by a path below `folder` (None: there is no such folder).

    Raises:
        Unusable: it lies elsewhere, also by a link; it is no regular file, too large, or cannot be read.
    """
    shown = ascii(name[:120])
    relative = Path(name)
    if folder is None or relative.is_absolute() or ".." in relative.parts:
        raise Unusable(f"unreadable: it names {shown}, and only files below its own folder are read")
    try:
        path = (folder / relative).resolve(strict=True)
        if not path.is_relative_to(folder.resolve()):
            raise Unusable(f"unreadable: it names {shown}, a link out of its own folder")
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):  # opening a pipe waits for ever
            raise Unusable(f"unreadable: it names {shown}, which is not a regular file")
        if state.st_size > LARGEST:
            raise Unusable(f"unreadable: it names {shown}, a file of {state.st_size:,} bytes")
        with path.open("rb") as file:
            return file.read(LARGEST)
    except (OSError, ValueError, RuntimeError) as error:  # not there, a name with a zero, a loop of links
        reason = getattr(error, "strerror", None) or error
        raise Unusable(f"unreadable: it names {shown} ({reason})") from error


@dataclass(frozen=True)
class Files:
    """Files below `root`. Their names are in the `Strings` at `names`."""

    root: Path
    names: Path

    @cached_property
    def _names(self) -> Strings:
        return Strings(self.names)

    def read(self, index: int) -> Raw:
        return self.root / self._names[index]


@dataclass(frozen=True)
class Packed:
    """Entries of one file: a zip, or encoded images end to end. A table says where each entry lies.

    The table is int64 (N, 5): offset of the data or of the zip's local header, packed size, unpacked size,
    method (-1: no header, 0: stored, 8: deflated), CRC-32 (-1: unknown).
    """

    path: Path
    table: Path

    @cached_property
    def _open(self) -> tuple[BinaryIO, np.ndarray]:
        return open(self.path, "rb"), np.asarray(np.load(self.table, mmap_mode="r"))  # np.memmap is slow to index

    def read(self, index: int) -> BinaryIO:
        file, table = self._open
        start, packed, size, method, crc = table[index].tolist()
        if max(packed, size) > LARGEST:
            raise Unusable(f"decompression bomb: it unpacks to {max(packed, size):,} bytes")
        if method >= 0:
            file.seek(start)
            header = file.read(30)
            if header[:4] != b"PK\3\4":
                raise Unusable("damaged: the zip has no entry where it should be")
            start += 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        file.seek(start)
        content = file.read(packed)
        if method == 8:
            try:
                content = zlib.decompressobj(-15).decompress(content, size + 1)  # one byte more shows a false size
            except zlib.error as error:
                raise Unusable(f"damaged: {error}") from error
        if len(content) != size:
            raise Unusable("truncated" if len(content) < size else "damaged: larger than the zip says")
        if crc >= 0 and zlib.crc32(content) != crc:
            raise Unusable("damaged: wrong checksum")
        return io.BytesIO(content)


@dataclass(frozen=True)
class Records:
    """Images as plain uint8 values. The records of the first file come first, then those of the next."""

    files: tuple[tuple[Path, int, int], ...]  # path, offset of the first image's pixels, number of records
    stride: int  # bytes from one image to the next
    shape: tuple[int, ...]  # of the values as stored
    axes: tuple[int, ...]  # the order of these axes that gives (H, W) or (H, W, C)

    @cached_property
    def _open(self) -> list[BinaryIO]:
        return [open(path, "rb") for path, _, _ in self.files]

    def read(self, index: int) -> np.ndarray:
        which = 0
        while index >= self.files[which][2]:
            index -= self.files[which][2]
            which += 1
        file = self._open[which]
        file.seek(self.files[which][1] + index * self.stride)
        values = np.frombuffer(file.read(int(np.prod(self.shape))), np.uint8).reshape(self.shape)
        pixels = values.transpose(self.axes)
        return np.ascontiguousarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels)


@dataclass(frozen=True)
class Chosen:
    """Some images of another reader."""

    reader: Reader
    indices: np.ndarray  # int64 (M,): the number that image i has for the other reader

    def read(self, index: int) -> Raw:
        return self.reader.read(int(self.indices[index]))
