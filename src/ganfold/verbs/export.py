"""`ganfold export`: a run's generator as files that need no ganfold."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ganfold.errors import GanfoldError
from ganfold.interface.options import Positional, verb
from ganfold.interface.result import Written

if TYPE_CHECKING:
    from ganfold.gans.contract import GAN
    from ganfold.runs.run import Run

SUFFIXES = {"onnx": ".onnx", "web": ".html"}  # of the kinds that are one file; the others are folders


@dataclass(frozen=True)
class Options:
    run: Annotated[str | Path | Run, Positional]  # a run folder
    to: Literal["onnx", "torch", "web", "hub", "demo"]  # the form: see the guide "Exporting"
    out: str | Path  # the file (.onnx, .html) or the folder (torch, hub, demo) to write
    _: KW_ONLY
    license: str = "unknown"  # licence of the generator, as a name of SPDX such as CC-BY-4.0; it is written inside
    runtime: str | Path | None = None  # of web: a folder with onnxruntime-web, to put inside [loaded from an address]
    checkpoint: Literal["best", "last"] = "best"  # the one of the lowest KID, or the newest
    gan: str | type[GAN] | None = None  # FILE.py:CLASS, for a run whose GAN is from outside of ganfold
    force: bool = False  # allow files to be replaced


class Exported(Written):
    """The path of the export."""

    kind: str = ""
    difference: float = 0.0  # the largest one of a pixel in [-1, 1] from `sample`, in the check
    size: int = 0  # bytes of all files

    def lines(self) -> list[str]:
        checked = f"largest difference from `ganfold sample`: {self.difference:.2g} in a pixel of [-1, 1]"
        return [f"{self}: {self.size / 2**20:,.1f} MiB; {checked}"]

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "to": self.kind, "difference": self.difference, "bytes": self.size}


@verb(Options)
def export(options: Options) -> Exported:
    """Write a run's generator as files that need no ganfold.

    onnx: one file for any ONNX runtime. torch: a folder with generator.py, which needs PyTorch alone, and its weights.
    web: one HTML file that generates in a browser. hub: a folder for Hugging Face, with a model card. demo: a folder
    that is a Gradio Space.

    What is exported is what `ganfold sample` uses: the averaged generator of the best checkpoint, with its condition.
    Each export is run on other numbers of images than it was made with, and on other sizes where these are free. It is
    refused if a pixel differs by more than half a level of 8 bits.

    Returns:
        `out`.

    Raises:
        GanfoldError: this is no run, `out` exists, a package is missing, or the GAN cannot be exported exactly.
    """
    from ganfold.exports.content import content_of
    from ganfold.files import write_bytes
    from ganfold.runs.run import loaded

    out = Path(options.out)
    _check(options, out)
    run = loaded(options.run, options.checkpoint, options.gan)
    runtime = None if options.runtime is None else Path(options.runtime)
    content, difference = content_of(run, options.to, options.license, runtime)
    for name, part in content.items():
        write_bytes(out / name if name else out, part)
    exported = Exported(out)
    exported.kind, exported.difference, exported.size = options.to, difference, sum(map(len, content.values()))
    return exported


def _check(options: Options, out: Path) -> None:
    """See that `out` has the right name and is free, and that the options belong together."""
    suffix = SUFFIXES.get(options.to, "")
    if out.suffix.lower() != suffix and suffix:
        raise GanfoldError(f"--to {options.to} writes one file: end --out with {suffix}, not {out.name}")
    if suffix and out.is_dir():
        raise GanfoldError(f"{out} is a folder: name a file")
    if not suffix and (out.suffix.lower() in (*SUFFIXES.values(), ".py", ".safetensors") or out.is_file()):
        raise GanfoldError(f"--to {options.to} writes a folder: name a folder in place of {out}")
    if not options.force and out.exists() and (suffix or any(out.iterdir())):
        raise GanfoldError(f"{out} exists: give --out another name, or --force to replace files in it")
    if options.runtime is not None and options.to != "web":
        raise GanfoldError(f"--runtime belongs to --to web: leave it out for --to {options.to}")
