"""`metadata.parquet` beside images: the same rules as those of metadata.csv and metadata.jsonl."""

from __future__ import annotations

import datetime
import json
import sys
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import pytest

from ganfold.errors import GanfoldError
from image_files import Load, MakeImage

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def folder(tmp_path: Path, make_image: MakeImage) -> Path:
    (tmp_path / "s").mkdir()
    for i in range(6):
        make_image(i).save(tmp_path / "s" / f"caf\u00e9{i}.png")
    return tmp_path / "s"


def write(folder: Path, columns: dict[str, Any], schema: dict[bytes, bytes] | None = None) -> None:
    pq.write_table(pa.table(columns).replace_schema_metadata(schema), folder / "metadata.parquet")


def names(count: int = 6, form: Any = "NFC") -> list[str]:
    return [unicodedata.normalize(form, f"caf\u00e9{i}.png") for i in range(count)]


def test_labels_and_other_columns_are_read(folder: Path, load: Load) -> None:
    day = datetime.date(2020, 1, 2)
    write(
        folder, {"file_name": names(), "label": ["a", "b"] * 3, "text": ["x"] * 6, "day": [day] * 6, "raw": [b"x"] * 6}
    )
    images = load(folder)
    assert images.findings.classes == {"a": 3, "b": 3}
    assert images.findings.skipped == []
    assert images.attributes is not None
    assert images.attributes[0] == {"text": "x", "day": "2020-01-02"}
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as file:
        for path in folder.iterdir():
            file.write(path, path.name)
    assert load(folder.with_suffix(".zip")).fingerprint == images.fingerprint


def test_spellings_and_contradictions_are_met_as_in_other_metadata(folder: Path, load: Load) -> None:
    files = [*names(form="NFD"), names()[0], "gone.png"]
    write(folder, {" file_name": files, "Label ": [0, 1, 0, 1, 0, 1, 1, 1], "class": ["u"] * 8})
    images = load(folder)
    assert images.findings.classes == {"0": 2, "1": 4}
    assert [(f.file, f.why) for f in images.findings.skipped] == [
        ("gone.png", "no such file: named in metadata.parquet, row 8")
    ]
    notes = " ".join(images.findings.notes)
    assert "The metadata write 6 names in another way than the files" in notes
    assert "give 1 image another label than in a row before: the last row counts." in notes
    assert "The labels are those of the metadata's column label, and not of class." in notes


def test_numbers_of_classes_become_the_names_in_the_schema(folder: Path, load: Load) -> None:
    features = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    schema = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    write(folder, {"file_name": names(), "label": [0, 1, 0, 1, 0, -1]}, schema)
    images = load(folder)
    assert images.findings.classes == {"cat": 3, "dog": 2}
    assert [f.why for f in images.findings.skipped] == ["no label in the metadata"]


def test_a_damaged_one_is_one_sentence(folder: Path, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "metadata.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(GanfoldError, match=r"metadata.parquet, after row 0: it cannot be read as parquet \("):
        load(folder)
    write(folder, {"label": [1]})
    with pytest.raises(GanfoldError, match=r"metadata.parquet, row 1: it needs a column file_name"):
        load(folder)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        GanfoldError, match=r"is read with pyarrow, which is not installed: pip install 'ganfold\[hub\]'"
    ):
        load(folder)
