"""A user's image files: opened the right way up, changed, and never written over.

Where kinds of faults were looked for. A second way in: all modes and depths of Pillow, for images and masks, against
what training reads. A second way out: all suffixes that Pillow can write, with L, RGB and RGBA, with a colour profile,
and larger than the format allows. One bad item: unreadable images, masks, too small images, failed networks, memory.
Names as keys: images and masks of equal names, sidecars, both forms of Unicode. Warnings: Pillow's and libtiff's.
"""

from __future__ import annotations

import os
import tracemalloc
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from ganfold.data.sources.decode import TargetShape, convert
from ganfold.errors import GanfoldError
from ganfold.files import locked
from ganfold.images.files import FORMATS, change_images, images_in, name_of, opened, to_image, to_tensor


def picture(path: Path, size: tuple[int, int] = (20, 30), mode: str = "RGB", **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], bands), np.uint8)
    Image.fromarray(pixels[..., 0] if bands == 1 else pixels, mode).save(path, **options)
    return path


def invert(image: Image.Image, _: Path) -> Image.Image:
    return Image.fromarray(255 - np.asarray(image))


def same(image: Image.Image, _: Path) -> Image.Image:
    return image


def swapped_profile() -> bytes:
    """An sRGB profile with red and green changed for each other."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(profile[128:132], "big")
    tags = {bytes(profile[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(count)}
    a, b = tags[b"rXYZ"], tags[b"gXYZ"]
    profile[a + 4 : a + 12], profile[b + 4 : b + 12] = profile[b + 4 : b + 12], profile[a + 4 : a + 12]
    return bytes(profile)


def test_a_picture_is_turned_upright_and_its_alpha_kept(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    path = picture(tmp_path / "turned.jpg", (20, 30), exif=exif)
    assert opened(path).size == (30, 20)
    assert opened(picture(tmp_path / "clear.png", mode="RGBA")).mode == "RGBA"
    assert opened(picture(tmp_path / "grey.png", mode="L")).mode == "L"
    palette = Image.new("P", (9, 9))
    palette.save(tmp_path / "palette.png", transparency=0)
    assert opened(tmp_path / "palette.png").mode == "RGBA"


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_pixels_come_back_as_they_were(tmp_path: Path, mode: str) -> None:
    image = opened(picture(tmp_path / "p.png", mode=mode))
    assert to_tensor(image).abs().max() <= 1
    assert np.array_equal(np.asarray(to_image(to_tensor(image))), np.asarray(image))
    assert to_tensor(image, 3).shape == (1, 3, 30, 20)


def test_a_picture_and_a_folder_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = picture(tmp_path / "in" / "a.png")
    picture(tmp_path / "in" / "b.jpg")
    (tmp_path / "in" / "notes.txt").write_text("not a picture")
    out = change_images(path, tmp_path / "one.png", invert)
    assert np.array_equal(np.asarray(Image.open(out)), 255 - np.asarray(Image.open(path)))
    change_images(tmp_path / "in", tmp_path / "many", invert)
    assert sorted(p.name for p in (tmp_path / "many").iterdir()) == ["a.png", "b.png"]
    assert capsys.readouterr().err == "Passed over, not images: 1 of .txt\n"


def test_nothing_is_written_over_without_force(tmp_path: Path) -> None:
    path = picture(tmp_path / "in" / "a.png")
    before = path.read_bytes()
    with pytest.raises(GanfoldError, match=r"a\.png exists: give --out another name, or --force"):
        change_images(path, path, invert)
    with pytest.raises(GanfoldError, match=r"a\.png exists"):
        change_images(tmp_path / "in", tmp_path / "in", invert)
    assert path.read_bytes() == before
    change_images(path, path, invert, force=True)
    assert path.read_bytes() != before


def test_refusals_are_sentences_and_leave_nothing_behind(tmp_path: Path) -> None:
    path = picture(tmp_path / "in" / "a.png")
    with pytest.raises(GanfoldError, match="no such file or folder"):
        change_images(tmp_path / "none.png", tmp_path / "out.png", invert)
    with pytest.raises(GanfoldError, match=r"out\.xyz names no kind of image"):
        change_images(path, tmp_path / "out.xyz", invert)
    with pytest.raises(GanfoldError, match="is a folder: give --out a file's name"):
        change_images(path, tmp_path / "in", invert)
    with pytest.raises(GanfoldError, match="is a file, and .* is a folder"):
        change_images(tmp_path / "in", path, invert)
    (tmp_path / "text.png").write_text("no picture at all")
    with pytest.raises(GanfoldError, match=r"cannot use .*text\.png: not an image"):
        change_images(tmp_path / "text.png", tmp_path / "out.png", invert)
    (tmp_path / "empty").mkdir()
    with pytest.raises(GanfoldError, match="holds no image"):
        change_images(tmp_path / "empty", tmp_path / "out", invert)
    picture(tmp_path / "in" / "a.bmp")
    with pytest.raises(GanfoldError, match="differ in their suffix alone"):
        change_images(tmp_path / "in", tmp_path / "out", invert)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.png").exists()


def test_transparency_lies_on_white_where_the_file_has_none(tmp_path: Path) -> None:
    Image.new("RGBA", (16, 16), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    out = change_images(tmp_path / "clear.png", tmp_path / "out.jpg", lambda image, _: image)
    assert np.asarray(Image.open(out)).min() > 250


@pytest.mark.parametrize("suffix", sorted(Image.registered_extensions()))
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_every_suffix_holds_the_picture_or_is_refused_before_the_work(tmp_path: Path, suffix: str, mode: str) -> None:
    path, out, worked = picture(tmp_path / "in.png", mode=mode), tmp_path / f"out{suffix}", []

    def change(image: Image.Image, _: Path) -> Image.Image:
        worked.append(image)
        return image

    name = Image.registered_extensions()[suffix]
    if name not in FORMATS:
        with pytest.raises(GanfoldError, match="names no kind of image"):
            change_images(path, out, change)
        assert not worked
        return
    change_images(path, out, change)
    before: Image.Image = Image.open(path)
    if mode not in FORMATS[name]:
        before = Image.alpha_composite(Image.new("RGBA", before.size, "white"), before).convert("RGB")
    after = Image.open(out).convert(before.mode)
    error = np.abs(np.asarray(after).astype(int) - np.asarray(before))
    assert error.max() <= {"JPEG": 40, "AVIF": 60}.get(name, 0)  # of noise, which is the hardest
    assert error.mean() <= {"JPEG": 4, "AVIF": 6}.get(name, 0)


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg", "tif"])
def test_a_colour_profile_goes_with_the_result(tmp_path: Path, suffix: str) -> None:
    path = picture(tmp_path / "in.png", icc_profile=swapped_profile())
    out = change_images(path, tmp_path / f"out.{suffix}", invert)
    assert Image.open(out).info["icc_profile"] == swapped_profile()


def test_a_file_without_profiles_gets_the_colours_that_are_shown(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16), (255, 0, 0)).save(tmp_path / "in.png", icc_profile=swapped_profile())
    out = change_images(tmp_path / "in.png", tmp_path / "out.bmp", same)
    assert np.abs(np.asarray(Image.open(out)).astype(int) - [0, 255, 0]).max() <= 2
    Image.new("RGB", (16, 16), (255, 0, 0)).save(tmp_path / "bad.png", icc_profile=b"?" * 16 + b"RGB " + b"?" * 200)
    assert np.asarray(Image.open(change_images(tmp_path / "bad.png", tmp_path / "bad.bmp", same)))[0, 0, 0] == 255


def test_a_profile_of_other_colours_than_the_result_has_is_left_out(tmp_path: Path) -> None:
    profile = swapped_profile()
    Image.new("CMYK", (16, 16)).save(tmp_path / "in.tif", icc_profile=profile[:16] + b"CMYK" + profile[20:])
    assert "icc_profile" not in Image.open(change_images(tmp_path / "in.tif", tmp_path / "out.png", same)).info


def deep(path: Path, mode: str) -> Path:
    ramp = np.linspace(0, 1, 24 * 24).reshape(24, 24)
    kind: Any = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
    Image.fromarray((ramp * (1 if mode == "F" else 65535)).astype(kind)).save(path)
    return path


@pytest.mark.parametrize(
    "kind", ["I;16.png", "I;16.tif", "I.tif", "F.tif", "1.png", "P.png", "P.gif", "CMYK.jpg", "LA.png"]
)
def test_every_depth_and_mode_comes_in_as_in_training(tmp_path: Path, kind: str) -> None:
    mode, path = kind.split(".")[0], tmp_path / kind.replace(";", "")
    if mode in ("I;16", "I", "F"):
        deep(path, mode)
    else:
        Image.open(picture(tmp_path / "rgb.png", (24, 24))).convert(mode).save(path)
    if kind == "P.png":  # whose transparency is a table
        Image.open(path).save(path, transparency=bytes(range(256)))
    image = opened(path)
    channels = len(image.getbands())
    assert image.mode in ("L", "RGB", "RGBA")
    trained, _, _ = convert(path, TargetShape(24, channels, "crop"))
    assert np.array_equal(np.asarray(image).reshape(24, 24, -1).transpose(2, 0, 1), trained)
    if mode in ("I;16", "I", "F"):
        assert abs(np.asarray(image).mean() - 127.5) < 1  # a ramp from black to white


def test_a_batch_survives_its_worst_items_and_the_same_command_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(4):
        picture(tmp_path / "in" / f"{number}.png")
    (tmp_path / "in" / "1.png").write_text("no picture")

    def made(_: Path) -> str:
        return "setting 1"

    def change(image: Image.Image, path: Path) -> Image.Image:
        if path.stem == "2":
            raise GanfoldError(f"{path} has a bad mask")
        if path.stem == "3" and not (tmp_path / "more").exists():
            raise MemoryError
        return image

    out = tmp_path / "out"
    change_images(tmp_path / "in", out, change, made_by=made, progress=False)
    error = capsys.readouterr().err.splitlines()
    assert [path.name for path in out.iterdir()] == ["0.png"]
    assert len(error) == 3
    assert "1.png: not an image" in error[0]
    assert error[1].endswith("2.png has a bad mask")
    assert "3.png needs more memory than there is (20 x 30 px)" in error[2]
    first = (out / "0.png").stat().st_mtime_ns
    (tmp_path / "more").touch()
    change_images(tmp_path / "in", out, change, made_by=made)
    assert sorted(path.name for path in out.iterdir()) == ["0.png", "3.png"]
    assert (out / "0.png").stat().st_mtime_ns == first
    assert "1 that this command had made before (--force makes them anew)" in capsys.readouterr().err
    with pytest.raises(GanfoldError, match=r"0\.png exists"):  # of another command: made otherwise
        change_images(tmp_path / "in", out, change, made_by=lambda _: "setting 2")
    picture(tmp_path / "in" / "0.png", (21, 30))
    with pytest.raises(GanfoldError, match=r"0\.png exists"):  # of another image
        change_images(tmp_path / "in", out, change, made_by=made)


def test_results_beside_their_images_are_no_images(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    change_images(tmp_path, tmp_path, invert)
    before = (tmp_path / "a.png").read_bytes()
    change_images(tmp_path, tmp_path, invert)
    assert (tmp_path / "a.png").read_bytes() == before
    assert [path.name for path in images_in(tmp_path)[0].values()] == ["a.jpg"]


def test_a_batch_of_nothing_usable_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "in" / "small.png", (7, 7))
    with pytest.raises(GanfoldError, match=r"holds no image that can be used: .*small\.png: too small"):
        change_images(tmp_path / "in", tmp_path / "out", same)
    assert not (tmp_path / "out").exists()


def test_sidecars_are_passed_over_and_only_images_must_differ_in_more_than_their_suffix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    picture(folder / "a.jpg")
    for suffix in ("txt", "json", "xmp", "csv", "jpg.xmp"):
        (folder / f"a.{suffix}").write_text("about a")
    (folder / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    (folder / "README").write_text("about all")
    change_images(folder, tmp_path / "out", same)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]
    said = capsys.readouterr().err
    assert said.startswith("Passed over, not images: 2 of .xmp")
    assert all(f"1 of {kind}" in said for kind in (".txt", ".json", ".csv", ".heic", "no suffix"))
    picture(folder / "a.bmp")
    with pytest.raises(GanfoldError, match=r"differ in their suffix alone.*a\.bmp and a\.jpg"):
        change_images(folder, tmp_path / "again", same)


def test_names_are_one_in_both_forms_of_unicode() -> None:
    forms = [Path(unicodedata.normalize(form, "caf\u00e9.png")) for form in ("NFC", "NFD")]
    assert forms[0] != forms[1]
    assert name_of(forms[0]) == name_of(forms[1])


def test_a_picture_larger_than_its_file_can_be_is_refused_before_the_work(tmp_path: Path) -> None:
    path = picture(tmp_path / "in.png", (8, 4200))

    def never(image: Image.Image, _: Path) -> Image.Image:
        raise AssertionError

    with pytest.raises(
        GanfoldError, match=r"32 x 16,800 px, and \.webp holds at most 16,383 a side: end it with \.png"
    ):
        change_images(path, tmp_path / "out.webp", never, scale=4)


def test_no_warning_of_a_library_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    change_images(picture(tmp_path / "panorama.png"), tmp_path / "out.png", same)
    with pytest.raises(GanfoldError, match="decompression bomb: more than 1,000 pixels"):
        opened(picture(tmp_path / "bomb.png", (40, 30)))
    image = Image.open(picture(tmp_path / "in.png", (16, 16)))
    image.save(tmp_path / "odd.tif", compression="tiff_lzw", tiffinfo={65000: "a tag that libtiff does not know"})
    change_images(tmp_path / "odd.tif", tmp_path / "odd.png", same)
    assert not recwarn.list
    assert capfd.readouterr().err == ""
    os.write(2, b"stderr is as before")
    assert capfd.readouterr().err == "stderr is as before"


def test_only_files_and_folders_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(GanfoldError, match="neither a file nor a folder"):  # and does not wait for ever
        opened(tmp_path / "pipe.png")


@pytest.mark.parametrize(("mode", "most"), [("I;16", 7), ("F", 12)])
def test_a_large_picture_of_many_bits_takes_little_memory(tmp_path: Path, mode: str, most: float) -> None:
    side = 1500
    values = np.arange(side * side).reshape(side, side) % 256
    Image.fromarray(values.astype(np.uint16 if mode == "I;16" else np.float32)).save(tmp_path / "large.tif")
    tracemalloc.start()
    try:
        opened(tmp_path / "large.tif")
        assert tracemalloc.get_traced_memory()[1] < most * side**2 + 2e7  # several copies as float64 were 40 a pixel
    finally:
        tracemalloc.stop()


def test_two_commands_do_not_write_one_folder(tmp_path: Path) -> None:
    picture(tmp_path / "in" / "a.png")
    with locked(tmp_path / "out", "making images"), pytest.raises(GanfoldError, match="making images .*is going on in"):
        change_images(tmp_path / "in", tmp_path / "out", same)
    change_images(tmp_path / "in", tmp_path / "out", same)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]
