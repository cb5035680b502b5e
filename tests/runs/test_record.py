"""`config.json`: every value of a wrong type is one sentence that names the file.

Looked for in: the record's own parts, `data`, `inputs`, `settings`, the options of the GAN and of a GAN from outside.
The other JSON file that going on reads, `state.json`, is tested in tests/system/test_go_on.py.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import ganfold
from ganfold import GanfoldError
from ganfold.files import read_json
from ganfold.runs.record import RunRecord


@pytest.fixture(scope="module")
def run(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("record") / "run"
    ganfold.train("dcgan", squares, out, resolution=16, width=4, batch=8, kimg=0.008, progress=False)
    return out


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("config", "width", "16"),
        ("config", "width", 4.5),
        ("config", "width", None),
        ("config", "width", -4),
        ("config", "betas", 3),
        ("config", "betas", [0.5, "x"]),
        ("config", "betas", [0.5]),
        ("config", "loss", "none"),
        ("config", "lr", {}),
        ("data", "classes", None),
        ("data", "classes", [1, 2]),
        ("data", "class_counts", ["1"]),
        ("data", "resolution", "16"),
        ("data", "resolution", 0),
        ("data", "channels", 2),
        ("data", "fingerprint", 7),
        ("data", "inputs", "x"),
        ("data", "inputs", {"source": 1, "fingerprint": "x", "channels": 3}),
        ("data", "words", 5),
        ("settings", "seed", "0"),
        ("settings", "seed", -1),
        ("settings", "fit", "torn"),
        ("settings", "kimg", [1]),
        ("settings", "flips", "no"),
        ("", "schema", "1"),
        ("", "machine", 5),
        ("", "origin", [1]),
        ("", "origin", {"file": "x"}),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_the_file(
    part: str, name: str, value: Any, run: Path, squares: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(run, out)
    content = read_json(out / "config.json")
    (content[part] if part else content)[name] = value
    (out / "config.json").write_text(json.dumps(content))
    with pytest.raises(
        GanfoldError, match=rf"^{re.escape(str(out / 'config.json'))} is damaged \(.*\): restore"
    ) as error:
        ganfold.load(out).sample(1)
    assert "\n" not in str(error.value)
    if name in ("classes", "resolution", "schema", "machine"):
        with pytest.raises(GanfoldError, match=r"config\.json is damaged"):
            ganfold.train("dcgan", squares, out, resolution=16, width=4, batch=8, kimg=0.016, progress=False)


@pytest.mark.parametrize(
    "text", ["[]", "[" * 200_000, '{"a":' * 200_000, "", "\0\0", '"x"', b"\xff\xfe{".decode("latin-1")]
)
def test_what_is_no_record_at_all_is_one_sentence(text: str, run: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(GanfoldError, match=r"config\.json is damaged"):
        RunRecord.read(tmp_path)


def test_an_outside_gan_may_have_options_of_other_types(squares: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import dataclass\nfrom ganfold.gans.gan import Config, MLPGAN\n\n\n"
        "@dataclass(frozen=True)\nclass Options(Config):\n    sizes: list[int] = ()\n"
        "    table: dict[str, int] | None = None\n\n\nclass Mine(MLPGAN):\n    config_class = Options\n"
    )
    options: dict[str, Any] = {"resolution": 16, "batch": 8, "progress": False}
    ganfold.train(f"{file}:Mine", squares, tmp_path / "run", kimg=0.008, sizes=[1, 2], table={"a": 1}, **options)
    again = ganfold.train(
        f"{file}:Mine", squares, tmp_path / "run", kimg=0.016, sizes=[1, 2], table={"a": 1}, **options
    )
    assert again.sample(1).shape == (1, 16, 16, 3)
