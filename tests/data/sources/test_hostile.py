"""Small files that ask for all memory, never end, or raise what no library documents: each is one sentence.

Looked for in: npy, npz (images, labels, class names), IDX plain and gzipped, the table of a zip, metadata.jsonl and
dataset.json, names of files and classes, what a path may be (pipes, sockets), links in a folder.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import socket
import struct
import tracemalloc
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganfold.data.sources import arrays
from ganfold.errors import GanfoldError
from image_files import Load, MakeImage


def refused(load: Load, source: str | Path) -> str:
    with pytest.raises(GanfoldError) as caught:
        load(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def npy(header: str, content: bytes = bytes(64)) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header.encode() + b"\n" + content


def shaped(shape: str, descr: str = "|u1") -> bytes:
    return npy(f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("(4294967296, 65536, 65536)", "is cut short"),  # its product is 0 in 64 bits
        ("(1" + "0" * 30 + ", 8, 8)", "is cut short"),
        ("(10000000000, 0, 8)", "holds no images"),
        ("(-2, -8, 8)", "holds no images"),
        ("()", "is needed"),
    ],
)
def test_an_absurd_shape_takes_no_memory(shape: str, message: str, tmp_path: Path, load: Load) -> None:
    (tmp_path / "a.npy").write_bytes(shaped(shape))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("images.npy", shaped(shape))
    tracemalloc.start()
    try:
        assert message in refused(load, tmp_path / "a.npy")
        assert message in refused(load, tmp_path / "a.npz")
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("shape", "message"),
    [((2**31, 2**31, 4), "is cut short"), ((2**31, 0, 4), "it holds nothing"), ((0, 28, 28), "it holds nothing")],
)
def test_an_absurd_idx_takes_no_memory(
    shape: tuple[int, ...], message: str, packed: bool, tmp_path: Path, load: Load
) -> None:
    content = bytes((0, 0, 8, 3)) + struct.pack(">3I", *shape) + bytes(64)
    path = tmp_path / ("train-images-idx3-ubyte" + ".gz" * packed)
    path.write_bytes(gzip.compress(content) if packed else content)
    assert message in refused(load, path)


@pytest.mark.parametrize("header", ["{'descr': '|u1', (", "{'descr': (((((", "\x00" * 20, "(" * 5000, "{'a': 1}"])
def test_a_header_that_does_not_parse_is_damaged(header: str, tmp_path: Path, load: Load) -> None:
    (tmp_path / "a.npy").write_bytes(npy(header))
    assert "a.npy is damaged" in refused(load, tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("labels", shaped(f"({2**45},)", "<i8"), "which is too large for labels"),
        ("labels", shaped("(3000000000,)"), "which is too large for labels"),
        ("labels", shaped("(5,)"), "one label for each of the 4 images is needed"),
        ("labels", shaped("(4,)", "<M8[s]"), "whole numbers or names are needed"),
        ("classes", shaped("()"), "a list of names is needed"),
    ],
)
def test_labels_of_an_npz_take_no_memory(name: str, content: bytes, message: str, tmp_path: Path, load: Load) -> None:
    images = io.BytesIO()
    np.save(images, np.random.default_rng(0).integers(0, 256, (4, 16, 16), np.uint8))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("images.npy", images.getvalue())
        file.writestr(f"{name}.npy", content)
        if name != "labels":
            file.writestr("labels.npy", shaped("(4,)"))
    assert message in refused(load, tmp_path / "a.npz")


def test_an_npz_packed_in_a_strange_way_is_one_sentence(tmp_path: Path, load: Load) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((4, 16, 16), np.uint8))
    whole = (tmp_path / "a.npz").read_bytes()
    table = whole.rindex(b"PK\1\2")
    for at, value, message in ((8, 1, "is encrypted"), (10, 97, "save it again with numpy.savez")):
        (tmp_path / "b.npz").write_bytes(whole[: table + at] + bytes((value, 0)) + whole[table + at + 2 :])
        assert message in refused(load, tmp_path / "b.npz")
    bad = io.BytesIO()
    with zipfile.ZipFile(bad, "w", zipfile.ZIP_BZIP2) as file:
        file.writestr("images.npy", bytes(5000))
    (tmp_path / "b.npz").write_bytes(bad.getvalue().replace(b"BZh", b"XXX"))
    assert "b.npz is damaged" in refused(load, tmp_path / "b.npz")


def test_a_zip_with_64_bit_extremes_is_one_sentence_or_names_the_entry(
    tmp_path: Path, load: Load, make_image: MakeImage
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for name in ("a.png", "b.png"):
            with io.BytesIO() as image:
                make_image(ord(name[0])).save(image, "PNG")
                file.writestr(name, image.getvalue())
    whole = (tmp_path / "a.zip").read_bytes()
    table, end = whole.index(b"PK\1\2"), whole.rindex(b"PK\5\6")
    huge = 2**64 - 1
    for count, length, start, place in (
        (2, 2**63, table, end), (2, 2**40, table, end), (huge, end - table, table, end),
        (2, end - table, huge, end), (2, end - table, table, huge),
    ):  # fmt: skip
        record = b"PK\6\6" + struct.pack("<QHHLLQQQQ", 44, 45, 45, 0, 0, 2, count, length, start)
        locator = b"PK\6\7" + struct.pack("<LQL", 0, place, 1)
        marks = whole[end:][:10] + b"\xff" * 10 + bytes(2)
        (tmp_path / "b.zip").write_bytes(whole[:end] + record + locator + marks)
        said = refused(load, tmp_path / "b.zip")
        assert "its table of contents" in said or "lies outside of the zip" in said
    for extra in (struct.pack("<HH3Q", 1, 24, huge, huge, huge), struct.pack("<HHL", 1, 24, 0)):
        entry = bytearray(whole[table : whole.index(b"PK\1\2", table + 4)])
        entry[20:28] = entry[42:46] * 0 + b"\xff" * 8
        entry[30:32] = struct.pack("<H", len(extra))
        rest = whole[table + len(entry) : end]
        tail = b"PK\5\6" + struct.pack("<4H2LH", 0, 0, 2, 2, len(entry) + len(extra) + len(rest), table, 0)
        (tmp_path / "c.zip").write_bytes(whole[:table] + bytes(entry) + extra + rest + tail)
        images = load(tmp_path / "c.zip")
        assert list(images.names) == ["b.png"]
        assert [f.why for f in images.findings.skipped] == ["damaged: the zip says that it lies outside of the zip"]


def test_json_nested_without_end_is_one_sentence(photos: Path, load: Load) -> None:
    (photos / "metadata.jsonl").write_text('{"file_name": "00.png", "x": ' + "[" * 100_000)
    assert "metadata.jsonl, line 1: it is nested too deep" in refused(load, photos)
    (photos / "metadata.jsonl").unlink()
    (photos / "dataset.json").write_text("[" * 100_000)
    assert [f.file for f in load(photos).findings.skipped] == ["dataset.json"]


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_what_would_wait_for_ever_is_not_opened(kind: str, photos: Path, load: Load, monkeypatch: Any) -> None:
    monkeypatch.chdir(photos)  # the path of a socket must be short
    with ExitStack() as open_sockets:
        for name in ("train-images-idx3-ubyte", "x.tar", "metadata.csv"):
            if kind == "pipe":
                os.mkfifo(name)
            else:
                open_sockets.enter_context(socket.socket(socket.AF_UNIX)).bind(name)
        assert "is a pipe, socket or device: give a file or a folder" in refused(load, "x.tar")
        assert len(load(photos)) == 12


def test_a_lattice_of_links_is_read_once(tmp_path: Path, load: Load, make_image: MakeImage) -> None:
    folder = tmp_path / "s"
    for level in range(19):
        folder.mkdir()
        make_image(level).save(folder / "x.png")
        below = tmp_path / f"level{level}"
        for name in ("a", "b"):
            (folder / name).symlink_to(below)
        folder = below
    folder.mkdir()
    images = load(tmp_path / "s")
    assert len(images) == images.findings.found == 19


def test_a_linked_folder_goes_after_the_real_one(tmp_path: Path, load: Load, make_image: MakeImage) -> None:
    (tmp_path / "s" / "cats").mkdir(parents=True)
    make_image(1).save(tmp_path / "s" / "cats" / "x.png")
    (tmp_path / "s" / "again").symlink_to("cats")
    images = load(tmp_path / "s")
    assert list(images.names) == ["cats/x.png"]
    assert [f.why for f in images.findings.skipped] == ["a link to a folder that is read already"]


def test_class_names_are_escaped_like_file_names(tmp_path: Path, load: Load, make_image: MakeImage) -> None:
    for number, name in enumerate((b"caf\xe9", b"red\x1b[31m", b"d\xc3\xa9j\xc3\xa0 vu")):
        os.makedirs(os.fsencode(tmp_path / "s") + b"/" + name)
        make_image(number).save(os.fsdecode(os.fsencode(tmp_path / "s") + b"/" + name + b"/x.png"))
    images = load(tmp_path / "s")
    assert images.classes == ("caf\\udce9", "déjà vu", "red\\x1b[31m")
    json.dumps(images.findings.to_dict(), ensure_ascii=False).encode()
    "\n".join(images.findings.lines()).encode()


def test_labels_and_captions_that_utf_8_cannot_hold_are_escaped(photos: Path, load: Load) -> None:
    rows = [{"file_name": f"{i:02}.png", "label": "ab"[i % 2] + "\ud800", "text": "\ud800"} for i in range(12)]
    (photos / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    images = load(photos)
    assert images.classes == ("a\\ud800", "b\\ud800")
    assert images.attributes
    assert images.attributes[0] == {"text": "\ud800"}


def test_an_array_stored_by_columns_is_written_without_a_memory_map(
    tmp_path: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3), np.uint8)
    np.save(tmp_path / "a.npy", np.asfortranarray(images))

    def deadly(*_: Any, **__: Any) -> None:
        raise AssertionError("a full disk kills the process here")

    monkeypatch.setattr(np.lib.format, "open_memmap", lambda *args, mode="r+", **rest: deadly())
    monkeypatch.setattr(np, "load", lambda path, **_: np.asfortranarray(images))
    rows = arrays._in_rows(tmp_path / "a.npy", images.shape, tmp_path / "rows.npy")
    monkeypatch.undo()
    assert (np.load(rows) == images).all()
    assert (load(tmp_path / "a.npy").images == images.transpose(0, 3, 1, 2)).all()


def test_a_large_image_of_16_bits_takes_little_memory(tmp_path: Path, load: Load) -> None:
    ramp = np.linspace(0, 65535, 3000 * 3000).reshape(3000, 3000).astype(np.uint16)
    (tmp_path / "s").mkdir()
    Image.fromarray(ramp).save(tmp_path / "s" / "x.png")
    tracemalloc.start()
    try:
        images = load(tmp_path / "s", resolution=64)
        assert tracemalloc.get_traced_memory()[1] < 8 * ramp.size  # one copy as float64 takes as much
    finally:
        tracemalloc.stop()
    assert 120 < images.images[:].mean() < 135
