from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ganfold
from exports.conftest import CLASSES, Make
from ganfold.errors import GanfoldError
from ganfold.exports import onnx_file
from ganfold.exports.onnx_file import onnx_bytes
from ganfold.exports.sampler import Inputs, Sampler, facts, program
from ganfold.exports.torch_file import torch_files
from ganfold.exports.web import LARGEST, RUNTIME, page
from ganfold.gans.registry import GANS
from tiny import small_gan

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

EXACT = 1e-4  # of a pixel in [-1, 1]; what was measured is 2e-6
FREE = ("pix2pix", "cyclegan", "srgan")  # whose size is the user's


@pytest.mark.slow
@pytest.mark.parametrize("name", GANS)
def test_every_gan_is_exported_exactly_at_other_batches_and_sizes(name: str, tiny_run: Make) -> None:
    run = tiny_run(name)
    said = facts(run, "CC0-1.0")
    content, difference = onnx_bytes(run, said)
    files, other = torch_files(run, said)
    assert difference < EXACT
    assert other < EXACT
    sampler = Sampler(run.gan)
    images = sampler(*sampler.inputs(16, sampler.grid.traced(), 1).values())
    assert images.std() > 0.1  # grey images would agree with anything
    model = onnx.load_from_string(content)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert [value.name for value in model.graph.input] == list(sampler.names)
    for value in model.graph.input:
        axes = [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        assert axes[0] == "batch"
        assert axes[2:] == (["height", "width"] if name in FREE else [16, 16]) or len(axes) < 4
    props = {prop.key: prop.value for prop in model.metadata_props}
    assert (props["gan"], props["license"], props["ganfold"]) == (name, "CC0-1.0", ganfold.__version__)
    assert json.loads(props["classes"]) == list(run.classes)
    assert json.loads(props["protocol"])["data"] == "photos"
    assert len(files["generator.safetensors"]) < len(content) + 20_000  # no weights of D


def test_an_export_that_differs_is_refused(tiny_run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = onnx_file.runtime

    def wrong(content: bytes) -> Any:
        apply = exact(content)
        return lambda inputs: apply(inputs) + 0.005

    monkeypatch.setattr(onnx_file, "runtime", wrong)
    out = tmp_path / "g.onnx"
    with pytest.raises(GanfoldError, match=r"differs from `ganfold sample` by 0\.005"):
        ganfold.export(tiny_run("dcgan"), "onnx", out)
    assert not out.exists()


def test_a_gan_that_fixes_the_number_of_images_is_refused_in_a_sentence() -> None:
    gan = small_gan("dcgan")
    gan.sample = lambda z, condition={}: gan.G(z.view(len(z), -1))  # type: ignore[method-assign]
    with pytest.raises(GanfoldError, match="mine cannot be exported, since PyTorch cannot make one program"):
        program(Sampler(gan.eval()), "mine")


def test_generator_py_makes_the_images_of_sample_without_ganfold(tiny_run: Make, tmp_path: Path) -> None:
    run = tiny_run("cgan")
    exported = ganfold.export(run, "torch", tmp_path / "made")
    assert exported.difference < EXACT
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); sys.modules['ganfold'] = sys.modules['safetensors'] = None\n"
        "from generator import FACTS, Generator\n"
        "import torch; torch.save([Generator().sample(40, seed=3, start=5, label='owl'), FACTS], sys.argv[2])"
    )
    subprocess.run([sys.executable, "-I", "-c", code, tmp_path / "made", tmp_path / "images.pt"], check=True)
    images, said = torch.load(tmp_path / "images.pt")
    expected = run.sample(40, seed=3, start=5, label="owl")
    assert np.abs(images.numpy().astype(int) - expected).max() <= 1
    assert (images.numpy() == expected).mean() > 0.999
    assert tuple(said["classes"]) == CLASSES
    grid = tmp_path / "grid.png"
    subprocess.run([sys.executable, "-I", tmp_path / "made" / "generator.py", grid, "2"], check=True)
    assert Image.open(grid).size == (64, 64)


def test_no_name_of_the_users_becomes_code(tiny_run: Make) -> None:
    run = tiny_run("cgan", ("a'''; raise SystemExit('code')", '"""', "@@BODY@@"))
    said = dict(facts(run, 'x"""\nraise SystemExit("code")'))
    said["protocol"] = {**said["protocol"], "data": '"""\nraise SystemExit("code")\n"""'}
    files, _ = torch_files(run, said)
    names: dict[str, object] = {"__name__": "generator", "__file__": "generator.py"}
    exec(files["generator.py"], names)
    assert names["FACTS"] == said


def test_the_page_names_its_runtime_or_holds_it(tiny_run: Make, tmp_path: Path) -> None:
    said = facts(tiny_run("cgan"), "CC0-1.0")
    text = page(said, b"model", None).decode()
    assert all(name in text and digest in text for name, digest in RUNTIME.items())
    assert "</script><b>" not in text
    for name in RUNTIME:
        (tmp_path / name).write_bytes(b"x" * 50)
    inside = page(said, b"model", tmp_path).decode()
    assert not any(digest in inside for digest in RUNTIME.values())
    assert inside == page(said, b"model", tmp_path).decode()
    with pytest.raises(GanfoldError, match="30 are the most"):
        page(said, np.random.default_rng(0).bytes(LARGEST), tmp_path)
    with pytest.raises(GanfoldError, match=r"does not hold ort\.wasm\.min\.js of onnxruntime-web"):
        page(said, b"model", tmp_path / "nowhere")


def test_the_space_generates_without_ganfold_and_gradio(tiny_run: Make, tmp_path: Path) -> None:
    run = tiny_run("cgan")
    ganfold.export(run, "demo", tmp_path / "demo")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); sys.modules['ganfold'] = sys.modules['torch'] = None\n"
        "import app; made = app.generate(seed=1, label='owl', count=3); print(len(made), made[0].size, made[0].mode)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, tmp_path / "demo"], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "3 (16, 16) RGB"
    assert 'sdk: "gradio"' in (tmp_path / "demo" / "README.md").read_text()


@pytest.mark.parametrize(
    ("to", "out", "more", "sentence"),
    [
        ("onnx", "g.bin", {}, r"writes one file: end --out with \.onnx"),
        ("torch", "g.onnx", {}, "writes a folder"),
        ("onnx", "there.onnx", {}, "exists: give --out another name, or --force"),
        ("hub", "full", {}, "exists: give --out another name, or --force"),
        ("onnx", "g.onnx", {"runtime": "web"}, "--runtime belongs to --to web"),
    ],
)
def test_a_wrong_place_is_refused_before_the_work(
    to: Any, out: str, more: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "there.onnx").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(GanfoldError, match=sentence):
        ganfold.export(tmp_path / "no-run", to, tmp_path / out, **more)


def test_the_check_uses_other_batches_and_sizes_than_the_program() -> None:
    for name, free in (("dcgan", False), ("cyclegan", True)):
        sampler = Sampler(small_gan(name).eval())
        traced = sampler.grid.traced()
        sizes = sampler.grid.checked(16)
        assert (traced not in sizes) is free
        shapes = [tuple(value.shape) for size in sizes for value in sampler.inputs(1, size).values()]
        assert len(set(shapes)) == (2 if free else 1)
    inputs: Inputs = Sampler(small_gan("gawwn").eval()).inputs(5, (1, 1))
    assert list(inputs) == ["latents", "text", "box"]
    assert (inputs["box"][:, :2] + inputs["box"][:, 2:]).max() <= 1
