"""A run on the hub, against a server of this machine that speaks the hub's protocol."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ganfold
from exports.conftest import Make
from ganfold.errors import GanfoldError
from ganfold.exports.hub import folder
from ganfold.exports.sampler import facts
from ganfold.files import write_bytes
from ganfold.metrics.evaluation import Evaluation, Metric
from ganfold.runs.run import Run

hub = pytest.importorskip("huggingface_hub")
COMMIT = "c0" * 20


class Hub(BaseHTTPRequestHandler):
    """One repository: what the library asks for when it makes one, commits to it, and downloads it."""

    files: dict[str, bytes]
    asked: list[tuple[str, Any]]

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def answer(self, content: Any, code: int = 200, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), "X-Repo-Commit": COMMIT, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.endswith("/commit/main"):
            lines = [json.loads(line) for line in body.splitlines()]
            new = {line["value"]["path"]: line["value"]["content"] for line in lines if line["key"] == "file"}
            self.files.update({name: base64.b64decode(text) for name, text in new.items()})
            self.answer(
                {"commitUrl": f"https://huggingface.co/mine/run/commit/{COMMIT}", "commitOid": COMMIT, "success": True}
            )
            return
        asked = json.loads(body or b"{}")
        self.asked.append((self.path, asked))
        if "/preupload/" in self.path:
            names = [file["path"] for file in asked["files"]]
            self.answer({"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]})
        else:
            self.answer({"url": "https://huggingface.co/mine/run", "id": "mine/run", "name": "mine/run"})

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if "other/none" in path:
            self.answer({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
        elif found := re.fullmatch(r"/mine/run/resolve/\w+/(.+)", path):
            content = self.files[found[1]]
            self.answer(content, ETag=f'"{hashlib.sha1(content).hexdigest()}"')
        elif "/tree/" in path:
            rows = [{"type": "file", "path": n, "size": len(c), "oid": "0" * 40} for n, c in self.files.items()]
            self.answer(rows)
        else:
            rows = [{"rfilename": name} for name in self.files]
            self.answer(
                {"id": "mine/run", "sha": COMMIT, "siblings": rows, "private": True, "tags": [], "downloads": 0}
            )

    do_HEAD = do_GET


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    kind = type("OneHub", (Hub,), {"files": {}, "asked": []})
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{httpd.server_port}"
    for name in ("huggingface_hub.constants", "huggingface_hub.hf_api"):
        monkeypatch.setattr(f"{name}.ENDPOINT", address, raising=False)
    monkeypatch.setattr(
        hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    yield kind
    httpd.shutdown()
    httpd.server_close()


def test_a_pushed_run_is_loaded_again_and_samples_the_same(tiny_run: Make, server: type[Hub], tmp_path: Path) -> None:
    run = tiny_run("cgan")
    pushed = ganfold.push(run, "mine/run", license="cc0-1.0")
    made = next(asked for path, asked in server.asked if path.endswith("/repos/create"))
    assert made.get("private", made.get("visibility") == "private") is True
    assert set(pushed.files) == set(server.files)
    assert str(tmp_path).encode() not in b"".join(server.files.values())  # no folder of the owner's machine
    server.files["evil.py"] = b"raise SystemExit"
    loaded = ganfold.load("hub:mine/run")
    assert np.array_equal(loaded.sample(9, seed=4), run.sample(9, seed=4))
    assert not (loaded.path / "evil.py").exists()  # what a run does not need is not downloaded
    again = ganfold.load("hub:mine/run@main")
    assert again.path == loaded.path


def test_what_the_hub_refuses_is_one_sentence(tiny_run: Make, server: type[Hub]) -> None:
    with pytest.raises(GanfoldError, match="cannot load hub:other/none from the Hugging Face hub: Repo"):
        ganfold.load("hub:other/none")
    for wrong in ("hub:nothing", "hub:../x", "hub:a/b/c", "hub:"):
        with pytest.raises(GanfoldError, match="is no name on the hub: give it as user/name"):
            ganfold.load(wrong)
    with pytest.raises(GanfoldError, match="is no name on the hub"):
        ganfold.push(tiny_run("cgan"), "nothing")


def test_the_card_holds_what_was_measured(tiny_run: Make) -> None:
    run = tiny_run("cgan", ("a|b", "[x](y)", "<script>"))
    bare = folder(run, facts(run, "unknown"), b"model", {})["README.md"].decode()
    assert "This run was not evaluated" in bare
    assert "Nobody has said under which licence" in bare
    assert "<script>" not in bare
    assert 'license: "unknown"' in bare
    metrics = [Metric("KID", "lower", 0.125, 0.01, 0.0625, None)]
    evaluation = Evaluation(metrics, {}, ["Far from real images."], {"count": 96, "features": "efficientnet"})
    write_bytes(run.path / "evaluation.json", evaluation.to_json().encode())
    text = folder(run, facts(run, "unknown"), b"model", {})["README.md"].decode()
    assert "| KID | 0.125 | 0.0625 | lower |" in text
    assert "Far from real images." in text
    assert "count 96" in text
    write_bytes(run.path / "copies.json", b'{"verdict": "none"}')
    with pytest.raises(GanfoldError, match=r"copies\.json is damaged"):
        folder(run, facts(run, "unknown"), b"model", {})


@pytest.mark.parametrize("name", ["cyclegan", "gawwn"])
def test_the_folder_opens_as_a_run_of_any_kind(name: str, tiny_run: Make, tmp_path: Path) -> None:
    run = tiny_run(name)
    for file, content in folder(run, facts(run, "unknown"), b"model", {}).items():
        write_bytes(tmp_path / "folder" / file, content)
    loaded = Run(tmp_path / "folder")
    assert all(bool((a == b).all()) for a, b in zip(loaded.gan.parameters(), run.gan.parameters(), strict=True))
    assert loaded.checkpoint == run.checkpoint
