"""Nothing that is loaded writes beyond its memory, runs, or reaches for files that are none of its own.

Where the kinds were looked for:

- Tensors of a file that reach a network or an optimizer: `Trainer.load` (all GANs), `checkpoint.restore` (a run's
  weights), `vgg19` in `networks.perceptual` (which checks by itself), features in the cache, TorchScript (documented
  as code). Arrays of the cache: `tests/data/test_cache.py`.
- Children that could import from the current folder: every `subprocess` and `joblib` in `src`. These are the decoding
  children and the jobs of a study; ganfold itself never starts torchrun.
- Files that another file names: every column of parquet files and of sets of the hub; links and sparse members of tars.
  The rows of `metadata.csv` only name files that the folder's listing has found.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ganfold.data import ImageSet, load, work
from ganfold.errors import GanfoldError
from ganfold.gans import GANS
from ganfold.metrics.features import extractor
from ganfold.networks.perceptual import vgg19
from ganfold.studies import jobs
from tiny import rich_images, small_trainer


@pytest.fixture(scope="module")
def rich(squares: Path) -> ImageSet:
    return rich_images(squares)


Change = Callable[[dict[str, Tensor], dict[str, Any], str], object]
"""Changes a trainer's tensors or state; the text is the name of a moment."""

CHANGES: dict[str, Change] = {
    "has the shape (1,)": lambda tensors, _, moment: tensors.update({moment: torch.zeros(1)}),
    "has the shape ()": lambda tensors, _, moment: tensors.update({moment: torch.zeros(())}),
    "has the type torch.float64": lambda tensors, _, moment: tensors.update({moment: tensors[moment].double()}),
    "has the type torch.uint8": lambda tensors, _, moment: tensors.update({moment: tensors[moment].byte()}),
    "is missing": lambda tensors, _, moment: tensors.pop(moment),
    "belongs to nothing": lambda tensors, _, moment: tensors.update({moment + "2": tensors[moment]}),
    "belongs to none of its": lambda tensors, _, moment: tensors.update(
        {moment.replace(".0.", ".999."): tensors[moment]}
    ),
    "'other' belongs to nothing": lambda tensors, *_: tensors.update({"other": torch.zeros(1)}),
    "'meter.0' has the shape (7,)": lambda tensors, *_: tensors.update({"meter.0": torch.zeros(7)}),
    "'meter.0' is missing": lambda tensors, *_: tensors.pop("meter.0"),
    "'gan.seen' has the type torch.float32": lambda tensors, *_: tensors.update({"gan.seen": torch.zeros(())}),
    "'gan.seen' is missing": lambda tensors, *_: tensors.pop("gan.seen"),
    "steps in its state is nan": lambda _, state, __: state.update({"steps": float("nan")}),
    "draws is missing": lambda _, state, __: state.pop("draws"),
    "meter in its state": lambda _, state, __: state["meter"]["counts"].update({"0": float("nan")}),
    "parts in its state is 1000": lambda _, state, __: state.update({"parts": 1000}),
}


@pytest.mark.parametrize("wrong", CHANGES)
def test_a_tensor_that_does_not_fit_reaches_no_optimizer(wrong: str, rich: ImageSet) -> None:
    trainer, other = small_trainer("dcgan", rich), small_trainer("dcgan", rich)
    trainer.step()
    before, _ = other.state()
    before = {name: value.clone() for name, value in before.items()}
    tensors, state = trainer.state()
    CHANGES[wrong](tensors, state, "optimizer.G.0.exp_avg")
    with pytest.raises(GanfoldError) as caught:
        other.load(tensors, state, "runs/a/step-1.safetensors")
    assert str(caught.value).startswith("runs/a/step-1.safetensors does not fit the networks")
    assert wrong in str(caught.value)
    after, _ = other.state()
    assert after.keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in after.items())


@pytest.mark.parametrize("gan", GANS)
def test_each_moment_of_each_gan_is_looked_at(gan: str, rich: ImageSet) -> None:
    trainer, other = small_trainer(gan, rich), small_trainer(gan, rich)
    trainer.step()
    tensors, state = trainer.state()
    other.load(dict(tensors), state)  # as it was saved it fits
    firsts = {name.rpartition(".")[2]: name for name in tensors if name.startswith("optimizer.")}
    assert firsts
    for name in firsts.values():
        for value in (torch.zeros(3, 5), tensors[name].int()):
            with pytest.raises(GanfoldError, match="does not fit the networks"):
                other.load(tensors | {name: value}, state)
    step = next(name for name in tensors if name.endswith(".step"))
    with pytest.raises(GanfoldError, match="step' is nan"):
        other.load(tensors | {step: torch.tensor(float("nan"))}, state)


def test_the_moments_of_a_users_own_optimizer_are_loaded(rich: ImageSet) -> None:
    trainers = [small_trainer("dcgan", rich) for _ in range(2)]
    for trainer in trainers:
        for name in trainer.gan.optimizers:
            trainer.gan.optimizers[name] = torch.optim.Adafactor(trainer._owned[name])
    one, other = trainers
    one.step()
    tensors, state = one.state()
    other.load(tensors, state)
    name = next(name for name in tensors if name.endswith(".row_var"))
    with pytest.raises(GanfoldError, match=r"row_var' has the shape \(1000, 1000\)"):
        other.load(tensors | {name: torch.zeros(1000, 1000)}, state)


TRAPS = ("ganfold", "numpy", "PIL", "json", "pickle", "joblib", "warnings", "sitecustomize", "torch")


@pytest.fixture
def trapped(tmp_path: Path) -> Path:
    """A folder of images with modules that leave a file behind when they are imported."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)).save(
            folder / f"{number}.png"
        )
    for name in TRAPS:
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r})\n")
    return folder


def test_decoding_children_run_nothing_from_the_folder_of_images(trapped: Path) -> None:
    script = trapped.parent / "check.py"
    script.write_text(
        "from pathlib import Path\nfrom ganfold.data import prepare\nfrom ganfold.data.sources import lookup\n"
        "options = prepare.LoadOptions(None, None, 'crop', None)\n"
        "made = prepare.prepare(lookup.find_source('.'), 's', options, Path('../cache'), workers=2)\n"
        "print(len(made.images))\n"
    )
    done = subprocess.run([sys.executable, "../check.py"], cwd=trapped, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("4\n", "")
    assert not (trapped.parent / "ran").exists()


def test_decoding_children_find_ganfold_in_a_source_tree(trapped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ganfold

    source = str(Path(ganfold.__file__).parents[1])
    monkeypatch.chdir(trapped)
    monkeypatch.setattr(sys, "path", ["", *(path for path in sys.path if path != source), source])
    children = work._Children()
    try:
        assert children.start(2)
    finally:
        children.end()
    assert not (trapped.parent / "ran").exists()


def test_the_children_of_a_study_run_nothing_from_the_current_folder(trapped: Path) -> None:
    script = trapped.parent / "study.py"
    script.write_text(
        "import os, sys\nfrom pathlib import Path\nfrom ganfold.studies import jobs\n"
        "def run_job(folder, job):\n    return f'{job.name} {sys.flags.safe_path}'\n"
        "jobs.run_job = run_job\nlines = []\n"
        "if __name__ == '__main__':\n"
        "    jobs.run_jobs(Path('..'), [jobs.Job(n, 'a') for n in range(4)], 2, lines.append, 0, 4)\n"
        "    print(sorted(line.split('; ')[0][8:] for line in lines), os.environ.get('PYTHONSAFEPATH'))\n"
    )
    done = subprocess.run([sys.executable, "../study.py"], cwd=trapped, capture_output=True, text=True, check=False)
    assert done.stdout == "['00-a True', '01-a True', '02-a True', '03-a True'] None\n", done.stderr
    assert not (trapped.parent / "ran").exists()


def test_the_environment_is_as_before_after_a_studys_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONSAFEPATH", "yes")
    with pytest.raises(KeyError), jobs._safe_path():
        raise KeyError
    assert os.environ["PYTHONSAFEPATH"] == "yes"


def _write_parquet(path: Path, rows: list[dict[str, Any]], more: Any = None) -> None:
    import datasets
    import pyarrow
    import pyarrow.parquet

    features = datasets.Features({"image": datasets.Image(), **(more or {})})
    path.parent.mkdir(exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=features.arrow_schema), path)


def test_a_parquet_file_names_only_files_below_its_own_folder(tmp_path: Path) -> None:
    secret, folder = tmp_path / "secret.png", tmp_path / "set"
    (folder / "sub").mkdir(parents=True)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
    image.save(secret)
    image.rotate(90).save(folder / "sub" / "own.png")
    (folder / "inside.png").symlink_to("sub/own.png")
    (folder / "link.png").symlink_to(secret)
    (folder / "up").symlink_to(tmp_path)
    (folder / "zero").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.png")
    with open(folder / "huge.png", "wb") as file:
        file.truncate(2**28 + 1)
    named = {
        str(secret): "only files below",
        str(folder / "sub" / "own.png"): "only files below",
        "/dev/zero": "only files below",
        "../secret.png": "only files below",
        "sub/../../secret.png": "only files below",
        "link.png": "a link out of its own folder",
        "up/secret.png": "a link out of its own folder",
        "zero": "a link out of its own folder",
        "pipe.png": "not a regular file",
        "sub": "not a regular file",
        "huge.png": "a file of 268,435,457 bytes",
        "gone.png": "No such file",
        "a\0b": "null",
        "~/x.png": "No such file",
        "x\x1b[2J.png": r"names 'x\x1b[2J.png'",
    }
    names = ["sub/own.png", "inside.png", *named]
    _write_parquet(folder / "a.parquet", [{"image": {"bytes": None, "path": name}} for name in names])
    images = load(folder / "a.parquet", keep_duplicates=True, cache=tmp_path / "cache", progress=False)
    assert (len(images), list(images.names)) == (2, ["image[0]", "image[1]"])
    assert (images.images[0].transpose(1, 2, 0) == np.asarray(image.rotate(90))).all()
    found = {finding.file: finding.why for finding in images.findings.skipped}
    for number, why in enumerate(named.values(), 2):
        assert why in found[f"image[{number}]"]


def test_another_column_of_a_parquet_file_reaches_no_file_either(tmp_path: Path) -> None:
    import datasets

    image = Image.fromarray(np.zeros((16, 16, 3), np.uint8))
    image.save(tmp_path / "own.png")
    content = {"bytes": (tmp_path / "own.png").read_bytes(), "path": None}
    other = {"bytes": None, "path": str(tmp_path / "no such file.png")}  # decoding it would be an error
    rows = [{"image": content, "other": other, "several": [other], "age": 3}]
    more = {"other": datasets.Image(), "several": datasets.List(datasets.Image()), "age": datasets.Value("int64")}
    _write_parquet(tmp_path / "set" / "a.parquet", rows, more)
    images = load(tmp_path / "set" / "a.parquet", cache=tmp_path / "cache", progress=False)
    assert images.attributes is not None
    assert images.attributes[0] == {"age": 3}


def test_members_of_a_tar_name_no_other_file_and_are_bounded(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "secret.png")
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(tmp_path / "secret.png", "0.png")
        for number, (kind, target) in enumerate(
            [(tarfile.SYMTYPE, str(tmp_path / "secret.png")), (tarfile.LNKTYPE, "../secret.png")], 1
        ):
            link = tarfile.TarInfo(f"{number}.png")
            link.type, link.linkname = kind, target
            tar.addfile(link)
    assert len(load(path, cache=tmp_path / "cache", progress=False)) == 1
    member = tarfile.TarInfo("1.png")
    member.type, member.size = tarfile.GNUTYPE_SPARSE, 0
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"%011o\0" % 2**32  # the size that the member unpacks to: zeros that take no space
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path.write_bytes(path.read_bytes()[:-10240] + bytes(header) + bytes(1024))
    with pytest.raises(GanfoldError, match=r"its member '1.png' unpacks to 4,294,967,296 bytes"):
        load(path, cache=tmp_path / "cache", progress=False)


def test_damaged_features_in_the_cache_are_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANFOLD_CACHE", str(tmp_path))
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), np.uint8)
    features = extractor("pixels")
    expected = features.cached(images)
    (path,) = (tmp_path / "features").iterdir()
    good, values = path.read_bytes(), expected.numpy()
    for damage in (values[:4], values[:, :0], values.astype(np.float64), values[None], values.ravel(), np.array("a")):
        np.save(path, damage)
        assert torch.equal(features.cached(images), expected)
        assert path.read_bytes() == good
    for cut in (b"", good[:50], good[:-1], good[:60] + b"((((" + good[64:], good.replace(b"(5,", b"(9999999999,")):
        path.write_bytes(cut)
        assert torch.equal(features.cached(images), expected)
        assert path.read_bytes() == good


def test_weights_of_vgg_of_another_type_are_refused(tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3, dtype=torch.complex64)}, tmp_path / "vgg.pth")
    with pytest.raises(GanfoldError, match=r"is not VGG-19: features.0.weight .* the type torch.complex64"):
        vgg19(tmp_path / "vgg.pth")
