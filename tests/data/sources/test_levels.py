"""`classes_from`: the level of nested folders that are the classes. Looked for in folders, zips, tars and the rest."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ganfold.data.sources import lookup
from ganfold.data.sources.source import key_of, states
from ganfold.errors import GanfoldError
from image_files import Load, MakeImage

NESTED = {"animals/mammals": 5, "animals/birds": 3, "plants/trees": 4}


@pytest.fixture
def nested(tmp_path: Path, make_image: MakeImage) -> Path:
    seed = 0
    for name, count in NESTED.items():
        (tmp_path / "nested" / name).mkdir(parents=True)
        for _ in range(count):
            make_image(seed).save(tmp_path / "nested" / name / f"{seed}.png")
            seed += 1
    return tmp_path / "nested"


def packed(folder: Path, kind: str) -> Path:
    """The folder itself, or the zip or tar of it."""
    target = folder.with_suffix(f".{kind}")
    if kind == "zip":
        with zipfile.ZipFile(target, "w") as file:
            for path in sorted(folder.rglob("*.png")):
                file.write(path, path.relative_to(folder))
    elif kind == "tar":
        with tarfile.open(target, "w") as archive:
            archive.add(folder, "top")
    return target if target.exists() else folder


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_the_second_level_is_the_classes_where_it_is_requested(kind: str, nested: Path, load: Load) -> None:
    source = packed(nested, kind)
    first, second = load(source), load(source, classes_from=2)
    assert first.findings.classes == {"animals": 8, "plants": 4}
    assert second.findings.classes == {"birds": 3, "mammals": 5, "trees": 4}
    assert first.findings.notes == [
        "The second level of folders would make 3 classes (--classes-from 2): birds 3, mammals 5, trees 4."
    ]
    assert second.findings.notes == [
        "The first level of folders would make 2 classes (without --classes-from): animals 8, plants 4."
    ]
    assert load(source).findings.classes == {"animals": 8, "plants": 4}  # each level has its own place in the cache


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_images_above_the_level_are_left_out_and_said(
    kind: str, nested: Path, load: Load, make_image: MakeImage
) -> None:
    make_image(90).save(nested / "plants" / "moss.png")
    images = load(packed(nested, kind), classes_from=2)
    assert (images.findings.used, images.findings.found) == (12, 13)
    assert [(f.file.removeprefix("top/"), f.why) for f in images.findings.skipped] == [
        ("plants/moss.png", "above the class folders: --classes-from 2 leaves it out")
    ]


def test_labels_in_the_metadata_go_before_any_level(nested: Path, load: Load, make_image: MakeImage) -> None:
    make_image(90).save(nested / "moss.png")
    rows = [f"{path.relative_to(nested).as_posix()},moss" for path in sorted(nested.rglob("*.png"))]
    rows[0] = rows[0].replace(",moss", ",fern")
    (nested / "metadata.csv").write_text("\n".join(["file_name,label", *rows]))
    images = load(nested, classes_from=2)
    assert images.findings.classes == {"fern": 1, "moss": 12}
    assert images.findings.skipped == []
    assert (
        "The metadata give 12 images another label than the sub-folder says, such as animals/birds/5.png (fern): "
        "the metadata count."
    ) in images.findings.notes


def test_folders_of_one_name_at_the_level_are_one_class(tmp_path: Path, load: Load, make_image: MakeImage) -> None:
    for seed, name in enumerate(("summer/cats", "summer/dogs", "winter/cats")):
        (tmp_path / "s" / name).mkdir(parents=True)
        make_image(seed).save(tmp_path / "s" / name / "x.png")
    images = load(tmp_path / "s", classes_from=2)
    assert images.findings.classes == {"cats": 2, "dogs": 1}
    assert images.findings.notes[0] == (
        "Folders of one name are one class: cats (such as cats in summer and in winter)."
    )


def test_a_level_that_is_not_there_is_refused(nested: Path, tmp_path: Path, load: Load) -> None:
    for kind in ("folder", "zip", "tar"):
        with pytest.raises(GanfoldError, match=r"no folders of level 3 for --classes-from 3: give --classes-from 2 at"):
            load(packed(nested, kind), classes_from=3)
    with pytest.raises(GanfoldError, match=r"no folders of level 2 for --classes-from 2: leave it out"):
        load(nested / "plants", classes_from=2)
    np.savez(tmp_path / "a.npz", images=np.zeros((3, 8, 8), np.uint8))
    for source in ("digits", "avatars/toon-head", tmp_path / "a.npz"):
        with pytest.raises(GanfoldError, match=r"--classes-from 2 chooses class folders, and .* has none: leave it"):
            load(source, classes_from=2)
    with pytest.raises(GanfoldError, match=r"classes_from 0 is out of range"):
        load(nested, classes_from=0)


def test_a_level_of_many_folders_is_told_shortly(tmp_path: Path, load: Load, make_image: MakeImage) -> None:
    for seed in range(20):
        (tmp_path / "s" / "ab"[seed % 2] / f"day{seed:02}").mkdir(parents=True)
        make_image(seed).save(tmp_path / "s" / "ab"[seed % 2] / f"day{seed:02}" / "x.png")
    note = load(tmp_path / "s").findings.notes[0]
    assert note.startswith("The second level of folders would make 20 classes (--classes-from 2): day00 1, ")
    assert note.endswith(", day07 1, and 12 more.")


def test_the_key_of_the_first_level_is_that_of_earlier_versions(nested: Path) -> None:
    keys = [lookup.find_source(nested, level).key for level in (1, 2, 3)]
    assert len(set(keys)) == 3
    assert keys[0] == lookup.find_source(nested).key
    archive = packed(nested, "zip")
    assert lookup.find_source(archive).key == key_of("zip", archive.resolve(), states([archive]))
