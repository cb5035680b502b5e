"""A folder with all that goes wrong in real folders."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganfold import data
from ganfold.data import Finding
from ganfold.data.prepare import LoadOptions, prepare
from ganfold.data.sources.lookup import find_source
from image_files import Load, MakeImage


@pytest.fixture
def ugly(tmp_path: Path, make_image: MakeImage) -> Path:
    folder = tmp_path / "ugly"
    (folder / "deep" / "er").mkdir(parents=True)
    make_image(1).save(folder / "a.png")
    make_image(2).save(folder / "UPPER.JPG", "JPEG")
    make_image(3).save(folder / "w.webp", lossless=True)
    make_image(4).convert("CMYK").save(folder / "cmyk.jpg")
    deep = np.linspace(0, 65535, 32 * 32).reshape(32, 32).astype(np.uint16)
    Image.fromarray(deep).save(folder / "deep16.png")
    clear = make_image(6).convert("RGBA")
    clear.putalpha(Image.new("L", (32, 32), 0))
    clear.save(folder / "alpha.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    make_image(7, 48, 32).save(folder / "exif.jpg", exif=turned, quality=95)
    frames = [make_image(8), make_image(9)]
    frames[0].save(folder / "anim.gif", save_all=True, append_images=frames[1:])
    make_image(10, 64, 32).save(folder / "wide.bmp")
    make_image(11).save(folder / "ünï çødé 漢字.png")
    make_image(12).save(folder / "no-suffix", "PNG")
    make_image(13).save(folder / "deep" / "er" / "f.tiff")
    # what cannot be used
    make_image(1).save(folder / "b-same-as-a.bmp")
    jpeg = io.BytesIO()
    make_image(14, 200, 200).save(jpeg, "JPEG", quality=95)
    (folder / "cut.jpg").write_bytes(jpeg.getvalue()[: len(jpeg.getvalue()) // 2])
    (folder / "text.png").write_text("not an image")
    (folder / "empty.png").touch()
    make_image(15, 3, 40).save(folder / "tiny.png")
    (folder / "bomb.png").write_bytes(bomb())
    (folder / "notes.txt").write_text("hello")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "self.png").symlink_to(folder / "self.png")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.png")
    # hidden files
    make_image(16).save(folder / ".hidden.png")
    (folder / "__MACOSX").mkdir()
    make_image(17).save(folder / "__MACOSX" / "x.png")
    (folder / "Thumbs.db").write_text("x")
    return folder


def bomb() -> bytes:
    """A PNG of 20,000 x 20,000 pixels in a few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100))


def test_each_file_is_used_or_named_with_its_reason(ugly: Path, load: Load) -> None:
    images = load(ugly)
    assert list(images.names) == [
        "UPPER.JPG", "a.png", "alpha.png", "anim.gif", "cmyk.jpg", "deep/er/f.tiff", "deep16.png",
        "exif.jpg", "no-suffix", "w.webp", "wide.bmp", "ünï çødé 漢字.png",
    ]  # fmt: skip
    assert {finding.file: finding.why for finding in images.findings.skipped} == {
        "b-same-as-a.bmp": "duplicate: the same pixels as a.png",
        "bomb.png": "decompression bomb: more than 178,956,970 pixels",
        "cut.jpg": "truncated",
        "empty.png": "empty file",
        "gone.png": "broken link",
        "loop": "symlink loop",
        "notes.txt": "not an image by its suffix",
        "pipe.png": "not an image: a device, pipe or socket",
        "self.png": "symlink loop",
        "text.png": "not an image",
        "tiny.png": "too small: 3 x 40 px, under 8 on the shorter side",
    }
    assert images.findings.repaired == [Finding("anim.gif", "animation: its first frame is used")]
    assert images.findings.converted == {
        "turned upright by their EXIF orientation": 1,
        "of 16 or more bits a value brought to 8": 1,
        "converted from CMYK": 1,
        "with transparency laid on white (4 channels keep it)": 1,
        "not square, cropped to the middle square": 2,
    }
    assert images.findings.found == 12 + 6  # the used ones, and those that had to be opened
    assert images.findings.used == len(images) == 12
    assert (images.resolution, images.channels) == (32, 3)
    assert images.images.dtype == np.uint8


def test_the_pixels_of_each_mode_are_right(ugly: Path, load: Load, make_image: MakeImage) -> None:
    images = load(ugly)
    by_name = {name: images.images[i].transpose(1, 2, 0).astype(int) for i, name in enumerate(images.names)}
    for name, seed in (("a.png", 1), ("w.webp", 3), ("no-suffix", 12), ("deep/er/f.tiff", 13)):
        assert (by_name[name] == np.asarray(make_image(seed))).all(), name
    assert np.abs(by_name["UPPER.JPG"] - np.asarray(make_image(2))).mean() < 8
    assert np.abs(by_name["cmyk.jpg"] - np.asarray(make_image(4))).mean() < 8
    assert np.abs(by_name["anim.gif"] - np.asarray(make_image(8))).mean() < 16  # not the second frame
    assert (by_name["alpha.png"] == 255).all()
    ramp = np.linspace(0, 65535, 32 * 32).reshape(32, 32) / 257
    assert np.abs(by_name["deep16.png"][..., 0] - ramp).max() <= 1
    upright = np.asarray(make_image(7, 48, 32).rotate(-90, expand=True))[8:40]
    assert np.abs(by_name["exif.jpg"] - upright).mean() < 4
    assert (by_name["wide.bmp"] == np.asarray(make_image(10, 64, 32))[:, 16:48]).all()


def test_nothing_is_printed(ugly: Path, cache: Path) -> None:
    code = f"from pathlib import Path; from ganfold.data import load; load({str(ugly)!r}, cache=Path({str(cache)!r}))"
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_the_same_in_child_processes(ugly: Path, tmp_path: Path, load: Load) -> None:
    options = LoadOptions(None, None, "crop", None)
    parallel = prepare(find_source(ugly), str(ugly), options, tmp_path / "other", workers=2)
    images = load(ugly)
    assert parallel.fingerprint == images.fingerprint
    assert parallel.findings == images.findings


def test_an_unreadable_file_and_folder_are_named(
    photos: Path, load: Load, monkeypatch: pytest.MonkeyPatch, make_image: MakeImage
) -> None:
    (photos / "locked").mkdir()
    make_image(50).save(photos / "locked" / "x.png")
    listdir, opened = os.listdir, Path.open

    def refuse(path: str | Path) -> list[str]:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return listdir(path)

    def deny(path: Path, *args: object, **more: object) -> object:
        if path.name == "03.png":
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "listdir", refuse)  # the tests may run as root, who may read all files
    monkeypatch.setattr(Path, "open", deny)
    assert {f.file: f.why for f in load(photos).findings.skipped} == {
        "03.png": "unreadable: Permission denied",
        "locked": "unreadable: Permission denied",
    }


def test_a_image_that_kills_the_decoder_is_left_out(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadly = (
        "import os; from ganfold.data import work; from ganfold.data.sources import decode; look = decode.look\n"
        "decode.look = lambda raw: os._exit(9) if raw.name == '05.png' else look(raw)\nwork._serve()"
    )
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda args, **rest: popen([*args[:-1], deadly], **rest))
    made = prepare(find_source(photos), "photos", LoadOptions(None, None, "crop", None), tmp_path / "c", workers=2)
    assert made.findings.skipped == [Finding("05.png", "damaged: it crashes the decoder")]
    assert len(made.images) == 11


def test_the_console_names_some_and_counts_the_rest(tmp_path: Path, make_image: MakeImage, load: Load) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    make_image(1).save(folder / "good.png")
    for i in range(140):
        (folder / f"t{i:03}.png").write_text(f"text {i}")
    (folder / "z-empty.png").touch()
    findings = load(folder).findings
    assert len(findings.to_dict()["skipped"]) == 141
    assert findings.lines() == [
        f"{folder}: 142 images found, 1 used.",
        "32 px: the median shorter side is 32; 3 channels: there are colours.",
        "Skipped 141:",
        "  empty file: z-empty.png",
        f"  not an image: {', '.join(f't{i:03}.png' for i in range(19))}, and 121 more (--out FILE names all)",
        "Warning: only 1 image: expect the network to repeat them; 500 are a beginning.",
    ]


def test_names_that_no_terminal_should_see_are_escaped(photos: Path, load: Load, make_image: MakeImage) -> None:
    make_image(90).save(photos / "esc\x1b[31m.png")
    (photos / "line\nbreak.png").touch()
    os.rename(photos / "00.png", os.fsencode(photos) + b"/\xff.png")
    images = load(photos)
    assert [f.file for f in images.findings.skipped] == ["line\\nbreak.png"]
    assert "esc\\x1b[31m.png" in images.names
    assert "\\udcff.png" in images.names
    assert len(images) == 13


def test_contact_sheet_shows_the_classes(tmp_path: Path, load: Load) -> None:
    for name, base in (("cats", 0), ("dogs", 100)):
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(5):
            Image.new("RGB", (16, 16), (base + 100, base, i)).save(tmp_path / "set" / name / f"{i}.png")
    images = load(tmp_path / "set")
    data.contact_sheet(images, tmp_path / "sheet.png")
    assert images.findings.classes == {"cats": 5, "dogs": 5}
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB")).astype(int)
    assert sheet.shape[0] == 2 * 66 + 2
    assert (sheet[34, :, 0] == 100).any()  # a cat in the first row
    assert (sheet[100, :, 0] == 200).any()  # a dog in the second
    assert not (sheet[34, :, 0] == 200).any()


def test_other_files_are_one_line_after_the_faults(photos: Path, load: Load) -> None:
    for i in range(30):
        (photos / f"a{i}.ogg").touch()
    for i in range(3):
        (photos / f"b{i}.svg").touch()
    (photos / "cut.png").write_bytes((photos / "00.png").read_bytes()[:60])
    lines = load(photos).findings.lines()
    assert lines[2:5] == [
        "Skipped 1:",
        "  truncated: cut.png",
        "33 files are no images by their suffixes: 30 .ogg, 3 .svg.",
    ]
    assert not any("data.json" in line for line in lines)


def test_faults_are_named_before_what_is_left_out_by_design(photos: Path, load: Load, make_image: MakeImage) -> None:
    (photos / "all.zip").write_bytes(b"x")
    (photos / "a.png.gz").write_bytes(b"x")
    load(photos)
    for i in range(3):
        (photos / f"empty{i}.png").touch()
    lines = load(photos).findings.lines()
    first = lines.index("Skipped 5:") + 1
    assert lines[first] == "  empty file: empty0.png, empty1.png, empty2.png"
    assert {line.partition(":")[0].strip() for line in lines[first + 1 : first + 3]} == {
        "an archive or array, not read", "packed, and not read",
    }  # fmt: skip
