"""How a GAN is found: by name, in a file, in a module, as a class, and from an installed package."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from ganfold.errors import GanfoldError
from ganfold.gans import GANS, Entry, Origin, find, installed, name_of, origin_of, registry
from ganfold.gans.contract import GAN
from ganfold.gans.dcgan import DCGAN

MINE = """
from __future__ import annotations
from dataclasses import dataclass
from ganfold.gans.dcgan import DCGAN, Config as Parent

@dataclass(frozen=True)
class Config(Parent):
    strength: float = 1.0  # how strong

class Mine(DCGAN):
    config_class = Config

class Helper:
    pass

class Bare(DCGAN):
    config_class = Helper
"""


class Here(DCGAN):
    pass


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "my_gan.py"
    path.write_text(MINE)
    return path


def test_every_gan_of_the_package_has_a_name_a_summary_and_a_use() -> None:
    for name, entry in GANS.items():
        assert name_of(find(name)) == name
        assert origin_of(find(name)) is None
        assert entry.summary.endswith(".")
        assert entry.use_when


def test_the_registry_imports_no_torch() -> None:
    code = "import sys, ganfold.gans as g; g.installed(); assert 'torch' not in sys.modules, 'torch'"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(GanfoldError, match=r"no GAN 'dcgam'; did you mean 'dcgan'\? \(known: rsgan, r3gan, dcgan"):
        find("dcgam")
    with pytest.raises(GanfoldError, match="known: rsgan, r3gan, dcgan"):
        find("zzz")


def test_a_class_in_a_file_is_found_once(mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = find(f"{mine}:Mine")
    assert found.__name__ == "Mine"
    assert found.config_class().strength == 1.0
    monkeypatch.chdir(tmp_path)
    assert find("my_gan.py:Mine") is found
    assert name_of(found) == "my_gan.py:Mine"
    assert origin_of(found) == Origin(str(mine), hashlib.sha256(MINE.encode()).hexdigest())
    assert find("my_gan.py:DCGAN") is find("dcgan")  # what a file imports keeps its name


def test_a_file_that_changes_is_loaded_anew(mine: Path) -> None:
    before = find(f"{mine}:Mine")
    digest = origin_of(before)
    mine.write_text(MINE.replace("strength: float = 1.0", "strength: float = 2.0"))
    after = find(f"{mine}:Mine")
    assert (before.config_class().strength, after.config_class().strength) == (1.0, 2.0)
    assert origin_of(before) == digest != origin_of(after)


def test_a_class_is_itself() -> None:
    assert find(Here) is Here
    assert name_of(Here) == "test_registry.py:Here"
    origin = origin_of(Here)
    assert origin
    assert origin.file == str(Path(__file__).resolve())
    assert find("ganfold.gans.dcgan:DCGAN") is DCGAN
    assert name_of(DCGAN) == "dcgan"


def test_a_class_from_a_notebook_has_no_file() -> None:
    typed = type("Typed", (DCGAN,), {"__module__": "a_notebook"})
    assert (name_of(typed), origin_of(typed)) == ("Typed", None)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nowhere.py:Mine", "there is no file .*nowhere.py: give the path of a Python file and a class"),
        ("{mine}", "name the class in .*my_gan.py, as in my_gan.py:SNGAN"),
        ("{mine}:Mne", r"there is no class 'Mne' in .*my_gan.py; did you mean 'Mine'\?"),
        ("{mine}:Zzzzzz", "there is no class 'Zzzzzz' in .*my_gan.py: name a class that is defined there"),
        ("{mine}:Helper", "Helper is no GAN: derive it from ganfold.gans.contract.GAN"),
        ("{mine}:Bare", "Bare has no options: set `config_class` to its dataclass"),
        ("no_such_package.gans:Mine", "there is no module no_such_package.gans: install its package"),
        ("json:JSONDecoder", "JSONDecoder is no GAN"),
    ],
)
def test_what_cannot_be_found_is_one_sentence(name: str, sentence: str, mine: Path) -> None:
    with pytest.raises(GanfoldError, match=sentence):
        find(name.format(mine=mine))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = 1\ny = x / 0\n", "cannot be imported: ZeroDivisionError in line 2: division by zero"),
        ("x = 1\n\ndef broken(:\n", "cannot be imported: SyntaxError in line 3: invalid syntax"),
        (
            "import no_such_thing\n",
            "cannot be imported: ModuleNotFoundError in line 1: No module named 'no_such_thing'",
        ),
        ("import sys\nsys.exit(3)\n", "cannot be imported: SystemExit in line 2: 3"),
    ],
)
def test_a_file_that_cannot_be_imported_names_the_error_and_the_line(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text(text)
    before = set(sys.modules)
    with pytest.raises(GanfoldError, match=sentence):
        find(f"{path}:Mine")
    assert not [name for name in set(sys.modules) - before if name.startswith("ganfold_file_")]


def test_a_module_that_cannot_be_imported_names_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "half_a_module.py").write_text("import no_such_thing\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        GanfoldError, match="the module half_a_module cannot be imported: ModuleNotFoundError in line 1"
    ):
        find("half_a_module:Mine")


@pytest.mark.parametrize("gan", [3, None, nothing := GAN(None, None), str])  # type: ignore[arg-type]
def test_what_is_no_gan_is_refused(gan: object) -> None:
    with pytest.raises(GanfoldError, match="is no GAN"):
        find(gan)  # type: ignore[arg-type]


def test_an_installed_package_adds_gans_but_takes_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        metadata.EntryPoint("here", "test_registry:Here", registry.GROUP),
        metadata.EntryPoint("dcgan", "test_registry:Here", registry.GROUP),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    assert installed()["here"] == Entry("test_registry", "Here", "From the package test_registry.", "")
    assert find("dcgan") is DCGAN
    assert find("here") is sys.modules["test_registry"].Here
    assert name_of(find("here")) == "here"
    assert origin_of(find("here")) is None
    with pytest.raises(GanfoldError, match=r"no GAN 'her'; did you mean 'here'\?"):
        find("her")
