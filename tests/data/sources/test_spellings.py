"""Text is text: one file, class or column may be written in several ways, and nothing is dropped in silence.

Looked for in: the columns, values, separators and file names of metadata, labels of npz, and class folders
(test_what_a_folder_is.py).
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from image_files import Load, MakeImage


def write(photos: Path, header: str, row: str, labels: list[str], encoding: str = "utf-8") -> None:
    rows = [row.format(name=f"{i:02}.png", label=labels[i % len(labels)]) for i in range(12)]
    (photos / "metadata.csv").write_text("\n".join([header, *rows]) + "\n", encoding=encoding)


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("file_name, label", "{name}, {label}"),
        ("file_name,Label", "{name},{label}"),
        (" File_Name ,LABEL ", "{name},{label}"),
        ("file_name;label", "{name};{label}"),
        ("file_name\tlabel", "{name}\t{label}"),
        ("file_name,label", ".\\{name},{label}"),
        ("file_name,label", '"{name}", "{label}"'),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_table_is_read_as_people_write_it(header: str, row: str, encoding: str, photos: Path, load: Load) -> None:
    write(photos, header, row, ["a", "b"], encoding)
    images = load(photos)
    assert images.findings.classes == {"a": 6, "b": 6}
    assert images.findings.skipped == []


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["cat", "cat ", "dog"], ("cat", "dog")),
        (["1", "1.0", "2"], ("1", "2")),
        (["1.0", "2.0", "10.0"], ("1", "2", "10")),
        (["0.5", "10.5", "2.5"], ("0.5", "2.5", "10.5")),
        (["caf\u00e9", "cafe\u0301", "bar"], ("bar", "caf\u00e9")),
    ],
)
def test_one_class_has_one_name(labels: list[str], classes: tuple[str, ...], photos: Path, load: Load) -> None:
    write(photos, "file_name,label", "{name},{label}", labels)
    assert load(photos).classes == classes


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_file_is_found_whatever_form_its_accents_have(
    form: Literal["NFC", "NFD"], tmp_path: Path, load: Load, make_image: MakeImage
) -> None:
    for i in range(4):
        make_image(i).save(tmp_path / unicodedata.normalize("NFD" if form == "NFC" else "NFC", f"caf\u00e9{i}.png"))
    rows = [unicodedata.normalize(form, f"Caf\u00e9{i}.PNG,{i % 2}") for i in range(4)]
    (tmp_path / "metadata.csv").write_text("\n".join(["file_name,label", *rows]), encoding="utf-8")
    images = load(tmp_path)
    assert images.findings.classes == {"0": 2, "1": 2}
    assert images.findings.notes[0].startswith("The metadata write 4 names in another way than the files")


def test_a_name_that_fits_two_files_is_not_guessed(tmp_path: Path, load: Load, make_image: MakeImage) -> None:
    for i, name in enumerate(("a.png", "A.png", "b.png")):
        make_image(i).save(tmp_path / name)
    (tmp_path / "metadata.csv").write_text("file_name,x\na.PNG,1\nb.png,2\n")
    assert [f.file for f in load(tmp_path).findings.skipped] == ["a.PNG"]


def test_a_column_that_could_hold_labels_is_named(photos: Path, load: Load) -> None:
    write(photos, "file_name,category", "{name},{label}", ["a", "b"])
    assert load(photos).findings.notes == [
        "The column category of the metadata is not read as labels: name it label if it should be."
    ]


def test_rows_that_contradict_each_other_are_counted(photos: Path, load: Load) -> None:
    write(photos, "file_name,label", "{name},{label}", ["a", "b"])
    with (photos / "metadata.csv").open("a") as file:
        file.write("00.png,b\n01.png,b\n")
    images = load(photos)
    assert images.findings.classes == {"a": 5, "b": 7}
    assert images.findings.notes == [
        "The metadata give 1 image another label than in a row before: the last row counts."
    ]


def test_labels_beside_the_images_of_an_npz_are_read_when_they_fit(tmp_path: Path, load: Load) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), np.uint8)
    np.savez(tmp_path / "a.npz", images, np.arange(12) % 3)
    read = load(tmp_path / "a.npz")
    assert read.findings.classes == {"0": 4, "1": 4, "2": 4}
    assert read.findings.notes == ["The array arr_1 fits the images, and is read as their labels."]
    np.savez(tmp_path / "b.npz", images, np.zeros((12, 5)))
    assert load(tmp_path / "b.npz").findings.notes == ["Not read of b.npz: arr_1 float64 (12, 5)."]
    np.savez(tmp_path / "c.npz", x_train=images, y_train=np.arange(12) % 2, x_test=images)
    assert load(tmp_path / "c.npz").findings.notes == ["Not read of c.npz: x_test uint8 (12, 16, 16, 3)."]


def test_labels_of_bytes_are_text(tmp_path: Path, load: Load) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.array([b"cat", b"dog"] * 6))
    assert load(tmp_path / "a.npz").classes == ("cat", "dog")
    names = np.array(["caf\u00e9".encode(), b"dog"])
    np.savez(tmp_path / "b.npz", images=images, labels=np.arange(12) % 2, classes=names)
    assert load(tmp_path / "b.npz").classes == ("caf\u00e9", "dog")
