"""Many texts on disk: one UTF-8 file and the offsets into it. A million names then take no memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np


def write_strings(path: Path, texts: Iterable[str]) -> None:
    """Write `texts` as `path`.bin and their offsets as `path`.npy, a block of texts in memory at a time."""
    offsets = [np.zeros(1, np.int64)]
    with open(path.with_suffix(".bin"), "wb") as file:
        for block in _blocks(texts):
            encoded = [text.encode("utf-8", "surrogateescape") for text in block]
            file.write(b"".join(encoded))
            offsets.append(offsets[-1][-1] + np.cumsum([len(text) for text in encoded], dtype=np.int64))
    np.save(path.with_suffix(".npy"), np.concatenate(offsets))


def _blocks(texts: Iterable[str], size: int = 4096) -> Iterator[list[str]]:
    block: list[str] = []
    for text in texts:
        block.append(text)
        if len(block) == size:
            yield block
            block = []
    if block:
        yield block


class Strings(Sequence[str]):
    """The texts that `write_strings` wrote. Each is read from disk when it is used.

    Raises:
        ValueError: the file is cut short.
    """

    def __init__(self, path: Path) -> None:
        self._offsets = np.asarray(np.load(path.with_suffix(".npy"), mmap_mode="r"))  # np.memmap is slow to index
        file = path.with_suffix(".bin")
        if file.stat().st_size != self._offsets[-1]:
            raise ValueError(f"{file} is cut short")
        # an empty file cannot be mapped
        self._bytes = np.asarray(np.memmap(file, np.uint8, "r")) if self._offsets[-1] else np.zeros(0, np.uint8)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index]  # resolves negative indices, and raises the IndexError that ends iteration
        start, stop = self._offsets[place], self._offsets[place + 1]
        return self._bytes[start:stop].tobytes().decode("utf-8", "surrogateescape")


class Numbered(Sequence[str]):
    """The names of rows, such as "image[17]", made when they are used."""

    def __init__(self, column: str, numbers: np.ndarray) -> None:
        self._column, self._numbers = column, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [f"{self._column}[{number}]" for number in self._numbers[index].tolist()]
        return f"{self._column}[{self._numbers[index]}]"


class Rows(Sequence[dict[str, Any]]):
    """Rows of metadata, each a JSON text in a `Strings`."""

    def __init__(self, texts: Strings) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(index, slice):
            return [json.loads(text) for text in self._texts[index]]
        row: dict[str, Any] = json.loads(self._texts[index])
        return row
