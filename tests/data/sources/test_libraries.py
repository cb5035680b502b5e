"""What libraries print, log or unpack by themselves is bounded and never reaches the user as it is.

Looked for in: libtiff, the one library of C that prints (picture formats: `tests/system/fuzz.py` reads stderr for all
of them); the loggers of Hugging Face datasets; members of tars that datasets unpacks; SciPy's and scikit-learn's
warnings in `metrics` (Fréchet, KID and recall are torch's and warn of nothing; `tests/metrics/test_memorisation.py`);
matplotlib's in `pages` (`tests/pages/test_hostile_names.py`). All other lines that ganfold prints hold names: each
`print` in `src` is looked at below.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ganfold
from ganfold.data.sources import hub
from ganfold.data.sources.decode import silence
from ganfold.errors import GanfoldError
from image_files import Load


def _tiff() -> bytes:
    """A TIFF whose pixels have a wrong checksum, of which libtiff prints a line."""
    out = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(pixels).save(out, "TIFF", compression="tiff_adobe_deflate")
    with Image.open(io.BytesIO(out.getvalue())) as image:
        (start,), (length,) = image.tag_v2[273], image.tag_v2[279]  # type: ignore[attr-defined]
    content = bytearray(out.getvalue())
    content[start + length - 4] ^= 255
    return bytes(content)


def test_libtiff_prints_nothing_where_pictures_are_decoded_in_this_process(
    tmp_path: Path, load: Load, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "bad.tif").write_bytes(_tiff())
    Image.new("RGB", (16, 16)).save(tmp_path / "photos" / "good.png")
    with pytest.raises(OSError, match="decod|-2"), Image.open(io.BytesIO(_tiff())) as image:
        image.load()
    assert "ZIPDecode" in capfd.readouterr().err  # it would
    findings = load(tmp_path / "photos").findings
    assert [finding.file for finding in findings.skipped] == ["bad.tif"]
    assert capfd.readouterr().err == ""


def test_two_threads_that_silence_stderr_give_it_back(capfd: pytest.CaptureFixture[str]) -> None:
    first, second = threading.Event(), threading.Event()

    def other() -> None:
        with silence():
            first.set()
            second.wait(10)

    thread = threading.Thread(target=other)
    with silence():
        thread.start()
        assert first.wait(10)
    os.write(2, b"lost\n")  # the other thread is still silent
    second.set()
    thread.join()
    os.write(2, b"seen\n")
    assert capfd.readouterr().err == "seen\n"


def test_the_loggers_of_datasets_print_nothing(tmp_path: Path, load: Load, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + bytes(100))
    with pytest.raises(GanfoldError, match="cannot read"):
        load(tmp_path / "a.parquet")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
def test_a_member_that_is_packed_by_itself_is_bounded(
    suffix: str, pack: Callable[[bytes], bytes], tmp_path: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setattr(hub, "LARGEST", 2**22)
    image = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)).save(image, "PNG")
    for path, content in ((tmp_path / "good.tar", image.getvalue()), (tmp_path / "bomb.tar", bytes(2**24))):
        with tarfile.open(path, "w") as tar:
            member = tarfile.TarInfo(f"0.png.{suffix}")
            member.size = len(pack(content))
            tar.addfile(member, io.BytesIO(pack(content)))
    assert hub._refuse_large_members(tmp_path / "good.tar") is None
    with pytest.raises(GanfoldError, match=rf"its member '0.png.{suffix}' unpacks to \d,\d+,\d+ bytes"):
        load(tmp_path / "bomb.tar")


@pytest.mark.parametrize("labels", ["0.5", "7", '"ab"', "true", "{}"])
def test_labels_of_a_dataset_json_that_are_no_list_are_no_traceback(labels: str, tmp_path: Path, load: Load) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "0.png")
    (tmp_path / "dataset.json").write_text(f'{{"labels": {labels}}}')
    if labels == "{}":  # none
        assert load(tmp_path).classes == ()
        return
    with pytest.raises(GanfoldError, match="its labels are not of the form"):
        load(tmp_path)


def test_each_line_that_is_printed_is_made_printable() -> None:
    harmless = ("_help()", 'f"ganfold {version()}"', "_json(result)")  # words of our own, and JSON, which escapes
    for path in Path(ganfold.__file__).parent.rglob("*.py"):
        for line in re.findall(r"^ *(?:self\._?\w+\.)*print\(.*", path.read_text(encoding="utf-8"), re.MULTILINE):
            is_safe = "printable" in line or any(f"print({words})" in line for words in harmless)
            assert is_safe or "text.encode(code" in line, f"{path.name}: {line.strip()}"
