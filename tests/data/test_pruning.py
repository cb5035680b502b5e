"""The size limit of the cache: oldest first, never what is in use, killed at any point."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import ganfold
from ganfold.data import cache as data_cache
from ganfold.data import pruning
from ganfold.errors import GanfoldError
from image_files import Load


@pytest.fixture
def sets(tmp_path: Path) -> list[Path]:
    """Three array files, each of 300 random images of 16 px: 77 kB."""
    paths = [tmp_path / f"{name}.npy" for name in ("first", "second", "third")]
    for seed, path in enumerate(paths):
        np.save(path, np.random.default_rng(seed).integers(0, 256, (300, 16, 16), np.uint8))
    return paths


def sources(cache: Path) -> list[str]:
    return [Path(entry.sources[0]).stem for entry in pruning.entries(cache)]


def test_a_new_entry_over_the_limit_removes_what_was_used_first(
    sets: list[Path], cache: Path, load: Load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in sets[:2]:
        load(path)
        time.sleep(0.02)  # the times of folders are that coarse
    load(sets[0])  # used again: the second is the older one
    gc.collect()
    assert sources(cache) == ["second", "first"]
    assert capsys.readouterr().err == ""
    monkeypatch.setenv(pruning.LIMIT, "200kB")
    load(sets[2])
    assert sources(cache) == ["first", "third"]
    said = capsys.readouterr().err
    assert said.startswith(f"The cache passed its limit of 200 kB: {sets[1]} (")
    assert said.count("\n") == 1
    assert pruning.total_size(cache) < 200_000
    assert list((cache / "building").iterdir()) == []


def test_what_is_in_use_stays_whatever_the_limit_is(sets: list[Path], cache: Path, load: Load) -> None:
    used, pixels = load(sets[0]), np.load(sets[0])
    load(sets[1])
    gc.collect()
    listed = ganfold.cache(cache=cache)
    assert [(Path(entry.sources[0]).stem, entry.in_use) for entry in listed.entries] == [
        ("second", False),
        ("first", True),
    ]
    pruned = ganfold.cache(prune=True, limit="0", cache=cache)
    assert [Path(entry.sources[0]).stem for entry in pruned.removed] == ["second"]
    assert sources(cache) == ["first"]
    assert "all that is left is in use" in str(pruned)
    row = used.images[7]  # a view keeps the map, and the map keeps the lock
    del used
    gc.collect()
    assert ganfold.cache(prune=True, limit="0", cache=cache).removed == ()
    assert (row[0] == pixels[7]).all()
    del row
    gc.collect()
    assert len(ganfold.cache(prune=True, limit="0", cache=cache).removed) == 1
    assert sources(cache) == []


def test_another_process_keeps_what_it_has_open(sets: list[Path], cache: Path) -> None:
    code = (
        f"from ganfold.data import load; images = load({str(sets[0])!r}, cache={str(cache)!r})\n"
        "print(len(images), flush=True); input()"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout
    assert child.stdout.readline() == "300\n"
    assert ganfold.cache(prune=True, limit="0", cache=cache).removed == ()
    child.kill()
    child.wait()
    assert len(ganfold.cache(prune=True, limit="0", cache=cache).removed) == 1


def test_no_entry_is_removed_between_its_making_and_its_opening(
    sets: list[Path], cache: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = data_cache.find_entry

    def pruned_before(folder: Path, key: str) -> data_cache.Prepared | None:
        assert pruning.prune(folder, 0) == []  # as another process would
        return find(folder, key)

    monkeypatch.setattr("ganfold.data.prepare.find_entry", pruned_before)
    assert len(load(sets[0])) == 300


@pytest.mark.parametrize("place", [1, 2])
def test_a_removal_that_is_killed_leaves_no_half_entry(
    place: int, sets: list[Path], cache: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(sets[0])
    gc.collect()
    code = (
        "import os, signal\nfrom pathlib import Path\nfrom ganfold.data import pruning\n"
        "replace, calls = os.replace, []\n"
        "def killed(*paths):\n    replace(*paths); calls.append(paths)\n"
        f"    len(calls) == {place} and os.kill(os.getpid(), signal.SIGKILL)\n"
        f"os.replace = killed\npruning.prune(Path({str(cache)!r}), 0)"
    )
    killed = subprocess.run([sys.executable, "-c", code])
    assert killed.returncode == -signal.SIGKILL
    assert list((cache / "index").iterdir()) == []
    assert len(list((cache / "content").iterdir())) == 2 - place
    assert list((cache / "building").iterdir()) != []
    ganfold.cache(prune=True, limit="0", cache=cache)
    left = [path for part in ("index", "content", "building") for path in (cache / part).iterdir()]
    assert left == []
    assert len(load(sets[0])) == 300


def test_pruning_clears_what_killed_processes_and_damage_left(sets: list[Path], cache: Path, load: Load) -> None:
    load(sets[0])
    load(sets[1])
    gc.collect()
    first, second = (entry.paths for entry in pruning.entries(cache))
    (first[-1] / "images.npy").unlink()
    (second[0] / "entry.json").write_text("{")
    (cache / "building" / "dead.lock").touch()
    (cache / "building" / "dead").mkdir()
    (cache / "native" / f".x.json.{2**22 + 1}.tmp").touch()
    ganfold.cache(prune=True, cache=cache)
    assert list((cache / "building").iterdir()) == []
    assert [path.name for path in (cache / "native").glob(".*")] == []
    assert list((cache / "index").iterdir()) == []
    assert [path.name for path in (cache / "content").iterdir()] == [second[-1].name]  # whole, and found by its content


def test_only_what_the_cache_made_is_removed(sets: list[Path], cache: Path, load: Load) -> None:
    """`GANFOLD_CACHE` may name a folder with other things in it."""
    load(sets[0])
    gc.collect()
    mine = [cache / "content" / "mine" / "a.txt", cache / "features" / "mine.npy", cache / "index" / "b" / "c.txt"]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    features = cache / "features" / f"{'0' * 32}.npy"
    features.write_bytes(bytes(10))
    assert len(ganfold.cache(prune=True, limit="0", cache=cache).removed) == 2
    assert not features.exists()
    assert [path.read_text() for path in mine] == ["mine"] * 3


@pytest.mark.parametrize(
    ("text", "size"), [("20GB", 20e9), ("1.5 TB", 1.5e12), ("512MiB", 2**29), ("0", 0), ("7", 7), ("3k", 3000)]
)
def test_sizes_are_read_as_people_write_them(text: str, size: float) -> None:
    assert pruning.parsed_size(text, "limit") == size


def test_a_limit_that_is_no_size_is_one_sentence(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    with pytest.raises(GanfoldError, match="limit 'much' is not a size: give a number with kB, MB, GB or TB, such as"):
        ganfold.cache(limit="much", cache=cache)
    monkeypatch.setenv(pruning.LIMIT, "-1GB")
    with pytest.raises(GanfoldError, match="GANFOLD_CACHE_LIMIT '-1GB' is not a size"):
        ganfold.cache(cache=cache)


def test_the_limit_is_a_share_of_the_disk_where_nobody_sets_one(cache: Path) -> None:
    state = os.statvfs(cache.parent)
    assert ganfold.cache(cache=cache).limit == state.f_frsize * state.f_blocks // 4
    assert ganfold.cache(cache=cache).entries == ()
    assert not cache.exists()  # to list is not to make
