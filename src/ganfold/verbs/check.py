"""`ganfold check`: what images a source holds, which are used, and what is wrong with which file."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from ganfold.interface.options import AT_LEAST_ONE, Positional, PythonOnly, verb

if TYPE_CHECKING:
    from ganfold.data import Findings


@dataclass(frozen=True)
class Options:
    data: Annotated[str | Path, Positional]  # a folder, zip, .npz, .npy, IDX file, parquet, hub id, or a bundled set
    _: KW_ONLY
    resolution: int | None = None  # height and width in pixels, 8 to 1024 [from the data]
    channels: Literal[1, 3, 4] | None = None  # 1 grey, 3 RGB, 4 RGBA [from the data]
    fit: Literal["crop", "pad", "stretch"] = "crop"  # how images that are not square become square
    held_out: float | None = None  # share of images never trained on [0.1, at most 5000; 0 under 500 images]
    classes_from: Annotated[int, AT_LEAST_ONE] = 1  # level of the nested folders that are the classes: 1 is the first
    cache: Annotated[str | Path | None, PythonOnly] = None  # the folder of prepared images [$GANFOLD_CACHE]
    progress: Annotated[bool, PythonOnly] = True  # show a bar while images are prepared
    contact_sheet: str | Path | None = None  # a PNG to write that shows some of the images
    unpack: str | Path | None = None  # a folder to write a bundled set's files to: of `photos` the whole photographs
    out: str | Path | None = None  # a JSON file to write with all findings: the terminal names some


@verb(Options)
def check(options: Options) -> Findings:
    """Say what images are there, which will be used, and what is wrong with which file.

    The images are prepared as for training, and stay in the cache.

    Returns:
        The data doctor's findings.

    Raises:
        GanfoldError: there is no such source, it holds no usable image, or an option is out of range.
    """
    from ganfold import data
    from ganfold.files import write_json

    images = data.load(
        options.data,
        resolution=options.resolution,
        channels=options.channels,
        fit=options.fit,
        held_out=options.held_out,
        classes_from=options.classes_from,
        cache=options.cache,
        progress=options.progress,
    )
    findings = images.findings
    if options.unpack:
        findings.unpacked = data.unpack(options.data, options.unpack)
    if options.contact_sheet:
        findings.contact_sheet = Path(options.contact_sheet).expanduser()
        data.contact_sheet(images, findings.contact_sheet)
    if options.out:
        findings.written = Path(options.out).expanduser()
        write_json(findings.written, findings.to_dict())
    return findings
