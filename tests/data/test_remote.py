"""Images by an address: an S3 server and a web server of this machine, and the memory of this process."""

from __future__ import annotations

import functools
import gc
import http.server
import io
import json
import os
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from fsspec.registry import _registry

import ganfold
from ganfold import data
from ganfold.data import pruning, remote, work
from ganfold.errors import GanfoldError
from ganfold.training.request import default_out
from image_files import Load, MakeImage


@pytest.fixture
def archive(photos: Path) -> Path:
    """The photos as a zip of two class folders."""
    path = photos.parent / "photos.zip"
    with zipfile.ZipFile(path, "w") as file:
        for number, photo in enumerate(sorted(photos.iterdir())):
            file.write(photo, f"{'ab'[number % 2]}/{photo.name}")
    return path


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    yield system
    system.rm("/bucket", recursive=True)


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A server that speaks S3, with the keys that it takes in the environment; fsspec's view of it."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    patch.setenv("AWS_ACCESS_KEY_ID", "the-name")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret-key")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    system = fsspec.filesystem("s3")
    system.mkdir("bucket")
    yield system
    patch.undo()
    server.stop()


def assert_same(found: data.ImageSet, local: data.ImageSet) -> None:
    assert found.fingerprint == local.fingerprint
    assert list(found.names) == list(local.names)
    assert found.classes == local.classes


def test_a_zip_in_a_bucket_is_the_local_zip_and_a_second_time_nothing_is_copied(
    s3: Any, archive: Path, cache: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put(str(archive), "bucket/photos.zip")
    local = load(archive)
    assert_same(load("s3://bucket/photos.zip"), local)
    monkeypatch.setattr(remote._Remote, "_copy", None)  # a second copy would fail
    assert_same(load("s3://bucket/photos.zip"), local)
    assert load("s3://bucket/photos.zip", resolution=16).resolution == 16


def test_a_changed_object_is_seen(s3: Any, archive: Path, photos: Path, load: Load) -> None:
    s3.put(str(archive), "bucket/changed.zip")
    before = load("s3://bucket/changed.zip")
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("a/new.png", (photos / "00.png").read_bytes())
        file.writestr("b/new.png", b"no image")
    s3.put(str(archive), "bucket/changed.zip")
    after = load("s3://bucket/changed.zip")
    assert (before.findings.found, after.findings.found) == (12, 14)


def test_shards_in_a_bucket_are_read_by_a_pattern_or_by_their_folder(
    s3: Any, photos: Path, tmp_path: Path, load: Load
) -> None:
    (tmp_path / "shards").mkdir()
    for shard in range(2):
        with tarfile.open(tmp_path / "shards" / f"{shard}.tar", "w") as tar:
            for number in range(6 * shard, 6 * shard + 6):
                tar.add(photos / f"{number:02}.png", f"{number}.png")
                label = tarfile.TarInfo(f"{number}.cls")
                label.size = 1
                tar.addfile(label, io.BytesIO(str(number % 2).encode()))
    s3.put(str(tmp_path / "shards"), "bucket/shards", recursive=True)
    local = load(tmp_path / "shards")
    assert len(local) == 12
    assert_same(load("s3://bucket/shards/*.tar"), local)
    assert_same(load("s3://bucket/shards"), local)


def test_a_run_keeps_the_address_and_no_credentials(
    s3: Any, squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANFOLD_CACHE", str(tmp_path / "cache"))
    s3.put(str(squares), "bucket/squares.npz")
    address, out = "s3://bucket/squares.npz", tmp_path / "run"
    for kimg in (0.02, 0.04):
        ganfold.train(
            "dcgan", data=address, out=out, batch=8, width=4, z_dim=6, resolution=16, kimg=kimg, progress=False
        )
    record = json.loads((out / "config.json").read_text())
    assert record["data"]["source"] == address
    local = data.load(squares, resolution=16)
    assert record["data"]["fingerprint"] == local.fingerprint
    content = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"the-secret-key" not in content
    assert b"the-name" not in content


def test_a_zip_on_a_web_server_is_the_local_zip(archive: Path, load: Load) -> None:
    handler = functools.partial(_Quiet, directory=str(archive.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/photos.zip?download=1"
        assert_same(load(address), load(archive))
        with pytest.raises(GanfoldError, match=r"there is no file or folder http://127\.0\.0\.1:\d+/other\.zip"):
            load(address.replace("photos.zip?download=1", "other.zip"))
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_a_folder_of_images_and_its_metadata(memory: Any, photos: Path, tmp_path: Path, load: Load) -> None:
    rows = [json.dumps({"file_name": f"{number:02}.png", "text": f"photo {number}"}) for number in range(12)]
    (photos / "metadata.jsonl").write_text("\n".join(rows))
    memory.put(str(photos), "/bucket/photos", recursive=True)
    memory.pipe("/bucket/photos/../../../../escaped.png", b"x")  # the name of an object may be anything
    found = load("memory://bucket/photos")
    assert_same(found, load(photos))
    assert found.attributes is not None
    assert found.attributes[3]["text"] == "photo 3"
    assert not list(tmp_path.rglob("escaped.png"))


def test_pairs_are_read_from_an_address(memory: Any, make_image: MakeImage, tmp_path: Path, cache: Path) -> None:
    for name, seed in (("A/1.png", 1), ("A/2.png", 2), ("B/1.png", 3), ("B/2.png", 4)):
        (tmp_path / "pairs" / name).parent.mkdir(parents=True, exist_ok=True)
        make_image(seed).save(tmp_path / "pairs" / name)
    memory.put(str(tmp_path / "pairs"), "/bucket/pairs", recursive=True)
    found = data.load_as("pairs", "memory://bucket/pairs", cache=cache, progress=False)
    assert found.inputs is not None
    assert found.inputs.fingerprint == data.load(tmp_path / "pairs" / "A", cache=cache, progress=False).fingerprint


def test_a_copy_is_listed_pruned_and_made_again(
    memory: Any, archive: Path, cache: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.put(str(archive), "/bucket/photos.zip")
    process_all = work.process_all

    def pruned_meanwhile(*arguments: Any) -> Iterator[work.Outcome]:
        assert pruning.prune(cache, 0) == []  # as another process would
        return process_all(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(work, "process_all", pruned_meanwhile)
        load("memory://bucket/photos.zip")
    gc.collect()
    listed = [(entry.kind, entry.sources, entry.in_use) for entry in ganfold.cache(cache=cache).entries]
    assert ("download", ("memory://bucket/photos.zip",), False) in listed
    ganfold.cache(prune=True, limit="0", cache=cache)
    assert list((cache / "downloads").iterdir()) == []
    assert len(load("memory://bucket/photos.zip")) == 12


def test_a_copy_that_breaks_off_is_not_kept(
    memory: Any, archive: Path, cache: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.put(str(archive), "/bucket/photos.zip")
    get = type(memory).get

    def half(self: Any, objects: list[str], targets: list[str]) -> None:
        get(self, objects, targets)
        os.truncate(targets[-1], 100)

    with monkeypatch.context() as patch:
        patch.setattr(type(memory), "get", half)
        with pytest.raises(GanfoldError, match="changed or broke off while it was copied"):
            load("memory://bucket/photos.zip")
    assert list((cache / "downloads").iterdir()) == []
    assert list((cache / "building").iterdir()) == []
    assert len(load("memory://bucket/photos.zip")) == 12


def test_more_than_the_disk_holds_is_not_copied(
    memory: Any, archive: Path, cache: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.put(str(archive), "/bucket/photos.zip")
    monkeypatch.setattr(memory.__class__, "info", lambda self, path: {"name": path, "size": 10**18, "type": "file"})
    with pytest.raises(GanfoldError, match=r"photos.zip holds 1,000,000\.0 TB, and .* are free; free some"):
        load("memory://bucket/photos.zip")


def test_a_fault_of_the_content_names_the_address(memory: Any, cache: Path, load: Load) -> None:
    memory.pipe("/bucket/broken.zip", b"PK\3\4 and no more")
    with pytest.raises(GanfoldError) as refused:
        load("memory://bucket/broken.zip")
    assert "memory://bucket/broken.zip is not a zip, or cut short" in str(refused.value)
    assert str(cache) not in str(refused.value)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("memory://bucket/nothing.zip", "there is no file or folder memory://bucket/nothing.zip"),
        ("memory://bucket/*.tar", "there is no file or folder"),
        ("zork://bucket/photos.zip", "cannot read zork://bucket/photos.zip: an address begins with one of s3://, "),
        ("simplecache::s3://bucket/photos.zip", "cannot read simplecache::s3:"),
        ("https://me:hidden@example.org/photos.zip", "holds a password or a signature"),
        ("s3://name:hidden@bucket/photos.zip", "give credentials by the environment"),
        ("https://example.org/photos.zip?X-Amz-Signature=hidden&b=1", "holds a password or a signature"),
        ("https://example.org/photos.zip?sv=1&sig=hidden", "the record of a run would keep it"),
        ("gs://bucket/photos.zip", "with fsspec and gcsfs, which are not installed: pip install fsspec gcsfs"),
    ],
)
def test_an_address_that_cannot_be_read_is_one_sentence(address: str, sentence: str, load: Load) -> None:
    with pytest.raises(GanfoldError) as refused:
        load(address)
    assert sentence in str(refused.value)
    assert "hidden" not in str(refused.value)


def test_without_a_backend_the_extra_is_named(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(_registry, "s3", raising=False)
    with pytest.raises(
        GanfoldError, match=r"fsspec and s3fs, which are not installed: pip install 'ganfold\[remote\]'"
    ):
        load("s3://bucket/photos.zip")


def test_the_state_of_an_object_tells_two_contents_apart() -> None:
    states = [remote._state(info) for info in ({"ETag": "a"}, {"ETag": "b"}, {"Last-Modified": "x"}, {}, {"size": 4})]
    assert len(set(states)) == 4
    assert states[3] == states[4]  # the size is compared by itself


def test_a_run_without_a_name_is_called_like_the_folder_of_a_pattern() -> None:
    assert default_out("dcgan", "s3://bucket/shards/*.tar") == Path("runs/dcgan-shards")
    assert default_out(None, "s3://bucket/photos.zip") == Path("runs/photos")


def test_addresses_and_paths_are_told_apart(tmp_path: Path, load: Load) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 256, (4, 16, 16), np.uint8))
    assert len(load(tmp_path / "a.npy")) == 4
    with pytest.raises(GanfoldError, match="no such file or folder: s3:/bucket"):
        load("s3:/bucket")
