"""What a folder or archive is: looked at, not guessed by one name; what is left out is said.

Also that what ganfold or a system writes is never data. Looked for in: runs, studies, contact sheets, grids, servers'
thumbnails, trash and archives beside images; IDX, CIFAR, STL and tar in parts; zips and tars of folders.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ganfold import data
from ganfold.errors import GanfoldError
from ganfold.images import grids
from image_files import Load, MakeImage


def fill(folder: Path, make_image: MakeImage, *names: str) -> Path:
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        make_image(i).save(folder / name)
    return folder


def encoded(make_image: MakeImage, seed: int) -> bytes:
    content = io.BytesIO()
    make_image(seed).save(content, "PNG")
    return content.getvalue()


CATS_AND_DOGS = [f"{kind}/{i}.png" for kind in ("cats", "dogs") for i in range(4)]


def test_what_a_system_or_server_adds_is_never_data(tmp_path: Path, load: Load, make_image: MakeImage) -> None:
    added = ("cats/@eaDir/0.png/SYNOPHOTO_THUMB_M.png", "$RECYCLE.BIN/a.png", "#recycle/b.png", "lost+found/c.png")
    more = ("System Volume Information/d.png", "__MACOSX/e.png", ".thumbnails/f.png")
    images = load(fill(tmp_path / "s", make_image, *CATS_AND_DOGS, *added, *more))
    assert list(images.names) == CATS_AND_DOGS
    assert images.findings.classes == {"cats": 4, "dogs": 4}


def test_runs_and_studies_in_the_folder_are_never_data(tmp_path: Path, load: Load, make_image: MakeImage) -> None:
    folder = fill(tmp_path / "s", make_image, *CATS_AND_DOGS)
    before = load(folder)
    fill(folder, make_image, "runs/one/samples/reals.png", "runs/study/figures/x.png")
    for made in ("runs/one/config.json", "runs/one/checkpoints/", "runs/study/settings.json", "runs/study/parts.npz"):
        (folder / made).mkdir() if made.endswith("/") else (folder / made).touch()
    images = load(folder)
    assert images.fingerprint == before.fingerprint
    assert images.findings.classes == {"cats": 4, "dogs": 4}
    fill(tmp_path / "t", make_image, "a.png", "b.png")
    fill(tmp_path / "t" / "run", make_image, "checkpoints/x.png")
    (tmp_path / "t" / "run" / "config.json").touch()
    assert [(f.file, f.why) for f in load(tmp_path / "t").findings.skipped] == [
        ("run", "left out: the folder of a run or study of ganfold")
    ]


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("inside", ["runs/one/", "runs/", ""])
def test_runs_inside_an_archive_are_never_data(
    kind: str, inside: str, tmp_path: Path, load: Load, make_image: MakeImage
) -> None:
    root = tmp_path / "s"
    fill(root / "set", make_image, *CATS_AND_DOGS)
    fill(root / "set" / inside, make_image, "samples/reals.png", "samples/a.png")
    for made in ("config.json", "checkpoints/00001.safetensors"):
        (root / "set" / inside / made).parent.mkdir(exist_ok=True)
        (root / "set" / inside / made).touch()
    fill(root / "set" / "cats", make_image, *(["config.json.png"]))  # no run: only its name is like one's
    target = tmp_path / f"s.{kind}"
    if kind == "tar":
        with tarfile.open(target, "w") as file:
            file.add(root, "top")
    else:
        with zipfile.ZipFile(target, "w") as archive:
            for path in sorted(path for path in root.rglob("*") if path.is_file()):
                archive.write(path, f"top/{path.relative_to(root)}")
    why = "left out: the folder of a run or study of ganfold"
    if not inside:
        with pytest.raises(GanfoldError, match=rf"holds no usable image \(top/set: {why}\)"):
            load(target)
        return
    images = load(target)
    assert images.findings.classes == {"cats": 5 - 1, "dogs": 4}  # config.json.png has the pixels of another
    assert [(f.file, f.why) for f in images.findings.skipped[:1]] == [(f"top/set/{inside.rstrip('/')}", why)]


def test_what_ganfold_writes_for_people_to_look_at_is_never_data(
    photos: Path, load: Load, make_image: MakeImage
) -> None:
    load(photos)
    grids.save_sheet(make_image(60), photos / "sheet.png", {"verdict": "x"})
    frames = [photos.parent / f"{number:05d}.000.png" for number in range(3)]
    for number, frame in enumerate(frames):
        make_image(70 + number).save(frame)
    grids.film(frames, photos / "progress.webp")
    images = load(photos)
    assert [(f.file, f.why) for f in images.findings.skipped] == [
        (name, "left out: a sheet of many images, written by ganfold") for name in ("progress.webp", "sheet.png")
    ]


SHEETS = {  # each place that writes a sheet or grid, and how often
    "data/sheet.py": 1, "training/journal.py": 2, "verbs/sample.py": 1, "verbs/copies.py": 1, "studies/jobs.py": 1,
    "verbs/explore.py": 1,
}  # fmt: skip
SINGLE = {"images/grids.py": 1, "studies/folder.py": 1}


def test_every_png_that_is_written_is_marked_as_a_sheet_or_is_a_single_image() -> None:
    source = Path(data.__file__).parents[1]
    for call, places in (("save_sheet(", SHEETS), ("save_png(", SINGLE)):
        found = {
            str(path.relative_to(source)): path.read_text(encoding="utf-8").replace(f"def {call}", "").count(call)
            for path in source.rglob("*.py")
        }
        assert {name: count for name, count in found.items() if count} == places


def test_generated_images_among_the_data_are_counted_and_said(photos: Path, load: Load, make_image: MakeImage) -> None:
    for number in range(3):
        text = {"run": "r", "seed": "0", "number": str(number)}
        grids.save_png(make_image(80 + number), photos / f"z{number}.png", text)
    findings = load(photos).findings
    assert (findings.used, findings.generated) == (15, 3)
    said = "3 images were made by ganfold (such as z0.png): take them out, unless generated images are meant"
    assert said in findings.warnings
    assert findings.as_reference() == [
        f"3 images of {photos} were made by ganfold: take them out, since a reference holds real images."
    ]
    for path in photos.glob("z*.png"):
        path.unlink()
    assert load(photos).findings.generated == 0
    assert load(photos).findings.as_reference() == []


def test_contact_sheets_and_grids_are_never_data(photos: Path, load: Load, make_image: MakeImage) -> None:
    images = load(photos)
    data.contact_sheet(images, photos / "sheet.png")
    grids.save_png(make_image(50), photos / "000.100.png", {"kimg": "0.1"})
    grids.save_png(make_image(51), photos / "grid.png", {"run": "r", "seed": "0", "start": "0"})
    grids.save_png(make_image(52), photos / "one.png", {"run": "r", "seed": "0", "number": "0"})  # a generated image
    images = load(photos)
    assert [f.file for f in images.findings.skipped] == ["000.100.png", "grid.png", "sheet.png"]
    assert len(images) == 13


@pytest.mark.parametrize("name", ["backup.tar", "images.parquet", "all.zip", "x.npz", "all.7z", "cats/a.png.gz"])
def test_an_archive_beside_images_is_named_and_not_read(
    name: str, tmp_path: Path, load: Load, make_image: MakeImage
) -> None:
    folder = fill(tmp_path / "s", make_image, *CATS_AND_DOGS)
    (folder / name).write_bytes(b"x")
    images = load(folder)
    assert images.findings.classes == {"cats": 4, "dogs": 4}
    why = "an archive or array, not read: give its own path to use it"
    if name.endswith((".7z", ".gz")):
        why = "packed, and not read: unpack it to use it"
    assert [(f.file, f.why) for f in images.findings.skipped] == [(name, why)]


def dataset_zip(path: Path, make_image: MakeImage, labels: object) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for i in range(12):
            file.writestr(f"{i // 8:05d}/img{i:08d}.png", encoded(make_image, i))
        file.writestr("dataset.json", json.dumps(labels))
    return path


def test_a_stylegan_zip_has_the_classes_of_its_dataset_json(tmp_path: Path, load: Load, make_image: MakeImage) -> None:
    labels = {"labels": [[f"{i // 8:05d}/img{i:08d}.png", i % 3] for i in range(12)]}
    images = load(dataset_zip(tmp_path / "a.zip", make_image, labels))
    assert images.findings.classes == {"0": 4, "1": 4, "2": 4}
    assert images.labels is not None
    assert images.labels.tolist() == [i % 3 for i in range(12)]
    assert images.findings.skipped == []
    with zipfile.ZipFile(tmp_path / "a.zip") as file:
        file.extractall(tmp_path / "unpacked")
    assert load(tmp_path / "unpacked").fingerprint == images.fingerprint
    without = load(dataset_zip(tmp_path / "b.zip", make_image, {"labels": None}))
    assert without.labels is None
    assert without.findings.notes == ["dataset.json holds no labels, so there are no classes."]


def test_another_dataset_json_changes_nothing(tmp_path: Path, load: Load, make_image: MakeImage) -> None:
    folder = fill(tmp_path / "s", make_image, *CATS_AND_DOGS)
    (folder / "dataset.json").write_text('{"title": "pets"}')
    assert load(folder).findings.classes == {"cats": 4, "dogs": 4}


def idx(values: np.ndarray) -> bytes:
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


@pytest.mark.parametrize("nested", [False, True])
def test_of_idx_files_in_parts_the_training_part_is_read(nested: bool, tmp_path: Path, load: Load) -> None:
    for part, count in (("train", 20), ("t10k", 10)):
        random = np.random.default_rng(count)
        arrays = (random.integers(0, 255, (count, 28, 28), np.uint8), (np.arange(count) % 10).astype(np.uint8))
        for array, kind in zip(arrays, ("images{}idx3-ubyte", "labels{}idx1-ubyte"), strict=True):
            dash, dot = f"{part}-{kind.format('-')}", f"{part}-{kind.format('.')}"
            (tmp_path / "s" / dash).mkdir(parents=True)
            (tmp_path / "s" / dash / dash).write_bytes(idx(array))
            if not nested:
                (tmp_path / "s" / dot).write_bytes(idx(array))
    images = load(tmp_path / "s")
    assert (len(images), len(images.classes)) == (20, 10)
    assert images.findings.notes[0].startswith("Not read: t10k-images")


def test_pickles_of_cifar_are_refused_with_the_remedy(tmp_path: Path, load: Load) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    for name in ("data_batch_1", "test_batch"):
        (tmp_path / "cifar-10-batches-py" / name).write_bytes(pickle.dumps({b"data": [1]}, 2))
    for source in (tmp_path / "cifar-10-batches-py", tmp_path / "cifar-10-batches-py" / "test_batch"):
        with pytest.raises(GanfoldError, match=r"which could run code: download the binary version of CIFAR-10"):
            load(source)


def test_a_tar_of_class_folders_is_the_folder_it_holds(tmp_path: Path, load: Load, make_image: MakeImage) -> None:
    folder = fill(tmp_path / "s", make_image, *CATS_AND_DOGS, "cats/@eaDir/x.png")
    with tarfile.open(tmp_path / "s.tar", "w") as file:
        file.add(folder, "s")
    images = load(tmp_path / "s.tar")
    assert images.fingerprint == load(folder).fingerprint
    assert images.findings.classes == {"cats": 4, "dogs": 4}
    with tarfile.open(tmp_path / "s.tar.gz", "w:gz") as packed:
        packed.add(folder, "s")
    with pytest.raises(GanfoldError, match=r"is a packed tar: unpack it first, with tar -xf s.tar.gz"):
        load(tmp_path / "s.tar.gz")


def test_folder_entries_of_a_zip_from_windows_are_no_images(tmp_path: Path, load: Load, make_image: MakeImage) -> None:
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as file:
        for kind in ("cats", "dogs"):
            for i in range(-1, 3):
                entry = zipfile.ZipInfo("x")
                entry.filename = f"set\\{kind}\\" + (f"{i}.png" if i >= 0 else "")
                file.writestr(entry, encoded(make_image, i + 10 * (kind == "dogs")) if i >= 0 else b"")
    images = load(tmp_path / "w.zip")
    assert images.findings.found == 6
    assert images.findings.skipped == []
    assert images.findings.classes == {"cats": 3, "dogs": 3}


def test_two_class_folders_of_one_name_are_one_class(tmp_path: Path, load: Load, make_image: MakeImage) -> None:
    images = load(fill(tmp_path / "s", make_image, "caf\u00e9/a.png", "cafe\u0301/b.png", "Bar/c.png", "bar/d.png"))
    assert len(images.classes) == 3
    assert "classes differ only in large and small letters: Bar, bar" in images.findings.warnings


def test_a_folder_named_like_a_bundled_set_is_said(
    tmp_path: Path, load: Load, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plain = load("digits")
    assert plain.findings.notes == []
    fill(tmp_path / "digits", make_image, "a.png", "b.png")
    images = load("digits")
    assert images.fingerprint == plain.fingerprint
    assert images.findings.notes == [
        "This is the bundled set digits, not what lies in digits here: give ./digits for that."
    ]
