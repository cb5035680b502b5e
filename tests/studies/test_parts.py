"""Splits keep together what belongs together; and how many images a class gets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blobs import blobs
from ganfold import data
from ganfold.errors import GanfoldError
from ganfold.studies.generators import train_generator
from ganfold.studies.parts import class_additions, class_targets, group_images, load_labelled, split_by_group
from ganfold.training.request import changed


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 photos, each also a little noisier and mirrored, in two folders."""
    random = np.random.default_rng(0)
    out = tmp_path_factory.mktemp("twice")
    rows = ["file_name,who,label"]
    for number in range(20):
        label = "ab"[number % 2]
        (out / label).mkdir(exist_ok=True)
        # 4 x 4 patches: averaging leaves their differences
        photo = random.integers(0, 236, (4, 4, 3)).repeat(8, 0).repeat(8, 1)
        for name, image in (
            (f"{number}", photo),
            (f"{number}-again", photo + random.integers(0, 6, photo.shape)),
            (f"{number}-mirrored", photo[:, ::-1] + random.integers(0, 6, photo.shape)),
        ):
            Image.fromarray(image.astype(np.uint8)).save(out / label / f"{name}.png")
            rows.append(f"{label}/{name}.png,person {number // 4},{label}")
    (out / "metadata.csv").write_text("\n".join(rows))
    return out


def test_near_copies_are_never_parted(twice: Path) -> None:
    images = load_labelled(twice, progress=False)
    assert images.labels is not None
    groups = group_images(images)
    assert len(set(groups.tolist())) == 20
    rest, part = split_by_group(images.labels, groups, 0.3, seed=0)
    assert not set(groups[rest]) & set(groups[part])
    assert 15 <= len(part) <= 25
    assert abs(images.labels[part].mean() - 0.5) < 0.2
    again = split_by_group(images.labels, groups, 0.3, seed=0)[1]
    np.testing.assert_array_equal(part, again)
    assert set(split_by_group(images.labels, groups, 0.3, seed=1)[1]) != set(part)


def test_groups_by_a_column_are_never_parted(twice: Path) -> None:
    images = load_labelled(twice, progress=False)
    assert images.labels is not None
    groups = group_images(images, "who")
    assert len(set(groups.tolist())) == 5
    with pytest.raises(GanfoldError, match="has no such column; did you mean 'who'|has no such column"):
        group_images(images, "whom")


def test_other_images_stand_alone() -> None:
    images = data.load("digits", resolution=32, held_out=0, progress=False)
    assert len(np.unique(group_images(images))) > 0.99 * len(images)


def test_labels_by_two_rules_are_refused(twice: Path, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for path in sorted((twice / name).iterdir()):
            (tmp_path / name / path.name).write_bytes(path.read_bytes())
    text = (twice / "metadata.csv").read_text()
    (tmp_path / "metadata.csv").write_text(text.replace("a/0.png,person 0,a", "a/0.png,person 0,b"))
    with pytest.raises(GanfoldError, match=r"by two rules at once.*a/0.png lies in a and its metadata says b"):
        load_labelled(tmp_path, progress=False)


def test_one_class_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", images=blobs((10,))[0])
    with pytest.raises(GanfoldError, match="has one class only, or none"):
        load_labelled(tmp_path / "one.npz", progress=False)


def test_what_a_class_is_given() -> None:
    counts = np.array([100, 60, 20])
    assert class_targets(counts, None).tolist() == [100, 100, 100]
    assert class_additions(counts, 1, None).tolist() == [0, 40, 20]  # up to the balance, up to the ratio
    assert class_additions(np.array([100, 99, 20]), 1, None).tolist() == [0, 0, 20]  # nearly balanced is balanced
    assert class_additions(counts, 2, None).tolist() == [0, 40, 40]
    assert class_additions(counts, 0, None).tolist() == [0, 0, 0]
    assert class_additions(counts, 1, 1.5).tolist() == [50, 30, 10]
    assert class_additions(np.array([50, 48]), 1, None).tolist() == [50, 48]  # balanced already: twice


def test_the_generator_is_the_default_by_class_and_made_for_drawings(tmp_path: Path) -> None:
    for name in ("drawings", "photos"):
        images, labels = blobs((10, 10), side=32)
        if name == "drawings":
            images[:] = images[:, :, :1, :1]
        np.savez(tmp_path / f"{name}.npz", images=images, labels=labels, classes=["red", "green"])
        loaded = data.load(tmp_path / f"{name}.npz", held_out=0, progress=False, keep_duplicates=True)
        rows = np.arange(len(loaded))
        run = train_generator(
            loaded,
            rows,
            tmp_path / name,
            gan="rsgan",
            kimg=0.02,
            device="cpu",
            options={"width": 8, "width_d": 8},
            progress=False,
        )
        chosen = changed(run.gan.config)
        assert chosen == {"labels": True, "augment": 0.3, "width": 8, "width_d": 8} | (
            {"flatten": True, "input_noise": 0.35} if name == "drawings" else {}
        )
