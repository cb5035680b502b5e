"""`ganfold explore`, and the options of `ganfold sample` that change latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ganfold
from ganfold.cli import main
from ganfold.data.sources.decode import SHEET_XMP
from ganfold.errors import GanfoldError
from ganfold.images import films
from ganfold.latent import inversion, layers
from ganfold.latent.walks import Walk
from ganfold.runs.run import Run
from ganfold.verbs.explore import Options, _moments, explore

SMALL: dict[str, Any] = {"batch": 8, "width": 4, "kimg": 0.008, "evaluate_every": 0, "progress": False}
FEW: dict[str, Any] = {"rows": 2, "columns": 3}


@pytest.fixture(scope="module")
def runs(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A generator from noise, one with classes, and one with codes."""
    folder = tmp_path_factory.mktemp("runs")
    return {
        name: ganfold.train(name, squares, folder / name, z_dim=6, **SMALL) for name in ("dcgan", "cgan", "infogan")
    }


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "COUNT", 64)
    monkeypatch.setattr(inversion, "COMPARED", 32)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "photo.jpg"
    Image.new("RGB", (40, 30), "red").save(path)
    return path


KINDS: list[tuple[str, dict[str, Any]]] = [
    ("samples", {}),
    ("interpolate", {}),
    ("neighbours", {"reach": 0.5}),
    ("truncate", {}),
    ("truncate", {"features": True}),
    ("mix", {}),
    ("directions", {}),
    ("directions", {"by": "pca"}),
    ("arithmetic", {"groups": "1,2 - 3 + 4,5"}),
]


@pytest.mark.parametrize(("what", "options"), KINDS)
@pytest.mark.parametrize("name", ["dcgan", "cgan", "infogan"])
def test_everything_makes_a_sheet_for_each_kind_of_generator(
    runs: dict[str, Run], name: str, what: Any, options: dict[str, Any], tmp_path: Path
) -> None:
    made = explore(runs[name], what, tmp_path / "a.png", **FEW, **options)
    with Image.open(made) as sheet:
        assert sheet.info["ganfold"] == "sheet"
        assert sheet.info["explore"] == what
        assert sheet.height >= 2 * 64
        assert sheet.width >= 3 * 64
    again = explore(runs[name], what, tmp_path / "b.png", **FEW, **options)
    assert again.read_bytes() == made.read_bytes()


def test_numbered_samples_are_the_samples(runs: dict[str, Run], tmp_path: Path) -> None:
    for name in ("dcgan", "cgan"):
        explore(runs[name], "samples", tmp_path / f"{name}.png", rows=2, columns=4, start=3)
        sheet = np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB"))
        tiles = sheet[-2 * 66 + 2 :, -4 * 66 + 2 :]
        third = tiles[66:130:4, 0:64:4]  # the first of the second row, at its own size
        assert (third == runs[name].sample(1, start=7)[0]).all()


@pytest.mark.parametrize("suffix", ["webp", "gif"])
def test_a_film_shows_each_frame_and_repeats(suffix: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (9, 7), colour) for colour in ("red", "green", "blue")]
    films.save(frames, tmp_path / f"a.{suffix}", [60] * 3)
    with Image.open(tmp_path / f"a.{suffix}") as film:
        assert film.n_frames == 3  # type: ignore[attr-defined]
        assert film.info["loop"] == 0
        assert SHEET_XMP in (film.info.get("xmp", b""), film.info.get("comment", b""))


def test_a_film_of_a_path_moves_each_place_through_all_samples() -> None:
    images = np.arange(6, dtype=np.uint8).reshape(2, 3, 1, 1, 1)
    z = torch.zeros(2, 3, 1)

    def seen(**kind: Any) -> list[list[int]]:
        return [moment.flatten().tolist() for moment in _moments(images, Walk(z, ("a", "b"), ("",) * 3, **kind))]

    assert seen(joined=True) == [[0, 3], [1, 4], [2, 5], [3, 0], [4, 1], [5, 2]]
    assert seen(closed=True) == [[0, 3], [1, 4], [2, 5]]
    assert seen() == [[0, 3], [1, 4], [2, 5], [1, 4]]


def test_an_mp4_can_be_read_again(runs: dict[str, Run], tmp_path: Path) -> None:
    import cv2

    try:
        made = explore(runs["dcgan"], "directions", tmp_path / "a.mp4", **FEW)
    except GanfoldError as error:
        assert "writes no MP4: end --out with .webp or .gif" in str(error)  # noqa: PT017  this OpenCV has no codec
        return
    film = cv2.VideoCapture(str(made))
    count = 0
    while film.read()[0]:
        count += 1
    assert count == 4  # there and back
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_an_image_is_looked_for_and_its_latents_go_on(
    runs: dict[str, Run], image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(runs["cgan"].path)
    out = str(tmp_path / "fit.png")
    words = ["explore", run, "invert", "--image", str(image), "--out", out, "--steps", "6", "--starts", "3"]
    assert main([*words, "--columns", "4", "--rows", "2"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == out
    assert "of 255 levels" in said[1]
    assert said[2].startswith("The nearest one is of the class ")
    found = np.load(tmp_path / "fit.npy")
    assert found.shape == (3, 6)
    assert found.dtype == np.float32
    z = ["--z", str(tmp_path / "fit.npy")]
    assert main(["explore", run, "directions", *z, "--out", str(tmp_path / "edit.png")]) == 0
    assert main(["sample", run, *z, "--label", "1", "--out", str(tmp_path / "s")]) == 0
    files = sorted((tmp_path / "s").iterdir())
    assert len(files) == 3
    assert (np.asarray(Image.open(files[2])) == runs["cgan"].sample(3, label="1", z=found)[2]).all()


def test_latents_alone_are_those_of_the_sheet(runs: dict[str, Run], tmp_path: Path) -> None:
    made = explore(runs["dcgan"], "interpolate", tmp_path / "a.npy", **FEW)
    z = np.load(made)
    assert z.shape == (6, 6)
    assert (z[0] == runs["dcgan"].latents(1)[0]).all()
    assert (runs["dcgan"].sample(6, z=z) == runs["dcgan"].interpolate([0, 1], 3)).all()


WRONG: list[tuple[str, str, dict[str, Any], str]] = [
    ("dcgan", "samples", {"out": "a.jpg"}, "end --out with .png for a sheet, .webp, .gif or .mp4 for a film"),
    ("dcgan", "samples", {"reach": 1}, "--reach belongs to `directions and neighbours`, not to `samples`"),
    ("dcgan", "directions", {"image": "a.png"}, "--image belongs to `invert`"),
    ("dcgan", "invert", {}, "`invert` needs --image: give a file"),
    ("dcgan", "arithmetic", {}, "`arithmetic` needs --groups"),
    ("dcgan", "arithmetic", {"groups": "1 minus 2"}, "groups must be numbers of samples with commas"),
    ("dcgan", "invert", {"image": "gone.png"}, "no such file or folder: gone.png"),
    ("dcgan", "directions", {"by": "codes"}, "has no codes: give --by sefa or --by pca"),
    ("cgan", "directions", {"by": "classes"}, "takes labels: `mix` shows its classes"),
    ("dcgan", "samples", {"label": "0"}, "takes no label: dcgan was trained without"),
    ("cgan", "samples", {"label": "none"}, "no class 'none'"),
    ("dcgan", "samples", {"z": "gone.npy"}, "there is no file gone.npy"),
    ("dcgan", "samples", {"start": -1}, "start must be 0 or more"),
    ("dcgan", "neighbours", {"reach": 2}, "a share, at most 1, not 2"),
    ("dcgan", "truncate", {"features": True, "out": "a.npy"}, "--features changes no latent"),
    ("dcgan", "arithmetic", {"groups": "1", "z": "a.npy"}, "--z does not go with `arithmetic`"),
]


@pytest.mark.parametrize(("name", "what", "options", "sentence"), WRONG)
def test_what_does_not_fit_is_one_sentence(
    runs: dict[str, Run], name: str, what: Any, options: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    out = tmp_path / options.pop("out", "a.png")
    with pytest.raises(GanfoldError, match=sentence):
        explore(runs[name], what, out, **options)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_replaced_without_force(runs: dict[str, Run], image: Path, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"mine")
    with pytest.raises(GanfoldError, match=r"a\.npy exists: give --out another name, or --force"):
        explore(runs["dcgan"], "invert", tmp_path / "a.png", image=image, steps=4)
    assert (tmp_path / "a.npy").read_bytes() == b"mine"


def test_a_generator_from_images_says_what_it_can_do(squares: Path, tmp_path: Path) -> None:
    painter = ganfold.train("context-encoder", squares, tmp_path / "ce", **SMALL)
    with pytest.raises(GanfoldError, match="use `ganfold inpaint` with this run"):
        explore(painter, "samples", tmp_path / "a.png")
    with pytest.raises(GanfoldError, match="use `ganfold inpaint` with this run"):
        painter.directions()


def test_a_sample_takes_codes_shares_and_truncation(runs: dict[str, Run], tmp_path: Path) -> None:
    info, classes = runs["infogan"], runs["cgan"]
    assert (
        main(["sample", str(info.path), "--code", "0=3", "1=-0.5", "--count", "2", "--out", str(tmp_path / "a")]) == 0
    )
    expected = info.sample(2, z=info.latents(2, code={0: 3, 1: -0.5}))
    files = sorted((tmp_path / "a").iterdir())
    assert (np.stack([np.asarray(Image.open(path)) for path in files]) == expected).all()
    assert (expected != info.sample(2)).any()
    assert (info.latents(3, truncation=0.5) == info.latents(3) * np.float32(0.5)).all()
    assert np.allclose(info.sample(3, z=info.latents(3)), info.sample(3))
    name = classes.classes[2]
    ganfold.sample(classes, tmp_path / "b", count=5, shares=[f"{name}=1"])
    assert [path.name for path in (tmp_path / "b").iterdir()] == [name]
    drawn = classes.labels(400, shares={classes.classes[0]: 3, classes.classes[1]: 1})
    assert drawn is not None
    assert set(drawn) == {0, 1}
    assert 0.65 < float((drawn == 0).mean()) < 0.85


def test_a_sample_of_a_file_takes_its_rows(runs: dict[str, Run], tmp_path: Path) -> None:
    run = runs["dcgan"]
    z = run.latents(5, seed=9)
    np.save(tmp_path / "z.npy", z)
    ganfold.sample(run, tmp_path / "all", z=tmp_path / "z.npy")
    ganfold.sample(run, tmp_path / "some", z=tmp_path / "z.npy", start=3, count=2)
    assert len(list((tmp_path / "all").iterdir())) == 5
    made = [np.asarray(Image.open(tmp_path / "some" / f"{number:06d}.png")) for number in (3, 4)]
    assert (np.stack(made) == run.sample(5, z=z)[3:]).all()
    wrongs: list[dict[str, Any]] = [{"count": 6}, {"start": 5}]
    for wrong in wrongs:
        with pytest.raises(GanfoldError, match="holds 5 latents, not 6: give a lower --count or --start"):
            ganfold.sample(run, tmp_path / "more", z=tmp_path / "z.npy", **wrong)
    assert not (tmp_path / "more").exists()


def test_the_options_have_a_description() -> None:
    from ganfold.interface.options import described

    assert [field.name for field in described(Options) if not field.help] == []
