"""Every kind of source, its labels, and the sentence for each mistake."""

from __future__ import annotations

import gzip
import io
import os
import struct
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ganfold.data import Finding, ImageSet
from ganfold.errors import GanfoldError
from image_files import Load, MakeImage


def fill(folder: Path, make_image: MakeImage, *names: str) -> Path:
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        make_image(i).save(folder / name)
    return folder


def refused(load: Load, source: str | Path, **options: object) -> str:
    with pytest.raises(GanfoldError) as caught:
        load(source, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def numbers(images: ImageSet) -> list[int]:
    assert images.labels is not None
    labels: list[int] = images.labels.tolist()
    return labels


# ---- classes from folders


def classes(load: Load, source: Path) -> dict[str, str]:
    images = load(source)
    if images.labels is None:
        return {}
    return {name: images.classes[k] for name, k in zip(images.names, numbers(images), strict=True)}


def test_first_level_folders_are_classes(tmp_path: Path, make_image: MakeImage, load: Load) -> None:
    folder = fill(tmp_path / "s", make_image, "dog/a.png", "cat/x/y/b.png", "cat/c.png")
    assert classes(load, folder) == {"cat/c.png": "cat", "cat/x/y/b.png": "cat", "dog/a.png": "dog"}


def test_one_wrapping_folder_is_looked_through(tmp_path: Path, make_image: MakeImage, load: Load) -> None:
    folder = fill(tmp_path / "s", make_image, "w/v/dog/a.png", "w/v/cat/b.png")
    (folder / ".git").mkdir()
    assert classes(load, folder) == {"w/v/dog/a.png": "dog", "w/v/cat/b.png": "cat"}


def test_numbered_folders_sort_by_number(tmp_path: Path, make_image: MakeImage, load: Load) -> None:
    assert load(fill(tmp_path / "s", make_image, "10/a.png", "9/b.png", "2/c.png")).classes == ("2", "9", "10")


def test_a_single_folder_is_no_class(tmp_path: Path, make_image: MakeImage, load: Load) -> None:
    assert load(fill(tmp_path / "s", make_image, "cat/a.png", "cat/b.png")).labels is None


def test_images_beside_sub_folders_mean_no_classes(tmp_path: Path, make_image: MakeImage, load: Load) -> None:
    images = load(fill(tmp_path / "s", make_image, "top.png", "a/a.png", "b/b.png"))
    assert images.labels is None
    assert images.findings.notes == ["1 image outside of the sub-folders, so these are not taken as classes."]


def test_train_and_test_are_not_classes(tmp_path: Path, make_image: MakeImage, load: Load) -> None:
    folder = fill(tmp_path / "s", make_image, "train/cat/a.png", "train/dog/b.png", "test/cat/c.png")
    assert classes(load, folder) == {"train/cat/a.png": "cat", "train/dog/b.png": "dog", "test/cat/c.png": "cat"}
    assert "test, train are parts of one set" in load(folder).findings.notes[0]


def test_a_class_without_usable_images_is_dropped_and_said(tmp_path: Path, make_image: MakeImage, load: Load) -> None:
    folder = fill(tmp_path / "s", make_image, "a/a.png", "c/c.png")
    (folder / "b").mkdir()
    (folder / "b" / "b.png").touch()
    images = load(folder)
    assert (images.classes, numbers(images)) == (("a", "c"), [0, 1])
    assert "no image of the class b is usable" in images.findings.warnings


# ---- metadata


def test_metadata_csv(tmp_path: Path, make_image: MakeImage, load: Load) -> None:
    folder = fill(tmp_path / "s", make_image, "a.png", "sub/b.png", "c.png", "d.png")
    (folder / "metadata.csv").write_text(
        'file_name,label,age,code,note\na.png,10,3,007,"two\nlines"\n./sub/b.png,9,2.5,x,\nlost.png,1,1,1,1\nd.png,,1,1,1\n'
    )
    images = load(folder)
    assert images.classes == ("9", "10")
    assert dict(zip(images.names, numbers(images), strict=True)) == {"a.png": 1, "sub/b.png": 0}
    assert images.attributes is not None
    assert list(images.attributes) == [
        {"age": 3, "code": "007", "note": "two\nlines"},
        {"age": 2.5, "code": "x", "note": None},
    ]
    assert images.findings.skipped == [
        Finding("lost.png", "no such file: named in metadata.csv, line 5"),
        Finding("c.png", "no row in the metadata"),
        Finding("d.png", "no label in the metadata"),
    ]


def test_metadata_jsonl_in_sub_folders_leaves_folder_classes(tmp_path: Path, make_image: MakeImage, load: Load) -> None:
    folder = fill(tmp_path / "s", make_image, "cat/a.png", "dog/b.png", "dog/c.png")
    (folder / "cat" / "metadata.jsonl").write_text('{"file_name": "a.png", "hair": "ü"}\n\n')
    (folder / "dog" / "metadata.jsonl").write_text('{"file_name": "c.png", "hair": ["x", 1]}\n')
    images = load(folder)
    assert images.classes == ("cat", "dog")
    assert images.attributes is not None
    assert images.attributes[0:3] == [{"hair": "ü"}, {}, {"hair": ["x", 1]}]
    assert images.findings.notes == ["1 image without a row in the metadata, used all the same (such as dog/b.png)."]


def test_metadata_with_masks_trains_on_the_images_alone(tmp_path: Path, make_image: MakeImage, load: Load) -> None:
    folder = fill(tmp_path / "s", make_image, "i/a.png", "m/a.png")
    (folder / "metadata.csv").write_text("image_file_name,mask_file_name\ni/a.png,m/a.png\n")
    images = load(folder)
    assert list(images.names) == ["i/a.png"]
    assert images.attributes is not None
    assert images.attributes[0] == {"mask_file_name": "m/a.png"}
    assert images.findings.skipped == [Finding("m/a.png", "no row in the metadata")]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("metadata.jsonl", '{"file_name": "00.png"}\n{oops\n', "metadata.jsonl, line 2: Expecting property name"),
        ("metadata.jsonl", "[1]\n", "metadata.jsonl, line 1: it is not a JSON object"),
        ("metadata.jsonl", '{"file": "00.png"}\n', "metadata.jsonl, line 1: it needs a column file_name"),
        ("metadata.jsonl", '{"file_name": "00.png", "label": [1]}\n', "line 1: a label must be a text or a number"),
        ("metadata.csv", "file_name,x\n00.png,1\n01.png\n", "metadata.csv, line 3: it has not as many fields"),
        ("metadata.csv", "file_name,x\n00.png,1,2\n", "metadata.csv, line 2: it has not as many fields"),
        ("metadata.csv", "name,x\n00.png,1\n", "metadata.csv, line 2: it needs a column file_name"),
    ],
)
def test_a_bad_metadata_line_is_named(name: str, text: str, message: str, photos: Path, load: Load) -> None:
    (photos / name).write_text(text)
    assert message in refused(load, photos)


def test_metadata_in_another_encoding(photos: Path, load: Load) -> None:
    (photos / "metadata.csv").write_bytes(b"file_name,x\n00.png,\xff\n")
    assert "it is not UTF-8 text" in refused(load, photos)


# ---- zips


def packed(path: Path, folder: Path, method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_is_the_folder_it_holds(method: int, tmp_path: Path, make_image: MakeImage, load: Load) -> None:
    folder = fill(tmp_path / "s", make_image, "cat/a.png", "dog/ü.png", "dog/c.png")
    (folder / "metadata.csv").write_text("file_name,x\ncat/a.png,1\n", encoding="utf-8")
    zipped, plain = load(packed(tmp_path / "s.zip", folder, method)), load(folder)
    assert zipped.fingerprint == plain.fingerprint
    assert list(zipped.names) == list(plain.names)
    assert zipped.attributes is not None
    assert zipped.attributes[0] == {"x": 1}


def test_a_self_extracting_zip_and_one_with_64_bit_fields(tmp_path: Path, photos: Path, load: Load) -> None:
    path = tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in photos.iterdir():
            with archive.open(file.name, "w", force_zip64=True) as entry:
                entry.write(file.read_bytes())
    (tmp_path / "sfx.zip").write_bytes(b"#!/bin/sh\n" * 100 + path.read_bytes())
    assert load(path).fingerprint == load(tmp_path / "sfx.zip").fingerprint == load(photos).fingerprint


def test_a_zip_of_more_than_65535_entries(tmp_path: Path, make_image: MakeImage, load: Load) -> None:
    with zipfile.ZipFile(tmp_path / "big.zip", "w") as archive:
        for i in range(65_540):
            archive.writestr(f"n/{i}.txt", b"")
        for i in range(2):
            file = io.BytesIO()
            make_image(i).save(file, "PNG")
            archive.writestr(f"z/{i}.png", file.getvalue())
    images = load(tmp_path / "big.zip")
    assert (len(images), len(images.findings.skipped)) == (2, 65_540)


def test_what_is_wrong_with_a_zip_is_named(tmp_path: Path, make_image: MakeImage, load: Load, photos: Path) -> None:
    path = tmp_path / "p.zip"
    good = (photos / "00.png").read_bytes()
    other = (photos / "01.png").read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ok.png", good)
        archive.writestr("../out.png", other)
        archive.writestr("/abs.png", other)
        archive.writestr("C:/drive.png", other)
        archive.writestr("__MACOSX/._ok.png", b"x")
        archive.writestr("bomb.png", b"\0" * (2**28 + 1), zipfile.ZIP_DEFLATED)
        archive.writestr("lzma.png", other, zipfile.ZIP_LZMA)
        archive.writestr("flipped.png", other)
        archive.writestr("secret.png", other)
    content = bytearray(path.read_bytes())
    at = content.index(b"flipped.png") + 60
    content[at] ^= 1
    entry = content.rindex(b"secret.png") - 46
    content[entry + 8] |= 1
    path.write_bytes(content)
    images = load(path)
    assert list(images.names) == ["ok.png"]
    assert {f.file: f.why for f in images.findings.skipped} == {
        "../out.png": "outside its folder: a zip entry must not lead out of it",
        "/abs.png": "outside its folder: a zip entry must not lead out of it",
        "C:/drive.png": "outside its folder: a zip entry must not lead out of it",
        "bomb.png": f"decompression bomb: it unpacks to {2**28 + 1:,} bytes",
        "lzma.png": "unreadable: zip compression method 14",
        "flipped.png": "damaged: wrong checksum",
        "secret.png": "encrypted: unpack it with its password first",
    }


def test_a_zip_cut_short(tmp_path: Path, photos: Path, load: Load) -> None:
    whole = packed(tmp_path / "p.zip", photos).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    assert "is not a zip, or cut short: its table of contents is missing" in refused(load, tmp_path / "cut.zip")


# ---- arrays


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (7, 12, 10, 3), np.uint8)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW", "NHW", "NHW1", "fortran"])
def test_npz_layouts(layout: str, rgb: np.ndarray, tmp_path: Path, load: Load) -> None:
    stored = {
        "NHWC": rgb,
        "NCHW": rgb.transpose(0, 3, 1, 2),
        "NHW": rgb[..., 0],
        "NHW1": rgb[..., :1],
        "fortran": np.asfortranarray(rgb),
    }[layout]
    np.savez_compressed(tmp_path / "a.npz", x=stored, y=np.array([3, 3, 10, 10, 3, 3, 10]))
    images = load(tmp_path / "a.npz", fit="crop")
    expected = rgb[:, 1:11].transpose(0, 3, 1, 2)
    assert (images.images == (expected if images.channels == 3 else expected[:, :1])).all()
    assert images.channels == (1 if layout in ("NHW", "NHW1") else 3)
    assert (images.classes, numbers(images)) == (("3", "10"), [0, 0, 1, 1, 0, 0, 1])
    assert images.names[6] == "images[6]"


def test_npz_class_names_and_duplicates(rgb: np.ndarray, tmp_path: Path, load: Load) -> None:
    rgb[4] = rgb[1]
    np.savez(tmp_path / "a.npz", images=rgb, labels=np.array([0, 1, 0, 1, 0, 1, 0]), classes=np.array(["cat", "dog"]))
    images = load(tmp_path / "a.npz")
    assert images.classes == ("cat", "dog")
    assert images.findings.skipped == [Finding("images[4]", "duplicate: the same pixels as images[1]")]
    assert "1 duplicate in different classes, such as images[4] and images[1]" in images.findings.warnings


def test_npy(rgb: np.ndarray, tmp_path: Path, load: Load) -> None:
    np.save(tmp_path / "a.npy", rgb)
    assert (load(tmp_path / "a.npy").images == rgb[:, 1:11].transpose(0, 3, 1, 2)).all()


def test_arrays_that_cannot_be_used(rgb: np.ndarray, tmp_path: Path, load: Load) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, first=rgb, second=rgb)
    assert "has no array named images or x; it holds first uint8 (7, 12, 10, 3), second uint8" in refused(load, path)
    np.savez(path, images=rgb / 255)
    assert "is float64, not uint8 from 0 to 255: save (x * 255).round().astype('uint8')" in refused(load, path)
    np.savez(path, images=rgb[0])
    assert "holds no usable image (images[0]: too small: 3 x 10 px" in refused(
        load, path
    )  # one image is not an array of images
    np.savez(path, images=rgb, labels=np.arange(6))
    assert "labels of" in refused(load, path)
    np.savez(path, images=rgb[..., :2])
    assert "has the shape (7, 12, 10, 2); (N, H, W), (N, H, W, C) or (N, C, H, W) is needed" in refused(load, path)
    np.save(tmp_path / "o.npy", np.array([{"a": 1}], object), allow_pickle=True)
    assert "holds pickled Python objects, which could run code" in refused(load, tmp_path / "o.npy")
    np.savez(path, images=rgb, labels=np.array([None] * 7))
    assert "holds pickled Python objects, which could run code" in refused(load, path)
    np.save(tmp_path / "c.npy", rgb)
    (tmp_path / "c.npy").write_bytes((tmp_path / "c.npy").read_bytes()[:-5])
    assert "is cut short" in refused(load, tmp_path / "c.npy")
    path.write_bytes(path.read_bytes()[:100])
    assert "a.npz is damaged" in refused(load, path)


def idx(values: np.ndarray) -> bytes:
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


@pytest.mark.parametrize("zipped", [False, True])
def test_mnist_files(zipped: bool, tmp_path: Path, load: Load) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 28, 28), np.uint8)
    end, pack = (".gz", gzip.compress) if zipped else ("", bytes)
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    (folder / f"train-images-idx3-ubyte{end}").write_bytes(pack(idx(pixels)))
    (folder / f"train-labels-idx1-ubyte{end}").write_bytes(pack(idx(np.arange(9, dtype=np.uint8))))
    (folder / f"t10k-images-idx3-ubyte{end}").write_bytes(pack(idx(pixels[:2])))
    for source in (tmp_path / "MNIST", folder / f"train-images-idx3-ubyte{end}"):
        images = load(source)
        assert (images.images[:, 0] == pixels).all()
        assert numbers(images) == list(range(9))
    assert load(folder / f"t10k-images-idx3-ubyte{end}").labels is None
    (folder / f"t10k-images-idx3-ubyte{end}").write_bytes(pack(idx(pixels)[:-1]))
    assert "is cut short: its header promises 9" in refused(load, folder / f"t10k-images-idx3-ubyte{end}")


def test_cifar_files(tmp_path: Path, load: Load) -> None:
    random = np.random.default_rng(0)
    records = random.integers(0, 256, (6, 3073), np.uint8)
    records[:, 0] = [0, 1, 2, 0, 1, 2]
    for i in (1, 2):
        (tmp_path / f"data_batch_{i}.bin").write_bytes(records[3 * i - 3 : 3 * i].tobytes())
    (tmp_path / "test_batch.bin").write_bytes(records[:1].tobytes())
    (tmp_path / "batches.meta.txt").write_text("airplane\nautomobile\nbird\n")
    images = load(tmp_path)
    assert (images.images == records[:, 1:].reshape(6, 3, 32, 32)).all()
    assert (images.classes, numbers(images)) == (("airplane", "automobile", "bird"), [0, 1, 2, 0, 1, 2])
    (tmp_path / "test_batch.bin").write_bytes(b"x" * 100)
    assert "its length is not a multiple of 3,073 bytes" in refused(load, tmp_path / "test_batch.bin")


def test_stl_files(tmp_path: Path, load: Load) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 96, 96), np.uint8)
    (tmp_path / "train_X.bin").write_bytes(pixels.tobytes())
    (tmp_path / "train_y.bin").write_bytes(bytes([2, 1, 2]))
    (tmp_path / "unlabeled_X.bin").write_bytes(pixels[:2].tobytes())
    (tmp_path / "class_names.txt").write_text("airplane\nbird\n")
    images = load(tmp_path)
    assert (images.images == pixels.transpose(0, 1, 3, 2)).all()
    assert (images.classes, numbers(images)) == (("airplane", "bird"), [1, 0, 1])
    assert load(tmp_path / "unlabeled_X.bin").labels is None


# ---- mistakes


def test_paths_that_are_not_there(tmp_path: Path, photos: Path, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused(load, "fotos") == "no such file or folder: fotos; did you mean 'photos'?"
    assert refused(load, "avatar") == "no such file or folder: avatar; did you mean 'avatars'?"
    assert refused(load, "photos/xyz") == "no such file or folder: photos/xyz"
    assert refused(load, "my/photos.zip") == "no such file or folder: my/photos.zip"
    assert refused(load, "./digits") == "no such file or folder: ./digits; did you mean 'digits'?"
    (tmp_path / "link").symlink_to("nowhere")
    assert refused(load, "link") == "cannot read link: it is a broken link to nowhere"
    (tmp_path / "loop").symlink_to("loop")
    assert refused(load, "loop") == "cannot read loop: Too many levels of symbolic links"


def test_a_folder_named_like_a_bundled_set(
    tmp_path: Path, make_image: MakeImage, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "digits", make_image, "a.png", "b.png")
    assert len(load("./digits")) == len(load(Path("digits"))) == 2
    assert len(load("digits")) == 5000


def test_nothing_usable(tmp_path: Path, load: Load) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    assert refused(load, folder) == f"{folder} holds no images"
    (folder / "a.png").touch()
    (folder / "b.png").write_text("text")
    (folder / "c.txt").write_text("text")
    assert refused(load, folder) == (
        f"{folder} holds no usable image (c.txt: not an image by its suffix; a.png: empty file; b.png: not an image)"
    )


def test_a_file_that_is_no_set(photos: Path, load: Load) -> None:
    assert "00.png is none of the files that can be read" in refused(load, photos / "00.png")


def test_folders_deeper_than_pythons_stack(tmp_path: Path, make_image: MakeImage, load: Load) -> None:
    fill(tmp_path / "s", make_image, "b.png", "c.png")
    deep = str(tmp_path / "s")
    for _ in range(1200):
        deep += "/d"
        os.mkdir(deep)
    (tmp_path / "s" / "c.png").rename(deep + "/c.png")
    try:
        assert len(load(tmp_path / "s")) == 2
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path / "s")], check=True)  # shutil.rmtree cannot


def test_a_folder_that_holds_only_itself(tmp_path: Path, load: Load) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "s").symlink_to(tmp_path / "s")
    assert refused(load, tmp_path / "s") == f"{tmp_path / 's'} holds no usable image (s: symlink loop)"


def test_generated_images_may_repeat(load: Load, tmp_path: Path) -> None:
    images = np.repeat(np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8), 4, 0)
    np.save(tmp_path / "samples.npy", images)
    assert len(load(tmp_path / "samples.npy")) == 3
    assert len(load(tmp_path / "samples.npy", keep_duplicates=True)) == 12
