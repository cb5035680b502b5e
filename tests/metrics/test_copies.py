"""`copies` of folders and runs: what it finds, what it writes, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ganfold
from ganfold import cli, data
from ganfold.errors import GanfoldError
from ganfold.files import read_json
from ganfold.metrics.copies import Copies
from ganfold.metrics.probing import labelled_images
from ganfold.runs.run import Run
from ganfold.verbs.copies import copies


@pytest.fixture(scope="module")
def avatars() -> np.ndarray:
    images = data.load("avatars", resolution=32, progress=False)
    mixed = np.random.default_rng(0).permutation(len(images))[:600]  # they are in order of their classes
    return np.ascontiguousarray(images.images[mixed].transpose(0, 2, 3, 1))


@pytest.fixture(scope="module")
def reference(avatars: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reference") / "reference.npz"
    np.savez(path, images=avatars[:400])
    return path


def look(generated: np.ndarray, reference: Path, tmp_path: Path, **options: Any) -> Copies:
    np.savez(tmp_path / "made.npz", images=generated)
    defaults: dict[str, Any] = {"features": "pixels", "out": tmp_path, "progress": False}
    return copies(tmp_path / "made.npz", reference, **(defaults | options))


def share_of(copies: Copies, space: str = "pixels") -> float:
    share: float | None = getattr(copies, space).share
    assert share is not None
    return share


def test_planted_copies_are_found_and_shown(avatars: np.ndarray, reference: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 5, avatars[:40].shape)
    planted = (avatars[:40] + noise).clip(0, 255).astype(np.uint8)
    planted[20:] = planted[20:, :, ::-1]
    result = look(np.concatenate([planted, avatars[400:460]]), reference, tmp_path, held_out=0.3)
    assert result.verdict.startswith("near-copies found: 4")
    assert "% of 100 samples lie nearer to a training image than 99 % of held-out images do (in " in result.verdict
    assert any("mostly of one kind" in note for note in result.notes)
    assert result.pixels.real is not None
    assert result.authenticity_real is not None
    assert 0.38 <= share_of(result) <= 0.44
    assert result.pixels.real <= 0.01
    assert result.authenticity < result.authenticity_real
    assert len(result.pairs) == 24
    assert all(pair.is_copy for pair in result.pairs)
    for pair in result.pairs:
        number = int(pair.sample.removeprefix("images[").removesuffix("]"))
        assert pair.training == f"images[{number}]"
    assert {pair.mirrored for pair in result.pairs} == {False, True}
    assert Copies.from_dict(read_json(tmp_path / "copies.json")) == result
    with Image.open(tmp_path / "copies.png") as page:
        assert page.info["verdict"] == result.verdict
        assert page.width < 1200


def test_real_images_in_the_place_of_samples_are_no_copies(
    avatars: np.ndarray, reference: Path, tmp_path: Path
) -> None:
    result = look(avatars[400:], reference, tmp_path)
    assert result.verdict.startswith("near-copies: none found at this threshold among 200 samples")
    assert result.c_t is not None
    assert abs(result.c_t) < 3
    assert any("40 held-out images the threshold is their smallest" in note for note in result.notes)
    assert any("40 of them stand for new real images" in note for note in result.notes)
    assert "none found at this threshold" in result.lines()[0]
    assert any(line.startswith("  in pixels") for line in result.lines())


def test_the_network_sees_mirrored_and_shifted_copies_too(avatars: np.ndarray, tmp_path: Path) -> None:
    """Features are means over places, which hardly change under a small shift."""
    moved = np.roll(avatars[:8, :, ::-1], (1, 2), (1, 2))
    np.savez(tmp_path / "few.npz", images=avatars[:40])
    result = look(moved, tmp_path / "few.npz", tmp_path, features="efficientnet", held_out=0.2)
    assert share_of(result) >= 0.9
    assert share_of(result, "features") >= 0.5


def test_a_copy_among_too_few_to_tell_is_not_hidden(avatars: np.ndarray, reference: Path, tmp_path: Path) -> None:
    result = look(np.concatenate([avatars[:1], avatars[400:430]]), reference, tmp_path)
    assert result.pairs[0].distance == 0
    assert "beyond what chance explains (" in result.verdict


def test_one_image_over_and_over_is_one_image_and_counted_each_time(
    avatars: np.ndarray, reference: Path, tmp_path: Path
) -> None:
    result = look(avatars[:1].repeat(50, 0), reference, tmp_path)
    assert result.notes[0].startswith("All generated images are one and the same")
    assert result.pixels.share == 1
    assert "50 samples" in result.verdict
    assert "any of the 40 held-out images does" in result.verdict


def test_other_sizes_and_channels_are_compared_at_the_smaller_size(
    avatars: np.ndarray, reference: Path, tmp_path: Path
) -> None:
    large = avatars[:30].repeat(2, 1).repeat(2, 2)
    assert share_of(look(large, reference, tmp_path)) >= 0.95
    small = np.stack([np.array(Image.fromarray(image).resize((16, 16), 1)) for image in avatars[:30]])
    result = look(small, reference, tmp_path)
    assert "16 px" in result.protocol["images"]
    grey = np.random.default_rng(0).integers(0, 256, (30, 32, 32), dtype=np.uint8)
    assert look(grey, reference, tmp_path).pixels.share == 0


def test_without_held_out_images_there_are_pairs_but_no_verdict(
    avatars: np.ndarray, reference: Path, tmp_path: Path
) -> None:
    result = look(avatars[:30], reference, tmp_path, held_out=0)
    assert result.verdict.startswith("nothing was held out, so there is no threshold")
    assert result.pixels.share is result.c_t is result.authenticity_real is result.pairs[0].is_copy is None
    assert result.authenticity == 0
    assert result.pairs[0].distance == 0
    assert result.lines()


def test_a_run_is_compared_with_its_own_images(squares: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options: dict[str, Any] = {"kimg": 0.1, "batch": 16, "width": 8, "resolution": 16, "seed": 1}
    ganfold.train("dcgan", squares, run, held_out=0.2, progress=False, **options)
    result = copies(run, features="pixels", count=40, progress=False)
    assert result.pairs[0].sample.startswith("sample ")
    assert read_json(run / "copies.json")["verdict"] == result.verdict
    assert (run / "copies.png").exists()
    assert result.lines()[-1] == f"The pairs most alike: {run / 'copies.png'}"
    assert result.image_files() == [run / "copies.png"]
    again = copies(Run(run), features="pixels", count=40, progress=False, out=tmp_path / "elsewhere")
    assert again == result
    assert (tmp_path / "elsewhere" / "copies.json").exists()
    with pytest.raises(GanfoldError, match="is a run and knows what it held out: leave out --held-out"):
        copies(run, held_out=0.2, features="pixels")
    named = copies(run, squares, features="pixels", count=40, progress=False)  # where its images are now
    assert named.pairs == result.pairs

    ganfold.train("dcgan", squares, tmp_path / "none", progress=False, **options)
    result = copies(tmp_path / "none", features="pixels", count=4)
    assert result.notes[0].startswith("Nothing was held out: half of the training images stand for new ones")
    assert result.pixels.threshold is not None
    assert result.verdict.startswith("near-copies: none found")


def test_a_run_whose_images_are_others_now(squares: Path, tmp_path: Path) -> None:
    source = tmp_path / "mine.npz"
    shutil.copy(squares, source)
    options: dict[str, Any] = {"kimg": 0.05, "batch": 16, "width": 8, "resolution": 16, "progress": False}
    ganfold.train("dcgan", source, tmp_path / "run", **options)
    np.savez(source, images=np.load(squares)["images"][:90])
    with pytest.raises(GanfoldError, match="trained on other images .*restore them"):
        copies(tmp_path / "run", features="pixels")


def test_mistakes_are_one_sentence(avatars: np.ndarray, reference: Path, tmp_path: Path) -> None:
    with pytest.raises(GanfoldError, match="is not a run: give --reference"):
        copies(reference, features="pixels")
    with pytest.raises(GanfoldError, match="no such file or folder"):
        copies(tmp_path / "nothing", reference, features="pixels")
    with pytest.raises(GanfoldError, match="count must be 1 or more"):
        copies(reference, reference, count=0, features="pixels")
    np.savez(tmp_path / "one.npz", images=avatars[:1])
    with pytest.raises(GanfoldError, match="at least 2"):
        look(avatars[:5], tmp_path / "one.npz", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(GanfoldError, match="holds no images"):
        copies(tmp_path / "empty", reference, features="pixels")
    with pytest.raises(GanfoldError, match="there are no features"):
        copies(reference, reference, features="efficient")
    assert not list(tmp_path.glob("copies.*"))


def test_images_that_were_moved_are_named_and_known_by_their_content(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Looked for in `copies`, `evaluate` and `probe`; `report` reads no images."""
    random = np.random.default_rng(0)
    pixels: dict[str, Any] = {"features": "pixels", "progress": False}
    images, labels = random.integers(0, 256, (260, 16, 16, 3), np.uint8), np.arange(260) % 2
    np.savez(tmp_path / "old.npz", images=images, labels=labels)
    np.savez(tmp_path / "other.npz", images=images[:200], labels=labels[:200])
    options: dict[str, Any] = {"batch": 4, "width": 4, "resolution": 16, "kimg": 0.008, "evaluate_every": 0}
    run = ganfold.train(
        "dcgan", data=tmp_path / "old.npz", out=tmp_path / "run", held_out=0.3, progress=False, **options
    )
    moved = (tmp_path / "old.npz").rename(tmp_path / "new.npz")
    for verb in ("copies", "evaluate"):
        assert cli.main([verb, str(run.path), "--features", "pixels"]) == 2
        assert "if they were moved, say by --data where they are now" in capsys.readouterr().err
        assert cli.main([verb, str(run.path), "--features", "pixels", "--data", str(moved), "--count", "60"]) == 0
    found = ganfold.copies(ganfold.load(run.path), data=moved, count=60, **pixels)
    assert "78 held-out" in found.protocol["images"]
    with pytest.raises(GanfoldError, match=r"trained on other images than .*other.npz holds now: .* say by --data"):
        ganfold.copies(run.path, data=tmp_path / "other.npz", **pixels)
    with pytest.raises(GanfoldError, match="is not a run: --data says where the images of a run are now"):
        ganfold.evaluate(moved, reference=moved, data=moved, **pixels)
    probed = labelled_images(run, moved, 10, progress=False)
    assert len(probed.held_out) == 78
