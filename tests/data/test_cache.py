"""The cache: found again, shared, repaired, and never half written; and which images are held out."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ganfold import data
from ganfold.data import cache as data_cache
from ganfold.data import prepare, work
from ganfold.data.sources import decode
from ganfold.data.sources.lookup import find_source
from ganfold.errors import GanfoldError
from image_files import Load, MakeImage


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Collects everything that is decoded while the test runs."""
    seen: list[object] = []
    convert = decode.convert

    def spy(raw: decode.Raw, shape: decode.TargetShape) -> object:
        seen.append(raw)
        return convert(raw, shape)

    monkeypatch.setattr(decode, "convert", spy)
    return seen


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """600 random images of 8 px in three classes, one of them with a single image."""
    random = np.random.default_rng(0)
    path = tmp_path / "noise.npz"
    labels = np.arange(600) % 2
    labels[17] = 2
    np.savez(path, images=random.integers(0, 256, (600, 8, 8), np.uint8), labels=labels)
    return path


def test_the_second_time_nothing_is_decoded(photos: Path, load: Load, decoded: list[object]) -> None:
    first = load(photos)
    assert len(decoded) == 12
    second = load(photos)
    assert len(decoded) == 12
    assert second.fingerprint == first.fingerprint
    assert second.findings == first.findings
    assert isinstance(second.images, np.memmap)
    load(photos, resolution=lambda native: native // 2)
    load(photos, resolution=lambda native: native // 2)
    assert len(decoded) == 24


def test_other_options_are_other_entries(photos: Path, load: Load) -> None:
    shapes = [load(photos, **options).images.shape for options in ({}, {"channels": 1}, {"resolution": 16})]
    assert shapes == [(12, 3, 32, 32), (12, 1, 32, 32), (12, 3, 16, 16)]
    assert len(load(photos, held_out=0.5).held_out) == 6
    assert len(load(photos).held_out) == 0


def test_a_touched_folder_is_decoded_again_but_stored_once(
    photos: Path, load: Load, cache: Path, decoded: list[object]
) -> None:
    first = load(photos)
    os.utime(photos / "03.png", ns=(1, 1))
    assert load(photos).fingerprint == first.fingerprint
    assert len(decoded) == 24
    assert len(list((cache / "content").iterdir())) == 1
    assert len(list((cache / "index").iterdir())) == 2


def test_a_changed_folder_is_seen(photos: Path, load: Load, make_image: MakeImage) -> None:
    first = load(photos)
    make_image(99).save(photos / "03.png")
    second = load(photos)
    assert second.fingerprint != first.fingerprint
    assert (second.images[3] == np.asarray(make_image(99)).transpose(2, 0, 1)).all()


@pytest.mark.parametrize("damage", ["cut", "gone", "names", "entry", "labels"])
def test_a_damaged_entry_is_made_anew_with_one_note(
    damage: str, noise: Path, load: Load, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = load(noise)
    images, labels = np.array(first.images), np.array(first.labels)
    fingerprint = first.fingerprint
    del first  # its maps would show the damage
    (content,), (index,) = (list((cache / part).iterdir()) for part in ("content", "index"))
    path = {
        "cut": content / "images.npy",
        "gone": content / "images.npy",
        "names": index / "names.bin",
        "entry": index / "entry.json",
        "labels": content / "labels.npy",
    }[damage]
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-10])
    again = load(noise)
    assert capsys.readouterr().err == f"The cache entry {index} is damaged, so it is made anew.\n"
    assert again.fingerprint == fingerprint
    assert np.array_equal(again.images, images)
    assert again.labels is not None
    assert np.array_equal(again.labels, labels)
    assert list(again.names) == [f"images[{i}]" for i in range(600)]


FILES = ("images.npy", "labels.npy", "held_out.npy", "names.npy", "names.bin", "entry.json", "verified.json")
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "short": lambda content: content[: len(content) // 2],
    "header": lambda content: content[:60] + b"((((" + content[64:],
    "zeros": lambda content: bytes(len(content)),
    "deep": lambda content: b"[" * 200_000,
    "huge": lambda content: content.replace(b"(60", b"(2**60, 60").replace(b"(600,", b"(999999999999,"),
    "list": lambda content: b"[]",
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_no_damage_of_any_file_is_trusted(name: str, damage: str, noise: Path, load: Load, cache: Path) -> None:
    first = load(noise)
    images, held_out, names = np.array(first.images), first.held_out, list(first.names)
    del first
    path = next(cache.rglob(name))
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    for _ in range(2):
        again = load(noise)
        assert np.array_equal(again.images, images)
        assert np.array_equal(again.held_out, held_out)
        assert list(again.names) == names


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "held_out.npy"])
@pytest.mark.parametrize("is_large", [False, True])
def test_flipped_values_are_noticed(
    name: str, is_large: bool, noise: Path, load: Load, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_cache, "ALWAYS", 200 if is_large else 2**27)
    first = load(noise)
    images, labels, fingerprint = np.array(first.images), np.array(first.labels), first.fingerprint
    del first
    (path,) = cache.rglob(name)
    state, content = path.stat(), bytearray(path.read_bytes())
    content[-100:] = bytes(value ^ 1 for value in content[-100:])
    path.write_bytes(content)
    if not is_large:
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))  # as if the disk had done it
    again = load(noise)
    assert again.fingerprint == fingerprint
    assert np.array_equal(again.images, images)
    assert again.labels is not None
    assert np.array_equal(again.labels, labels)


def test_large_content_is_read_again_only_if_its_state_changed(
    noise: Path, load: Load, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(data_cache, "ALWAYS", 200)
    read: list[str] = []
    digest = data_cache._digest

    def spy(folder: Path, names: tuple[str, ...], classes: tuple[str, ...] = ()) -> str:
        read.append(folder.parent.name)
        return digest(folder, names, classes)

    load(noise)
    monkeypatch.setattr(data_cache, "_digest", spy)
    load(noise)
    assert not read
    for verified in list(cache.rglob("verified.json")):
        verified.unlink()  # as in a cache of an earlier version
    for _ in range(3):
        load(noise)
    assert sorted(read) == ["content", "index"]
    os.utime(next(cache.rglob("images.npy")))
    for _ in range(3):
        load(noise)
    assert sorted(read) == ["content", "content", "index"]
    assert capsys.readouterr().err == ""


def test_a_part_of_large_content_is_read_each_time(
    noise: Path, load: Load, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A disk that loses a bit gives the file no new time; each opening reads another part of it, at a bounded cost."""
    monkeypatch.setattr(data_cache, "ALWAYS", 10_000)
    first = load(noise)
    images = np.array(first.images)
    del first
    (path,) = cache.rglob("images.npy")
    state, content = path.stat(), bytearray(path.read_bytes())
    content[25_000] ^= 1  # in part 2
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    part = 0
    monkeypatch.setattr(data_cache, "secrets", SimpleNamespace(randbelow=lambda count: part % count))
    for part in (0, 1, 3):  # noqa: B007  read by the lambda
        assert not np.array_equal(load(noise).images, images)
    assert capsys.readouterr().err == ""
    part = 2
    assert np.array_equal(load(noise).images, images)
    assert "is damaged, so it is made anew" in capsys.readouterr().err


def test_a_cache_that_cannot_be_written_is_read(
    noise: Path, load: Load, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fingerprint = load(noise).fingerprint
    for verified in list(cache.rglob("verified.json")):
        verified.unlink()

    def refuse(path: Path, content: object) -> None:
        raise GanfoldError(f"cannot write {path}")

    monkeypatch.setattr(data_cache, "write_json", refuse)
    assert load(noise).fingerprint == fingerprint


def test_the_number_of_workers_changes_nothing(tmp_path: Path, make_image: MakeImage) -> None:
    folder = tmp_path / "s"
    for i in range(700):
        (folder / f"c{i % 3}").mkdir(parents=True, exist_ok=True)
        make_image(i // 2, 9 + i % 5, 12).save(folder / f"c{i % 3}" / f"{i:03}.png")
    options = prepare.LoadOptions(16, None, "crop", None)
    made = [prepare.prepare(find_source(folder), "s", options, tmp_path / f"cache{n}", workers=n) for n in (0, 1, 3)]
    assert len({m.fingerprint for m in made}) == 1
    assert made[0].findings == made[1].findings == made[2].findings
    assert list(made[0].names) == list(made[2].names)


def test_children_do_not_import_torch_nor_run_the_users_script(tmp_path: Path, photos: Path) -> None:
    script = tmp_path / "script.py"  # no main guard, as users write it
    script.write_text(
        "import sys\nfrom pathlib import Path\nprint('run')\n"
        "from ganfold.data import prepare\nfrom ganfold.data.sources import lookup\n"
        f"source = lookup.find_source({str(photos)!r})\n"
        "options = prepare.LoadOptions(None, None, 'crop', None)\n"
        f"made = prepare.prepare(source, 's', options, Path({str(tmp_path / 'c')!r}), workers=2)\n"
        "print(len(made.images), 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("run\n12 False\n", "")


def test_two_at_once_both_succeed(noise: Path, cache: Path) -> None:
    code = (
        "from pathlib import Path; from ganfold.data import load; "
        f"print(load({str(noise)!r}, cache=Path({str(cache)!r})).fingerprint)"
    )
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    fingerprints = {process.communicate(timeout=60)[0] for process in both}
    assert [process.returncode for process in both] == [0, 0, 0]
    assert len(fingerprints) == 1
    assert list((cache / "building").iterdir()) == []
    assert len(list((cache / "content").iterdir())) == 1


def test_a_killed_preparation_harms_nothing(noise: Path, cache: Path, load: Load) -> None:
    code = (
        "import time; from pathlib import Path; from ganfold.data import load, prepare\n"
        "def hang(*_): print('now', flush=True); time.sleep(60)\n"
        "prepare._fingerprint = hang\n"
        f"load({str(noise)!r}, cache=Path({str(cache)!r}))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "now\n"
    before = len(list((cache / "building").iterdir()))
    load(noise, channels=3)  # does not remove the folder of a living process
    assert len(list((cache / "building").iterdir())) == before == 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert len(load(noise)) == 600
    assert list((cache / "building").iterdir()) == []


def test_children_end_with_their_parent(photos: Path, cache: Path) -> None:
    code = (
        "import os, sys; from ganfold.data import work\n"
        "child = work._start(); child.stdout.read(1); print(child.pid, flush=True); os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    child = int(done.stdout)
    for _ in range(100):
        try:
            if Path(f"/proc/{child}/stat").read_text().split()[2] == "Z":
                return
        except FileNotFoundError:
            return
        time.sleep(0.05)
    pytest.fail("the child has not ended")


def test_a_full_disk_is_one_sentence(photos: Path, load: Load, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(portion: work.Portion) -> work.Outcome:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(work, "process", full)
        with pytest.raises(GanfoldError, match=r"^no space left to write .*: free some, then"):
            load(photos)
    assert list((cache / "building").iterdir()) == []
    usage = shutil.disk_usage(cache)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
        with pytest.raises(GanfoldError, match=r"^no space left for the cache .* set GANFOLD_CACHE"):
            load(photos)
    assert list((cache / "building").iterdir()) == []
    assert len(load(photos)) == 12


def test_a_full_disk_in_a_child_is_raised_in_the_parent(photos: Path, tmp_path: Path) -> None:
    portion = work.Portion(
        find_source(photos).list(tmp_path).reader,
        0,
        np.arange(3),
        decode.TargetShape(16, 3, "crop"),
        Path("/dev/full"),
        0,
    )
    with pytest.raises(OSError, match="No space left") as caught:
        list(work.process_all([portion], 1))
    assert caught.value.errno == errno.ENOSPC


def test_a_cache_that_cannot_be_written(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(GanfoldError, match="set GANFOLD_CACHE to a folder that can be written"):
        data.load(photos, cache=tmp_path / "file" / "cache")


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from ganfold.data.cache import default_cache

    monkeypatch.setenv("GANFOLD_CACHE", "/a/b")
    assert default_cache() == Path("/a/b")
    monkeypatch.delenv("GANFOLD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert default_cache() == Path("/x/ganfold")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/h")
    assert default_cache() == Path("/h/.cache/ganfold")


# ---- held out


def test_a_tenth_is_held_out_from_500_on(noise: Path, load: Load, photos: Path) -> None:
    images = load(noise)
    assert len(images.held_out) == 60
    assert sorted([*images.train.tolist(), *images.held_out.tolist()]) == list(range(600))
    assert (np.diff(images.train) > 0).all()
    assert (np.diff(images.held_out) > 0).all()
    assert len(load(photos).held_out) == 0
    assert len(load(photos, held_out=0.25).held_out) == 3
    assert len(load(noise, held_out=0.0).held_out) == 0
    assert 17 in load(noise, held_out=0.5).train  # the only one of its class


def test_held_out_follows_from_the_content(noise: Path, load: Load, tmp_path: Path) -> None:
    held = np.load(noise)
    order = np.random.default_rng(1).permutation(600)
    np.savez(tmp_path / "mixed.npz", images=held["images"][order], labels=held["labels"][order])
    one, other = load(noise), load(tmp_path / "mixed.npz")
    assert {one.images[i].tobytes() for i in one.held_out} == {other.images[i].tobytes() for i in other.held_out}


def test_no_more_than_5000_are_held_out() -> None:
    digests = np.random.default_rng(0).integers(0, 2**63, (60_000, 2)).astype(np.uint64)
    assert len(prepare._held_out(digests, None, None)) == 5000


def test_warnings_of_imbalance(noise: Path, load: Load) -> None:
    assert load(noise).findings.warnings == ["the classes are out of balance: 0 has 300 images, 2 1"]


def test_the_native_size_needs_no_decoding_and_leaves_the_cache_clean(
    photos: Path, make_image: MakeImage, cache: Path, decoded: list[object], load: Load
) -> None:
    make_image(20, 64, 80).save(photos / "large.png")
    for _ in range(2):
        assert data.native(photos, cache=cache, progress=False) == 32
        assert not decoded
        assert not list((cache / "building").iterdir())
    assert load(photos, resolution=16).resolution == 16
