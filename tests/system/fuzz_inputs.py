"""Hostile inputs for `fuzz`: each kind makes files in an empty folder, and gives the call that reads them."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image

import ganfold
from ganfold.data import load
from ganfold.data.sets import load_as
from ganfold.images.files import change_images
from ganfold.metrics.features import extractor
from ganfold.runs import checkpoint
from tiny import write_squares

T = TypeVar("T")
Call = Callable[[], object]
KIMG = 0.016  # of a run: two steps
EXTREMES = (0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
TEXTS = (
    "", "a", "é", "1", "1.0", "-1", "null", "x" * 5000, "../../etc/passwd", "/dev/zero", "C:\\x", "a\0b", "a\nb",
    "\x1b]0;title\x07", "\x1b[2J", "\u202egnp.exe", "\ud800", "=cmd|' /C calc'!A0", "<script>alert(1)</script>",
    '"onerror="alert(1)', "</style>", "{{7*7}}", "%s%n", "$\\frac{$", "[red]x[/red]", "nan", "1e999",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 10**30, -(2**63), 0.5, float("nan"), float("inf"), [], {}, [[]], [1, "a"], {"a": 1}, *TEXTS,
)  # fmt: skip


class Dice:
    """Choices that a seed decides."""

    def __init__(self, *seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def below(self, end: int) -> int:
        return int(self._random.integers(max(1, end)))

    def one_in(self, count: int) -> bool:
        return self.below(count) == 0

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.below(len(choices))]

    def noise(self, count: int) -> bytes:
        return self._random.bytes(count)

    def mutated(self, content: bytes, first: int = 0) -> bytes:
        """The content with one to three faults behind byte `first`."""
        changed = bytearray(content)
        for _ in range(1 + self.below(3)):
            near = self.one_in(2)  # headers break more than pixels do
            place = first + self.below(min(256, len(changed) - first) if near else len(changed) - first)
            length = 1 + self.below(self.pick((2, 16, 1000)))
            match self.below(7):
                case 0:
                    for _ in range(length):
                        at = min(place + self.below(64), len(changed) - 1)
                        if at >= 0:
                            changed[at] ^= 1 << self.below(8)
                case 1:
                    del changed[place:]
                case 2:
                    del changed[place : place + length]
                case 3:
                    changed[place:place] = self.noise(length)
                case 4:
                    changed[place : place + length] = bytes(len(changed[place : place + length]))
                case 5:
                    changed[place:place] = changed[place : place + length]
                case _:
                    width, order = self.pick((2, 4, 8)), self.pick("<>")
                    value = self.pick(EXTREMES) % 2 ** (8 * width)
                    packed = struct.pack(f"{order}{ {2: 'H', 4: 'L', 8: 'Q'}[width] }", value)
                    changed[place : place + width] = packed
        return bytes(changed)

    def changed_json(self, value: Any) -> Any:
        """The value with another in one place: of a wrong type, missing, added, extreme or nested deep."""
        if isinstance(value, dict) and value and not self.one_in(8):
            key = self.pick(list(value))
            if self.one_in(6):
                return {name: each for name, each in value.items() if name != key}
            if self.one_in(12):
                return {**value, self.pick(TEXTS): self.pick(VALUES)}
            return {**value, key: self.changed_json(value[key])}
        if isinstance(value, list) and value and not self.one_in(4):
            place = self.below(len(value))
            return [*value[:place], self.changed_json(value[place]), *value[place + 1 :]]
        return self.pick(VALUES)

    def damaged_json(self, content: bytes) -> bytes:
        """A JSON file with a wrong value, or with damaged bytes."""
        if self.one_in(3) or not content.strip():
            return self.mutated(content)
        if self.one_in(30):
            depth = self.pick((2000, 200_000))
            return b"[" * depth + b"]" * depth
        return json.dumps(self.changed_json(json.loads(content))).encode()


@dataclass
class Stock:
    """What is made once and changed in each case."""

    pictures: dict[str, bytes]  # by suffix, with a number before it
    squares: bytes  # an npz
    run: Path  # a run folder with all its files
    data: Path  # what it was trained on
    parquet: bytes

    @classmethod
    def made(cls, folder: Path) -> Stock:
        data = write_squares(folder / "squares.npz")
        options: dict[str, Any] = {"width": 4, "batch": 8, "report_kimg": 0.008, "held_out": 0.5, "seed": 1}
        ganfold.train("dcgan", data, folder / "run", kimg=KIMG, resolution=16, progress=False, **options)
        _measured(folder / "run")
        return cls(_pictures(), data.read_bytes(), folder / "run", data, _parquet(folder / "a.parquet"))


def _measured(run: Path) -> None:
    """Give a run the files of measurements that take long to make."""
    metric = {"name": "KID", "better": "lower", "value": 0.25, "error": 0.01, "floor": 0.002, "floor_error": 0.001}
    share = {"share": 0.042, "real": 0.01, "threshold": 0.1, "chance": 0.001}
    evaluation = {"figures": [metric], "classes": {"0": [metric]}, "notes": ["A note."], "protocol": {"seed": 0}}
    copies = {
        "verdict": "near-copies: none found", "pixels": share, "features": share, "authenticity": 0.9,
        "authenticity_real": 0.5, "c_t": -5.0, "c_t_real": None, "notes": ["A note."], "protocol": {"images": "9"},
        "pairs": [{"sample": "sample 1", "training": "images[1]", "space": "pixels", "distance": 1.0,
                   "is_copy": False, "mirrored": False}],
    }  # fmt: skip
    (run / "evaluation.json").write_text(json.dumps(evaluation))
    (run / "copies.json").write_text(json.dumps(copies))


def _saved(image: Image.Image, suffix: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, Image.registered_extensions()[f".{suffix}"], **options)
    return out.getvalue()


def _pictures() -> dict[str, bytes]:
    """A picture in each format and variant that Pillow writes here."""
    values = np.random.default_rng(0).integers(0, 256, (24, 20, 4), np.uint8)
    colour, clear = Image.fromarray(values[..., :3]), Image.fromarray(values)
    grey, deep = Image.fromarray(values[..., 0]), Image.fromarray(values[..., 0].astype(np.uint16) * 257)
    real, whole = Image.fromarray(values[..., 0] / np.float32(255)), Image.fromarray(values[..., 0].astype(np.int32))
    exif = Image.Exif()
    exif[0x0112] = 6
    several = {"save_all": True, "append_images": [colour.rotate(90), colour]}
    variants: list[tuple[str, Image.Image, dict[str, Any]]] = [
        *((suffix, colour, {}) for suffix in ("png", "jpg", "webp", "tif", "gif", "bmp", "ppm", "tga", "avif")),
        *((suffix, colour, {}) for suffix in ("jp2", "pcx", "sgi", "qoi", "dds", "dib")),
        *((suffix, grey, {}) for suffix in ("pgm", "png", "jpg", "tif")),
        *((suffix, deep, {}) for suffix in ("png", "tif", "pgm")),
        *((suffix, real, {}) for suffix in ("tif", "pfm")),
        ("tif", whole, {}), ("xbm", grey.convert("1"), {}), ("msp", grey.convert("1"), {}),
        ("pbm", grey.convert("1"), {}), ("png", clear, {}), ("webp", clear, {"lossless": True}), ("ico", clear, {}),
        ("icns", clear.resize((32, 32)), {}), ("tga", clear, {"compression": "tga_rle"}),
        ("png", colour.convert("P"), {}), ("png", colour, {"exif": exif}), ("jpg", colour, {"exif": exif}),
        ("jpg", colour.convert("CMYK"), {}), ("jpg", colour, {"progressive": True}),
        *(("tif", colour, {"compression": name}) for name in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")),
        ("tif", grey.convert("1"), {"compression": "group4"}),
        *((suffix, colour, several) for suffix in ("tif", "gif", "png", "webp")),
    ]  # fmt: skip
    made = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, (suffix, image, options) in enumerate(variants):
            try:
                made[f"{number}.{suffix}"] = _saved(image, suffix, **options)
            except (KeyError, OSError):  # this Pillow cannot write it
                continue
    return made


def _parquet(path: Path) -> bytes:
    try:
        import datasets
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        return b""
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    pixels = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
    rows = [
        {"image": {"bytes": _saved(Image.fromarray(each), "png"), "path": None}, "label": number % 2}
        for number, each in enumerate(pixels)
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=features.arrow_schema), path)
    return path.read_bytes()


def _good(number: int = 0) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
    return _saved(Image.fromarray(pixels), "png")


def _damaged_picture(dice: Dice, stock: Stock) -> tuple[str, bytes]:
    """A damaged picture, now and then with the suffix of another format."""
    name = dice.pick(list(stock.pictures))
    suffix = (dice.pick(list(stock.pictures)) if dice.one_in(10) else name).rpartition(".")[2]
    return f"b/bad.{suffix}", dice.mutated(stock.pictures[name])


def _loaded(source: Path, count: int | None = None) -> object:
    """Load a source with small images; each of `count` images must be used or named."""
    images = load(source, resolution=16, keep_duplicates=True, progress=False)
    findings = images.findings
    total = findings.used + len(findings.skipped)
    assert count in (None, total), f"{count} images, and {findings.used} used and {len(findings.skipped)} named"
    assert len(images.images) == findings.used
    np.array(images.images)
    return findings


def picture_in_a_folder(folder: Path, dice: Dice, stock: Stock) -> Call:
    name, content = _damaged_picture(dice, stock)
    for path, each in (("data/a/good.png", _good()), (f"data/{name}", content)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(each)
    return lambda: _loaded(folder / "data", 2)


def picture_in_a_zip(folder: Path, dice: Dice, stock: Stock) -> Call:
    method = dice.pick((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(folder / "a.zip", "w", method) as file:
        name, content = _damaged_picture(dice, stock)
        file.writestr("a/good.png", _good())
        file.writestr(name, content)
    return lambda: _loaded(folder / "a.zip", 2)


def _tar(path: Path, members: Sequence[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as file:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))


def picture_in_a_tar(folder: Path, dice: Dice, stock: Stock) -> Call:
    _tar(folder / "a.tar", [("a/good.png", _good()), _damaged_picture(dice, stock)])
    return lambda: _loaded(folder / "a.tar", 2)


def image_to_change(folder: Path, dice: Dice, stock: Stock) -> Call:
    """What `inpaint`, `upscale` and `translate` do to an image that is given to them, without their network."""
    name, content = _damaged_picture(dice, stock)
    (folder / Path(name).name).write_bytes(content)
    out = folder / "out" / f"a.{dice.pick(('png', 'webp', 'tif', 'jpg', 'bmp', 'tga'))}"
    out.parent.mkdir()
    return lambda: change_images(folder / Path(name).name, out, lambda image, _: image, progress=False)


def array(folder: Path, dice: Dice, stock: Stock) -> Call:
    """npy and npz: damaged bytes, and headers that promise what is not there."""
    name = dice.pick(("a.npy", "a.npz", "b.npz", "c.npz"))
    images = np.load(io.BytesIO(stock.squares))["images"][:12]
    out = io.BytesIO()
    np.save(out, images if dice.one_in(2) else np.asfortranarray(images))
    content = out.getvalue()
    if dice.one_in(2):
        size = [dice.pick((0, 1, 3, 8, 12, 16, -1, 10**10, 2**32, 2**62, 10**30)) for _ in range(dice.below(6))]
        kind = dice.pick(("|u1", "|b1", "<f4", "<i8", "|O", "<U9", "|S0", "<c16", "|V4", "<M8", "u1,u1"))
        shape = str(tuple(size)) if dice.one_in(2) else "(12, 16, 16, 3)"
        fortran = dice.pick(("True", "False"))
        text = f"{{'descr': '{kind}', 'fortran_order': {fortran}, 'shape': {shape}, }}"
        text = dice.pick((text, text, text, text[:-3], "(" * 300, f"{{{text!r}: 1}}", text + "\0", "{'shape': 1}"))
        content = b"\x93NUMPY\1\0" + struct.pack("<H", len(text) + 1) + text.encode() + b"\n" + content[128:]
    if name == "a.npy":
        (folder / name).write_bytes(content if dice.one_in(2) else dice.mutated(content))
    elif name == "a.npz":
        (folder / name).write_bytes(dice.mutated(stock.squares))
    else:
        key = "images" if name == "b.npz" else dice.pick(("labels", "classes"))
        with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as file:
            for array_name in ("images", "labels", "classes"):
                whole = io.BytesIO()
                np.save(whole, {"images": images, "labels": np.arange(12) % 2, "classes": ["a", "b"]}[array_name])
                file.writestr(f"{array_name}.npy", content if array_name == key else whole.getvalue())
    return lambda: _loaded(folder / name)


def idx(folder: Path, dice: Dice, stock: Stock) -> Call:
    """MNIST's files and those of CIFAR and STL, plain and packed."""
    images = struct.pack(">LLLL", 0x803, 10, 16, 16) + dice.noise(10 * 256)
    labels = struct.pack(">LL", 0x801, 10) + bytes(range(10))
    if dice.one_in(3):
        images = struct.pack(">LLLL", 0x803, *(dice.pick(EXTREMES) % 2**32 for _ in range(3))) + images[16:]
    if dice.one_in(4):
        (folder / "data_batch_1.bin").write_bytes(dice.mutated(dice.noise(3073 * 4)))
        return lambda: _loaded(folder)
    suffix = dice.pick(("", ".gz"))
    for name, content in (("train-images-idx3-ubyte", images), ("train-labels-idx1-ubyte", labels)):
        if dice.one_in(3):
            content = dice.mutated(content)
        packed = gzip.compress(content, 1) if suffix else content
        (folder / (name + suffix)).write_bytes(dice.mutated(packed) if dice.one_in(3) else packed)
    return lambda: _loaded(folder)


def zip_table(folder: Path, dice: Dice, stock: Stock) -> Call:
    """The table of a zip, with zip64 records, and what it names."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", dice.pick((0, 8, 12, 14))) as file:
        for number in range(4):
            name = dice.pick(("../../x.png", "/x.png", "C:\\x.png", "a/\x1b[2J.png")) if dice.one_in(8) else "a/b.png"
            with file.open(f"{number}/{name}", "w", force_zip64=dice.one_in(2)) as member:
                member.write(_good(number))
    content = bytearray(out.getvalue())
    start = content.find(b"PK\1\2")
    for _ in range(1 + dice.below(3)):
        place, width = start + dice.below(len(content) - start), dice.pick((2, 4))
        content[place : place + width] = (dice.pick(EXTREMES) % 2 ** (8 * width)).to_bytes(width, "little")
    if dice.one_in(3):  # a zip64 end, with numbers of any size
        record = struct.pack("<4sQHHLLQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, *(dice.pick(EXTREMES) for _ in range(4)))
        locator = struct.pack("<4sLQL", b"PK\6\7", 0, dice.pick((len(content) - 22, *EXTREMES)), 1)
        content[-22:] = record + locator + b"PK\5\6" + bytes(4) + b"\xff" * 12 + bytes(2)
    (folder / "a.zip").write_bytes(dice.mutated(bytes(content), start) if dice.one_in(3) else bytes(content))
    return lambda: _loaded(folder / "a.zip")


def tar_headers(folder: Path, dice: Dice, stock: Stock) -> Call:
    """Headers of a tar, damaged with and without a right checksum."""
    folders = dice.one_in(2)
    _tar(folder / "a.tar", [(f"{n % 2}/{n}.png" if folders else f"{n}.png", _good(n)) for n in range(4)])
    content = bytearray((folder / "a.tar").read_bytes()[:-8192])
    for _ in range(1 + dice.below(2)):
        start = 512 * dice.below(len(content) // 512)
        place, length = start + dice.pick((0, 100, 124, 136, 156, 157, 257, 345, 386, 483)), 1 + dice.below(12)
        content[place : place + length] = dice.pick((b"\xff", b"7", b"\0", b"g", b"L", b"x", b"S", b"-")) * length
        head = content[start : start + 512]
        head[148:156] = b" " * 8
        if not dice.one_in(4):
            content[start + 148 : start + 156] = b"%06o\0 " % sum(head)
    (folder / "a.tar").write_bytes(bytes(content))
    return lambda: _loaded(folder / "a.tar")


def parquet(folder: Path, dice: Dice, stock: Stock) -> Call:
    """Damaged Parquet files."""
    footer = max(0, len(stock.parquet) - 2500)
    first = footer if dice.one_in(2) else 0
    (folder / "a.parquet").write_bytes(dice.mutated(stock.parquet, first))
    return lambda: _loaded(folder / "a.parquet")


def metadata(folder: Path, dice: Dice, stock: Stock) -> Call:
    """metadata.csv, metadata.jsonl and StyleGAN's dataset.json beside images; labels, captions and boxes."""
    for number in range(4):
        (folder / f"{number}.png").write_bytes(_good(number))
    rows = [
        {"file_name": f"{n}.png", "label": "ab"[n % 2], "text": "a red square", "box": [0.1, 0.2, 0.3, 0.4]}
        for n in range(4)
    ]
    name = dice.pick(("metadata.csv", "metadata.jsonl", "dataset.json"))
    if name == "dataset.json":
        content = dice.damaged_json(json.dumps({"labels": [[f"{n}.png", n % 2] for n in range(4)]}).encode())
    elif name == "metadata.jsonl":
        content = b"\n".join(dice.damaged_json(json.dumps(row).encode()) for row in rows)
    else:
        lines = ["file_name,label,text", *(f"{n}.png,{dice.pick(TEXTS)},{dice.pick(TEXTS)}" for n in range(4))]
        content = "\n".join(lines).encode("utf-8", "surrogatepass")
        content = content if dice.one_in(2) else dice.mutated(content)
    (folder / name).write_bytes(content)
    if dice.one_in(2):
        return lambda: load_as("captions", folder, progress=False).findings
    return lambda: _loaded(folder)


def names(folder: Path, dice: Dice, stock: Stock) -> Call:
    """Class folders and files of hostile names; trained on, sampled, and shown as a page."""
    for number in range(8):
        text = dice.pick(TEXTS).encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
        place = folder / "data" / (text.replace("/", "_").replace("\0", "")[:80] + str(number % 2))
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}{text[-20:].replace('/', '_')}.png".replace("\0", "")).write_bytes(_good(number))
    if not dice.one_in(3):
        return lambda: _loaded(folder / "data")  # names with a dot before them are hidden

    def use() -> object:
        options: dict[str, Any] = {"kimg": KIMG, "batch": 8, "width": 4, "progress": False}
        run = ganfold.train("dcgan", folder / "data", folder / "out", **options)
        ganfold.sample(folder / "out", folder / "out" / "more", count=4)
        page = ganfold.report(folder / "out").read_text(encoding="utf-8")
        assert "<script>alert" not in page
        return run

    return use


RUN_FILES = ("config.json", "state.json", "data.json", "evaluation.json", "copies.json", "log.jsonl")


def _used_run(folder: Path, dice: Dice, stock: Stock) -> Call:
    """One of the calls that read a run folder."""
    run, out = folder / "run", folder / "out"

    def go_on() -> object:
        options: dict[str, Any] = {"width": 4, "batch": 8, "report_kimg": 0.008, "held_out": 0.5, "seed": 1}
        kimg = KIMG * dice.pick((1, 2))
        return ganfold.train("dcgan", stock.data, run, kimg=kimg, resolution=16, progress=False, **options)

    def evaluate() -> object:
        return ganfold.evaluate(run, stock.data, features="pixels", count=48, progress=False, out=out)

    opened = lambda: ganfold.load(run).to_dict() and ganfold.load(run)  # noqa: E731
    return dice.pick(
        (lambda: ganfold.report(run), opened, lambda: ganfold.sample(run, out, count=2), go_on, go_on, evaluate)
    )


def run_file(folder: Path, dice: Dice, stock: Stock) -> Call:
    """A damaged file of a run."""
    shutil.copytree(stock.run, folder / "run")
    path = folder / "run" / dice.pick(RUN_FILES)
    content = path.read_bytes()
    if path.name == "log.jsonl":
        lines = content.splitlines()
        place = dice.below(len(lines))
        lines[place] = dice.damaged_json(lines[place])
        content = b"\n".join(lines) + b"\n" if dice.one_in(2) else dice.mutated(content)
    else:
        content = dice.damaged_json(content)
    path.write_bytes(content)
    return _used_run(folder, dice, stock)


def checkpoint_content(folder: Path, dice: Dice, stock: Stock) -> Call:
    """A checkpoint with a right digest, and another tensor or state than it should have."""
    shutil.copytree(stock.run, folder / "run")
    path = checkpoint.checkpoints(folder / "run" / "checkpoints")[-1]
    tensors, state = checkpoint.load(path)
    name = dice.pick(list(tensors))
    tensor = tensors[name]
    kinds = (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool, torch.complex64)
    match dice.below(7):
        case 0:
            tensors[name] = torch.zeros([dice.pick((0, 1, 3, 5, 1000)) for _ in range(dice.below(4))])
        case 1:
            tensors[name] = tensor.to(dice.pick(kinds))
        case 2:
            del tensors[name]
        case 3:
            tensors[dice.pick((name + "2", "x", "gan.x", name.replace(".", "/"), "optimizer.G.9.exp_avg"))] = (
                tensor.clone()
            )
        case 4:
            values = (-1, 2**31 - 1, float("nan"), float("inf")) if tensor.is_floating_point() else (-1, 2**30)
            tensors[name] = torch.full_like(tensor, dice.pick(values))
        case _:
            state = dice.changed_json(state)
    checkpoint.write(path, tensors, state)
    return _used_run(folder, dice, stock)


def checkpoint_bytes(folder: Path, dice: Dice, stock: Stock) -> Call:
    """A checkpoint with damaged bytes."""
    shutil.copytree(stock.run, folder / "run")
    path = checkpoint.checkpoints(folder / "run" / "checkpoints")[-1]
    path.write_bytes(dice.mutated(path.read_bytes()))
    return _used_run(folder, dice, stock)


def cache_file(folder: Path, dice: Dice, stock: Stock) -> Call:
    """A damaged file of the cache, also without a new time: the same images must come of it."""
    cache = folder / "cache"
    good = load(stock.data, cache=cache, progress=False)
    pixels, labels, held_out = np.array(good.images), np.array(good.labels), good.held_out
    fingerprint, source_names = good.fingerprint, list(good.names)
    del good
    files = (path for path in cache.rglob("*") if path.is_file())
    paths = sorted(files, key=lambda each: (each.name, each.parents[1].name))  # keys of the cache differ by folder
    for path in dict.fromkeys((dice.pick(paths), dice.pick(paths))):
        content = path.read_bytes()
        damaged = dice.damaged_json(content) if path.suffix == ".json" and dice.one_in(2) else dice.mutated(content)
        state = path.stat()
        path.unlink() if dice.one_in(10) else path.write_bytes(damaged)
        if path.exists():  # bits rot without a new time
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))

    def again() -> object:
        images = load(stock.data, cache=cache, progress=False)
        assert np.array_equal(images.images, pixels)
        assert np.array_equal(np.array(images.labels), labels)
        assert np.array_equal(images.held_out, held_out)
        assert (images.fingerprint, list(images.names)) == (fingerprint, source_names)
        return images.findings

    return again


def cached_features(folder: Path, dice: Dice, stock: Stock) -> Call:
    """A damaged file of features in the cache: the same features must come of it."""
    images = np.load(io.BytesIO(stock.squares))["images"].transpose(0, 3, 1, 2)[: 8 + dice.below(80)]
    features = extractor("pixels")
    expected = features.cached(images)
    path = max((Path(ganfold.data.cache.default_cache()) / "features").iterdir(), key=lambda each: each.stat().st_mtime)
    path.write_bytes(dice.mutated(path.read_bytes()))

    def again() -> object:
        found = features.cached(images)
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)
        return found

    return again
