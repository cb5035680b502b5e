"""Modes, sizes and channels: what an image becomes, and what is said of values that look wrong.

Values were looked at in: 8 and 16 bits, alpha, arrays (their types). Files that Pillow does not open: TIFF.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganfold.data.sources.findings import Finding
from ganfold.errors import GanfoldError
from image_files import Load, MakeImage


def one(folder: Path, image: Image.Image, suffix: str = "png") -> Path:
    folder.mkdir()
    image.save(folder / f"x.{suffix}")
    return folder


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_grey_stays_one_channel(mode: str, tmp_path: Path, load: Load, make_image: MakeImage) -> None:
    grey = make_image(1, mode="L").convert(mode)
    images = load(one(tmp_path / "set", grey))
    assert images.channels == 1
    assert (images.images[0, 0] == np.asarray(grey.convert("L"))).all()
    assert "all images are grey" in images.findings.choice


def test_one_colour_image_makes_all_colour(tmp_path: Path, load: Load, make_image: MakeImage) -> None:
    folder = one(tmp_path / "set", make_image(1, mode="L"))
    make_image(2).save(folder / "y.png")
    images = load(folder)
    assert images.channels == 3
    assert (images.images[0] == np.asarray(make_image(1, mode="L"))).all()


def test_channels_as_asked(tmp_path: Path, load: Load, make_image: MakeImage) -> None:
    folder = one(tmp_path / "set", make_image(1))
    assert load(folder, channels=1).images.shape == (1, 1, 32, 32)
    four = load(folder, channels=4)
    assert (four.images[0, 3] == 255).all()


def test_transparency_lies_on_white_or_stays(tmp_path: Path, load: Load) -> None:
    clear = np.zeros((16, 16, 4), np.uint8)
    clear[:, :8] = (200, 0, 0, 255)
    folder = one(tmp_path / "set", Image.fromarray(clear))
    three = load(folder).images[0]
    assert three[:, 0, 0].tolist() == [200, 0, 0]
    assert three[:, 0, 15].tolist() == [255, 255, 255]
    assert load(folder, channels=4).images[0, 3, 0].tolist() == [255] * 8 + [0] * 8


def test_colours_hidden_under_transparency_do_not_bleed_in(tmp_path: Path, load: Load) -> None:
    clear = np.zeros((64, 64, 4), np.uint8)
    clear[..., 1] = 255  # green everywhere, but hidden
    clear[:, 21:] = (255, 0, 0, 255)
    image = load(one(tmp_path / "set", Image.fromarray(clear)), channels=4, resolution=16).images[0]
    edge = image[:, 8, 5]
    assert 0 < edge[3] < 255
    assert edge[1] <= 2


def test_opaque_alpha_is_no_transparency(tmp_path: Path, load: Load, make_image: MakeImage) -> None:
    images = load(one(tmp_path / "set", make_image(1).convert("RGBA")))
    assert images.findings.converted == {}
    assert (images.images[0].transpose(1, 2, 0) == np.asarray(make_image(1))).all()


def test_floats_and_32_bits(tmp_path: Path, load: Load) -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    folder = tmp_path / "set"
    folder.mkdir()
    Image.fromarray(ramp).save(folder / "unit.tiff")
    Image.fromarray(np.rint(ramp[::-1] * 255)).save(folder / "bytes.tiff")
    Image.fromarray((ramp.T * 1e6 - 5e5).astype(np.int32)).save(folder / "wild.tiff")
    images = load(folder)
    by_name = {name: images.images[i, 0].astype(float) for i, name in enumerate(images.names)}
    assert np.abs(by_name["unit.tiff"] - ramp * 255).max() <= 0.51
    assert np.abs(by_name["bytes.tiff"] - ramp[::-1] * 255).max() <= 0.51
    assert np.abs(by_name["wild.tiff"] - ramp.T * 255).max() <= 0.51
    assert images.findings.repaired == [
        Finding("wild.tiff", "values out of any usual range: its darkest is made black, its brightest white")
    ]


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_not_square(fit: str, tmp_path: Path, load: Load) -> None:
    thirds = np.repeat([[10], [120], [230]], 16, 0).repeat(16, 1).astype(np.uint8)  # 48 high, 16 wide
    image = load(one(tmp_path / "set", Image.fromarray(thirds)), fit=fit, resolution=48).images[0, 0].astype(int)
    column, row = image[:, 24], image[24]
    if fit == "crop":
        assert (image[8:40] == 120).all()  # at the edges Lanczos reads beyond them
    elif fit == "pad":
        assert (row[:15].tolist(), row[33:].tolist()) == ([0] * 15, [0] * 15)
        assert (column[5], column[24], column[43]) == (10, 120, 230)
    else:
        assert (image[:, 0] == image[:, 47]).all()
        assert (column[5], column[24], column[43]) == (10, 120, 230)


def test_shrinking_is_antialiased(tmp_path: Path, load: Load) -> None:
    checks = (np.indices((128, 128)).sum(0) % 2 * 255).astype(np.uint8)
    image = load(one(tmp_path / "set", Image.fromarray(checks)), resolution=16).images[0, 0]
    assert np.abs(image.astype(int) - 128).max() < 8  # grey, not a moiré of black and white


def test_resolution_is_the_median_shorter_side_and_the_findings_say_why(
    tmp_path: Path, load: Load, make_image: MakeImage
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for i, side in enumerate((20, 80, 200)):
        make_image(i, side, side + 10).save(folder / f"{i}.png")
    assert load(folder).resolution == 80
    images = load(folder, resolution=lambda native: 64 if native == 80 else 0)
    assert images.resolution == 64
    assert "64 px: the median shorter side is 80 and the network makes 64" in images.findings.choice
    assert images.findings.native == {"min": 20, "median": 80, "max": 200}
    assert images.findings.converted["smaller than 64 px and enlarged, so they are blurred"] == 1
    assert load(folder, resolution=8).findings.converted == {"not square, cropped to the middle square": 3}
    assert "8 px: as requested; the median shorter side is 80" in load(folder, resolution=8).findings.choice


def test_huge_image_default_to_the_largest_resolution(tmp_path: Path, load: Load, make_image: MakeImage) -> None:
    images = load(one(tmp_path / "set", make_image(1, 1100, 1100, "L"), "bmp"))
    assert images.resolution == 1024
    assert "1,100, and 1,024 is the most" in images.findings.choice


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": 7}, "resolution 7 is out of range: 8 to 1,024 px"),
        ({"resolution": 1025}, "resolution 1025 is out of range: 8 to 1,024 px"),
        ({"resolution": lambda native: 4}, "resolution 4 is out of range: 8 to 1,024 px"),
        ({"channels": 2}, "channels 2 is none of 1 (grey), 3 (colour), 4 (colour and transparency)"),
        ({"fit": "corp"}, "fit 'corp' is none of crop, pad, stretch; did you mean 'crop'?"),
        ({"held_out": 0.6}, "held-out 0.6 is out of range: a fraction from 0 to 0.5"),
    ],
)
def test_arguments_out_of_range(options: dict[str, object], message: str, photos: Path, load: Load) -> None:
    with pytest.raises(GanfoldError) as caught:
        load(photos, **options)
    assert str(caught.value) == message


@pytest.mark.parametrize(("most", "shift", "value"), [(1, 0, 1), (4095, 16, 15), (16383, 16, 63)])
def test_nearly_black_images_are_warned_of(most: int, shift: int, value: int, tmp_path: Path, load: Load) -> None:
    ramp = np.linspace(0, most, 32 * 32).round().reshape(32, 32)
    for k in range(8):
        rolled = np.roll(ramp, 40 * k)
        (tmp_path / "s").mkdir(exist_ok=True)
        Image.fromarray(rolled.astype(np.uint16 if shift else np.uint8)).save(tmp_path / "s" / f"{k}.png")
    warning = load(tmp_path / "s").findings.warnings[0]
    brightest = round(most * 255 / 65535) if shift else most
    assert abs(brightest - value) <= 1
    assert warning.startswith(
        f"8 images are nearly black: the brightest value is {brightest} of 255 (such as 0.png); if these are masks of"
    )


def test_some_dark_images_are_a_note_and_alpha_is_no_brightness(
    tmp_path: Path, load: Load, make_image: MakeImage
) -> None:
    for k in range(3):
        make_image(k).save(one(tmp_path / str(k), make_image(k)) / "y.png")
    folder = tmp_path / "0"
    make_image(7).save(folder / "z.png")
    Image.new("RGBA", (32, 32), (3, 4, 5, 255)).save(folder / "dark.png")
    images = load(folder, channels=4)
    assert images.findings.notes == ["1 image is nearly black: the brightest value is 5 of 255 (such as dark.png)."]
    assert not any("black" in warning for warning in load(tmp_path / "1").findings.warnings)


def tiff(bands: int, bits: int, sample_format: int, side: int = 16) -> bytes:
    """A whole TIFF of values that are all zero."""
    pixels = bytes(side * side * bands * bits // 8)
    many = b"".join(value.to_bytes(2, "little") for value in [bits] * bands)
    formats = b"".join(value.to_bytes(2, "little") for value in [sample_format] * bands)
    start = 8 + 2 + 9 * 12 + 4
    fields = [
        (256, 3, 1, side), (257, 3, 1, side), (258, 3, bands, start), (259, 3, 1, 1), (262, 3, 1, 1),
        (273, 4, 1, start + len(many) + len(formats)), (277, 3, 1, bands), (279, 4, 1, len(pixels)),
        (339, 3, bands, start + len(many)),
    ]  # fmt: skip
    entries = b"".join(
        tag.to_bytes(2, "little")
        + kind.to_bytes(2, "little")
        + count.to_bytes(4, "little")
        + value.to_bytes(4, "little")
        for tag, kind, count, value in fields
    )
    return (
        b"II*\0" + (8).to_bytes(4, "little") + (9).to_bytes(2, "little") + entries + bytes(4) + many + formats + pixels
    )


@pytest.mark.parametrize(
    ("bands", "bits", "sample_format", "kind"),
    [(5, 8, 1, "5 bands of 8-bit values"), (3, 32, 3, "3 bands of 32-bit float values")],
)
def test_a_whole_tiff_that_pillow_does_not_open_is_not_called_damaged(
    bands: int, bits: int, sample_format: int, kind: str, photos: Path, load: Load
) -> None:
    (photos / "x.tif").write_bytes(tiff(bands, bits, sample_format))
    (photos / "y.tif").write_bytes(tiff(bands, bits, sample_format)[:60])
    skipped = {f.file: f.why for f in load(photos).findings.skipped}
    assert skipped["x.tif"] == f"unreadable: a TIFF of {kind}, which Pillow does not open; save it as 8-bit RGB"
    assert skipped["y.tif"].startswith("damaged")


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from /proc")
@pytest.mark.parametrize(("mode", "copies"), [("RGBA", 3.5), ("RGB", 1.9), ("F", 3.0), ("I;16", 5.0)])
def test_the_memory_of_one_large_image_is_bounded(mode: str, copies: float, tmp_path: Path) -> None:
    """`copies`: of the decoded image, which Pillow keeps in 4 bytes a pixel, or 2 for I;16."""
    side = 3500
    grey = (np.add.outer(np.arange(side), np.arange(side)) % 256).astype(np.uint8)
    pixels: dict[str, np.ndarray] = {
        "RGBA": np.stack([grey, grey[::-1], grey.T, grey], 2), "RGB": np.stack([grey, grey[::-1], grey.T], 2),
        "F": grey.astype(np.float32), "I;16": grey.astype(np.uint16) * 257,
    }  # fmt: skip
    path = tmp_path / ("x.tif" if mode == "F" else "x.png")
    Image.fromarray(pixels[mode]).save(path)
    program = (
        "from pathlib import Path\n"
        "from ganfold.data.sources import decode\n"
        "peak = lambda: int(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])\n"
        "before = peak()\n"
        f"decode.convert(Path({str(path)!r}), decode.TargetShape(16, 3, 'crop'))\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < copies * side**2 * (2 if mode == "I;16" else 4)
