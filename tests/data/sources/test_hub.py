"""Parquet and webdataset through Hugging Face `datasets`; no network."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from ganfold.data import Finding
from ganfold.data.sources import hub
from ganfold.data.sources.lookup import find_source
from ganfold.errors import GanfoldError
from image_files import Load, MakeImage


def png(image: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")  # type: ignore[attr-defined]
    return file.getvalue()


@pytest.fixture
def parquet(tmp_path: Path, make_image: MakeImage) -> Path:
    import datasets

    features = datasets.Features(
        {
            "picture": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "age": datasets.Value("int64"),
        }
    )
    rows = {"picture": [make_image(i) for i in range(5)], "label": [0, 1, 0, 1, -1], "age": list(range(5))}
    (tmp_path / "set").mkdir()
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "set" / "a.parquet")
    return tmp_path / "set" / "a.parquet"


def test_parquet(parquet: Path, make_image: MakeImage, load: Load) -> None:
    for source in (parquet, parquet.parent):
        images = load(source)
        assert images.classes == ("cat", "dog")
        assert images.labels is not None
        assert images.labels.tolist() == [0, 1, 0, 1]
        assert (images.images[3] == np.asarray(make_image(3)).transpose(2, 0, 1)).all()
        assert images.attributes is not None
        assert images.attributes[2] == {"age": 2}
        assert images.names[2] == "picture[2]"
        assert images.findings.skipped == [Finding("picture[4]", "no label")]


def test_webdataset(tmp_path: Path, make_image: MakeImage, load: Load) -> None:
    with tarfile.open(tmp_path / "w.tar", "w") as tar:
        for i in range(4):
            for suffix, content in (
                ("png", png(make_image(i)) if i != 2 else b"broken"),
                ("cls", str(i % 2).encode()),
                ("json", json.dumps({"hair": i}).encode()),
            ):
                info = tarfile.TarInfo(f"{i:03}.{suffix}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    images = load(tmp_path / "w.tar")
    assert images.labels is not None
    assert (images.classes, images.labels.tolist()) == (("0", "1"), [0, 1, 1])
    assert (images.images[2] == np.asarray(make_image(3)).transpose(2, 0, 1)).all()
    assert images.attributes is not None
    assert images.attributes[1]["json"] == {"hair": 1}
    assert [f.why for f in images.findings.skipped] == ["not an image"]


def test_without_a_column_of_images(tmp_path: Path, load: Load) -> None:
    import datasets

    datasets.Dataset.from_dict({"text": ["a"], "n": [1]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(GanfoldError, match=r"has no column of images; its columns are text, n$"):
        load(tmp_path / "t.parquet")


def test_a_damaged_parquet_file_is_one_sentence(tmp_path: Path, load: Load) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(GanfoldError, match=r"^cannot read .*t\.parquet with Hugging Face datasets: [^\n]+$"):
        load(tmp_path / "t.parquet")


def test_without_datasets_the_sentence_says_how_to_get_it(
    parquet: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    for source in (parquet, "owner/name"):
        with pytest.raises(GanfoldError, match=r"is not installed: pip install 'ganfold\[hub\]'$"):
            load(source)


def test_a_hub_id_is_cached_by_its_name(
    parquet: Path, load: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    stream = hub._stream
    monkeypatch.setattr(hub, "_stream", lambda d, name, given: stream(d, "parquet", [str(parquet)]))
    first = load("owner/name")
    assert len(first) == 4

    def offline(*_: object) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(hub, "_stream", offline)
    assert load("owner/name").fingerprint == first.fingerprint
    with pytest.raises(GanfoldError, match="^cannot read owner/other with Hugging Face datasets: no network$"):
        load("owner/other")


def test_a_large_group_of_rows_is_read_in_portions(tmp_path: Path) -> None:
    """pandas and pyarrow write a million rows as one group. Their pages hold 1,024 rows: 4 MB here."""
    path, random = tmp_path / "one.parquet", np.random.default_rng(0)
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    column = pyarrow.array([{"bytes": random.bytes(4_000), "path": None} for _ in range(10_000)], kind)
    pyarrow.parquet.write_table(pyarrow.table({"image": column}), path, row_group_size=10_000)
    del column
    before, pool = pyarrow.default_memory_pool(), pyarrow.proxy_memory_pool(pyarrow.default_memory_pool())
    pyarrow.set_memory_pool(pool)
    try:
        listed = find_source(path).list(tmp_path)
    finally:
        pyarrow.set_memory_pool(before)
    assert (tmp_path / "images.bin").stat().st_size == 40_000_000
    assert 0 < pool.max_memory() < 15_000_000
    assert list(listed.names[9998:]) == ["image[9998]", "image[9999]"]


@pytest.mark.parametrize("kind", [pyarrow.binary(), pyarrow.large_binary()])
def test_a_plain_column_of_contents_is_read(kind: pyarrow.DataType, photos: Path, tmp_path: Path, load: Load) -> None:
    contents = [path.read_bytes() for path in sorted(photos.iterdir())]
    table = pyarrow.table({"image": pyarrow.array(contents, kind), "label": [i % 2 for i in range(12)]})
    pyarrow.parquet.write_table(table, tmp_path / "plain.parquet")
    found = load(tmp_path / "plain.parquet")
    assert (np.array(found.images) == np.array(load(photos).images)).all()
    assert found.classes == ("0", "1")
