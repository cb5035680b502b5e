"""What differs on Windows and macOS, by simulation: missing functions, other encodings, names that are not allowed."""

from __future__ import annotations

import ast
import ctypes
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ganfold import device as devices
from ganfold import files
from ganfold.data import cache
from ganfold.images.files import class_folders
from ganfold.training import loop

SOURCE = Path(__file__).parents[1] / "src" / "ganfold"
TEXT_METHODS = ("read_text", "write_text")


def calls_without_encoding(tree: ast.AST) -> list[int]:
    """The lines that read or write text in the encoding of the system, which is cp1252 on many machines."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or any(keyword.arg in ("encoding", None) for keyword in node.keywords):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        plain_open = name == "open" and isinstance(node.func, ast.Name)
        mode = (
            node.args[1].value if plain_open and len(node.args) > 1 and isinstance(node.args[1], ast.Constant) else "r"
        )
        if name in TEXT_METHODS or (plain_open and "b" not in str(mode)):
            found.append(node.lineno)
    return found


def test_text_is_read_and_written_in_one_encoding_everywhere() -> None:
    wrong = {
        path.relative_to(SOURCE).as_posix(): lines
        for path in SOURCE.rglob("*.py")
        if (lines := calls_without_encoding(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert wrong == {}


def test_a_call_without_encoding_would_be_seen() -> None:
    code = 'p.read_text()\np.write_text("a", encoding="utf-8")\nopen(p)\nopen(p, "rb")\nImage.open(p)\nopen(p, "w")\n'
    assert calls_without_encoding(ast.parse(code)) == [1, 3, 6]


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Python lacks there."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setattr(loop, "HANGUP", None)
    for name in ("sysconf", "sched_getaffinity", "O_NOFOLLOW"):
        monkeypatch.delattr(os, name, raising=False)

    def no_library(name: Any) -> Any:
        raise TypeError("bad argument type for built-in operation")

    def no_signal(process: int, number: int) -> None:
        raise AssertionError("signal 0 ends a process there")

    monkeypatch.setattr(ctypes, "CDLL", no_library)
    monkeypatch.setattr(os, "kill", no_signal)


@pytest.mark.usefixtures("windows")
def test_without_what_windows_lacks_files_are_written_and_memory_is_unknown(tmp_path: Path) -> None:
    left = tmp_path / f".a.json.{os.getpid()}.tmp"
    left.write_text("half", encoding="utf-8")
    with files.locked(tmp_path, "a test"), files.locked(tmp_path, "a second one, which no lock stops"):
        files.write_json(tmp_path / "a.json", {"a": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert not cache.lock(0)
    assert devices.memory(torch.device("cpu")) == 0
    devices.keep_freed_memory()
    devices.release_memory(torch.device("cpu"))


@pytest.mark.usefixtures("windows")
def test_ctrl_c_and_sigterm_stop_where_no_hangup_is_known() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with loop._stop_signal() as received:
        signal.raise_signal(signal.SIGTERM)
    assert [str(reason) for reason in received] == ["SIGTERM"]
    assert signal.getsignal(signal.SIGTERM) == before


def test_without_proc_the_processor_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_proc(path: Path, *arguments: Any, **named: Any) -> str:
        raise FileNotFoundError(2, "No such file or directory", str(path))

    monkeypatch.setattr(Path, "read_text", no_proc)
    monkeypatch.setattr(platform, "processor", lambda: "arm")
    assert devices.describe(torch.device("cpu"))["cpu"] == "arm"


def test_folders_of_classes_have_names_that_every_system_takes() -> None:
    classes = ["con", "NUL.txt", "com1", "constant", "Cat", "cat", "a:b", "tail."]
    folders = class_folders(classes)
    assert folders[:2] == ["_con", "_NUL.txt"]
    assert folders[3] == "constant"
    assert len({name.casefold() for name in folders}) == len(classes)
    reserved = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
    assert not any(name.split(".")[0].casefold() in reserved or set(name) & set('<>:"/\\|?*') for name in folders)
    assert not any(name.endswith((".", " ")) for name in folders)


@pytest.mark.parametrize("words", [["--help"], ["gans"], ["env"], ["train", "rsgan", "--help"]])
def test_output_survives_the_encoding_of_a_windows_console(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-m", "ganfold", *words],
        env={**os.environ, "PYTHONIOENCODING": "cp1252", "LC_ALL": "C"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode("cp1252")
    assert b"Traceback" not in done.stderr


def test_importing_and_help_need_no_function_of_unix() -> None:
    code = (
        "import os, signal, sys\n"
        "sys.modules['fcntl'] = sys.modules['resource'] = sys.modules['pwd'] = None\n"
        "for name in ('fork', 'sysconf', 'sched_getaffinity', 'getuid', 'O_NOFOLLOW'): delattr(os, name)\n"
        "del signal.SIGHUP, signal.SIGKILL\n"
        "import ganfold, ganfold.cli, ganfold.data.work, ganfold.training.session, ganfold.studies.jobs\n"
        "assert all(callable(getattr(ganfold, name)) for name in ganfold.__all__ if name != '__version__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
