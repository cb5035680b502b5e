"""Many samples as files: the kinds of files, going on after a kill, and what is written beside the network.

Looked for: every kind of `--out`; a kill in the middle of a block, between blocks, and while files are moved; another
request in the folder that a kill has left.
"""

from __future__ import annotations

import json
import os
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ganfold
from ganfold.data import load
from ganfold.runs import writers
from ganfold.runs.run import Run
from ganfold.runs.team import ALONE, Team

SMALL: dict[str, Any] = {"batch": 8, "width": 4, "kimg": 0.008, "evaluate_every": 0, "progress": False}
COUNT, START = 20, 3


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.fixture(scope="module")
def run(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return ganfold.train("cgan", squares, tmp_path_factory.mktemp("runs") / "cgan", z_dim=6, **SMALL)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "BLOCK", 8)
    monkeypatch.setattr(writers, "STRIDE", 4)


def sampled(run: Run, out: Path, **options: Any) -> Path:
    ganfold.sample(run, out, **{"count": COUNT, "start": START, **options})
    return out


def content(out: Path) -> dict[str, bytes]:
    paths = sorted(out.rglob("*.*")) if out.is_dir() else [out]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def names(run: Run) -> list[str]:
    labels = run.labels(COUNT, start=START)
    assert labels is not None
    return [run.classes[label] for label in labels]


def test_an_npz_holds_the_samples_and_their_classes(run: Run, tmp_path: Path) -> None:
    file = np.load(sampled(run, tmp_path / "a.npz"))
    assert np.array_equal(file["images"], run.sample(COUNT, start=START))
    assert [str(file["classes"][label]) for label in file["labels"]] == names(run)


def test_a_tar_is_a_webdataset(run: Run, tmp_path: Path) -> None:
    with tarfile.open(sampled(run, tmp_path / "a.tar")) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}
    assert list(members)[:4] == ["000003.png", "000003.cls", "000003.json", "000004.png"]
    made = [np.asarray(Image.open(BytesIO(members[f"{n:06d}.png"]))) for n in range(START, START + COUNT)]
    assert np.array_equal(np.stack(made), run.sample(COUNT, start=START))
    told = [json.loads(members[f"{n:06d}.json"]) for n in range(START, START + COUNT)]
    assert [line["class"] for line in told] == names(run)
    assert [int(members[f"{n:06d}.cls"]) for n in (3, 4)] == [run.classes.index(name) for name in names(run)[:2]]
    assert told[0] == {"run": str(run.path), "seed": "0", "number": 3, "class": names(run)[0]}


@pytest.mark.parametrize("name", ["a.npz", "a.tar", "a.parquet", "a"])
def test_what_is_written_is_read_as_training_data(run: Run, name: str, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    images = load(sampled(run, tmp_path / name), keep_duplicates=True, held_out=0, cache=tmp_path / "c", progress=False)
    order = np.argsort(np.asarray(names(run)), kind="stable") if name == "a" else np.arange(COUNT)
    assert np.array_equal(images.images.transpose(0, 2, 3, 1), run.sample(COUNT, start=START)[order])
    assert images.labels is not None
    assert [images.classes[label] for label in images.labels] == [names(run)[i] for i in order]


def test_a_label_is_that_of_all_samples(run: Run, tmp_path: Path) -> None:
    label = run.classes[1]
    file = np.load(sampled(run, tmp_path / "a.npz", label=label))
    assert set(file["labels"]) == {1}
    assert np.array_equal(file["images"], run.sample(COUNT, start=START, label=label))


def test_a_png_says_what_it_is_and_has_the_pixels_of_the_sample(run: Run, tmp_path: Path) -> None:
    label = run.classes[0]
    with Image.open(sampled(run, tmp_path / "a", label=label, seed=5) / "000007.png") as image:
        assert image.info == {"run": str(run.path), "seed": "5", "number": "7"}
        assert np.array_equal(np.asarray(image), run.sample(1, 5, 7, label)[0])


def test_the_label_of_a_sample_of_a_class_is_no_folder_and_unknown_suffixes_are_folders(
    run: Run, tmp_path: Path
) -> None:
    out = sampled(run, tmp_path / "v1.2", label=run.classes[0])
    assert sorted(content(out)) == [f"{n:06d}.png" for n in range(START, START + COUNT)]


@pytest.mark.parametrize("name", ["a", "a.npz", "a.tar", "a.parquet"])
@pytest.mark.parametrize("place", [1, 9])  # samples before the kill: it strikes in the first block, or in the second
def test_the_same_command_goes_on_after_a_kill(
    run: Run, name: str, place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    whole = content(sampled(run, tmp_path / "whole" / name))
    pixels, seen = writers.Job.pixels, [0]

    def counted(job: writers.Job, begin: int, count: int) -> np.ndarray:
        seen[0] += count
        if seen[0] > place:
            raise Killed
        return pixels(job, begin, count)

    monkeypatch.setattr(writers.Job, "pixels", counted)
    out = tmp_path / "stopped" / name
    with pytest.raises(Killed):
        sampled(run, out)
    assert not out.exists()
    seen[0] = -1000
    sampled(run, out)
    made = 1000 + seen[0]
    assert content(out) == whole
    assert made == COUNT - {1: 0, 9: 5}[place]  # the first block, of 5, is whole
    assert os.listdir(out.parent) == [name]


def test_what_another_request_has_left_is_not_used(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, join = tmp_path / "a.npz", writers.Npz.join

    def killed(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(writers.Npz, "join", killed)
    with pytest.raises(Killed):
        sampled(run, out, seed=1)
    monkeypatch.setattr(writers.Npz, "join", join)
    assert np.array_equal(np.load(sampled(run, out))["images"], run.sample(COUNT, start=START))


def test_a_kill_while_files_are_moved_into_a_folder_loses_none(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = content(sampled(run, tmp_path / "whole"))
    out, replace, moved = tmp_path / "out", Path.replace, [0]
    (out / "mine").mkdir(parents=True)

    def killed(path: Path, target: Path) -> Path:
        moved[0] += 1
        if moved[0] == 4:
            raise Killed
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(Killed):
            sampled(run, out, force=True)
    next(out.rglob("*.png")).unlink()  # one that was moved
    sampled(run, out, force=True)
    assert content(out) == whole
    assert (out / "mine").is_dir()


def test_a_bar_is_shown_on_a_terminal_alone(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    monkeypatch.setattr("rich.progress.Progress.advance", lambda _, __, more: shown.append(more))
    sampled(run, tmp_path / "none")
    assert shown == []
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    sampled(run, tmp_path / "quiet", progress=False)
    assert shown == []
    sampled(run, tmp_path / "shown")
    assert sum(shown) == COUNT


def test_a_team_of_one_makes_all_rows() -> None:
    assert ALONE.rows(5, 2, lambda begin, count: np.arange(begin, begin + count)).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("count", "world"), [(1, 2), (64, 2), (70, 3), (31, 4)])
def test_the_stretches_of_a_team_are_aligned_and_cover_all_rows(
    count: int, world: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, int]] = []
    for rank in range(world):
        for name, value in {"WORLD_SIZE": world, "RANK": rank, "LOCAL_RANK": 0}.items():
            monkeypatch.setenv(name, str(value))
        team = Team(shared=True)
        monkeypatch.setattr(team, "each", lambda work: [work()])
        if (count, rank) in ((1, 1), (31, 1), (31, 2), (31, 3)):
            continue  # these have none, and nothing to join
        team.rows(count, 32, lambda begin, some: (calls.append((begin, some)), np.zeros(some))[1])
    assert [begin % 32 for begin, _ in calls] == [0] * len(calls)
    assert [n for begin, some in calls for n in range(begin, begin + some)] == list(range(count))
