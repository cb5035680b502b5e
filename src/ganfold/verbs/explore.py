"""`ganfold explore`: the latent space of a run as a sheet, as a film, or as a file of latents."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ganfold.errors import GanfoldError
from ganfold.interface.options import AT_LEAST_ONE, SHARE, Positional, PythonOnly, Range, verb
from ganfold.interface.result import Written

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ganfold.gans.contract import GAN
    from ganfold.latent.directions import Directions
    from ganfold.latent.walks import Walk
    from ganfold.runs.run import Run

SUFFIXES = (".png", ".webp", ".gif", ".mp4", ".npy")
SHEET_COLUMNS, FILM_COLUMNS = 9, 32  # if nobody says
MOVING_MS, APART_MS = 60, 500  # how long a film shows one image of a movement, and one of separate images
REAL = 1000  # most real images that the directions by class are learnt from
JUDGED = 1024  # samples whose classes are guessed


@dataclass(frozen=True)
class Options:
    run: Annotated[str | Path | Run, Positional]  # a run folder
    what: Annotated[
        Literal["samples", "interpolate", "neighbours", "truncate", "mix", "directions", "arithmetic", "invert"],
        Positional,
    ]  # what to look at; see above
    out: str | Path  # a .png for a sheet; a .webp, .gif or .mp4 for a film; a .npy for the latents alone
    _: KW_ONLY
    image: str | Path | None = None  # of invert: the image to look for
    groups: str | None = None  # of arithmetic: numbers of samples, as in "1,2,3 - 4,5,6 + 7,8,9"
    by: Literal["sefa", "pca", "codes", "classes"] | None = None  # of directions: how to find them [codes, or sefa]
    reach: Annotated[float | None, Range(above=0, most=10)] = None  # deviations of directions [3]; of neighbours [0.3]
    features: bool = False  # of truncate: towards the mean of the first features, not of z
    rows: Annotated[int, Range(least=1, most=64)] = 6  # samples, directions or starts: a row each
    columns: Annotated[int | None, Range(least=2, most=240)] = None  # steps in a row [9; 32 of a film]
    z: str | Path | None = None  # a .npy of latents to begin at, as this verb writes [samples of the seed]
    seed: int = 0  # decides which samples
    start: int = 0  # number of the first sample
    label: str | None = None  # the class of all images [as frequent as in training]
    truncation: Annotated[float, SHARE] = 1.0  # how far samples are from the mean of all
    steps: Annotated[int, Range(least=4)] = 400  # of invert: updates of the search
    starts: Annotated[int, AT_LEAST_ONE] = 8  # of invert: searches at once
    checkpoint: Literal["best", "last"] = "best"  # the one of the lowest KID, or the newest
    data: str | Path | None = None  # where the images that the run was trained on are now [where they were]
    gan: str | type[GAN] | None = None  # FILE.py:CLASS, for a run whose GAN is from outside of ganfold
    force: bool = False  # allow files to be replaced
    progress: Annotated[bool, PythonOnly] = True  # show a bar while `invert` searches


class Explored(Written):
    """The path of the sheet, film or latents."""

    notes: tuple[str, ...] = ()  # what is known of them

    def lines(self) -> list[str]:
        return [str(self), *self.notes]

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "notes": list(self.notes)}


@verb(Options)
def explore(options: Options) -> Explored:
    """Look at the latent space of a run: a sheet with named rows, a film, or the latents.

    samples: numbered samples. interpolate: from each sample to the next on a sphere, and back to the first. neighbours:
    a circle around each sample. truncate: from the mean to each sample. mix: each sample with each class, or with each
    value of a code; a square between four samples where there are neither. directions: a row for each direction of
    largest change (sefa, pca), for each code, or towards each class. arithmetic: means of groups of samples, added and
    subtracted. invert: the latents nearest to an image, and how near they come.

    It needs a generator that draws from noise, or from noise and a class. `invert` also writes the latents it found
    beside its sheet or film. `--z` takes them, here and in `ganfold sample`.

    Returns:
        `out`.

    Raises:
        GanfoldError: the run draws from images or texts, an option does not belong to what is explored, or a file
            would be replaced.
    """
    from ganfold.runs.run import loaded

    run, out = loaded(options.run, options.checkpoint, options.gan, options.data), Path(options.out)
    _check(options, out)
    run.check_has_noise("explore")
    found = out.with_suffix(".npy")
    _check_free([out, found] if options.what == "invert" else [out], options.force)
    is_film = out.suffix.lower() in SUFFIXES[1:4]
    options = replace(options, columns=options.columns or (FILM_COLUMNS if is_film else SHEET_COLUMNS))
    walk, best, image = _walk(run, options, is_film)
    if out.suffix.lower() == ".npy":
        _write_latents(walk.z.flatten(0, 1) if best is None else best, out)
    else:
        _write_images(run, walk, image, out, options)
        if best is not None:
            _write_latents(best, found)
    explored = Explored(out)
    explored.notes = walk.notes
    return explored


def _check(options: Options, out: Path) -> None:
    """See that the options belong together."""
    if out.suffix.lower() not in SUFFIXES:
        raise GanfoldError(f"{out}: end --out with .png for a sheet, .webp, .gif or .mp4 for a film, .npy for latents")
    given: dict[str, tuple[object, tuple[str, ...]]] = {
        "image": (options.image, ("invert",)),
        "groups": (options.groups, ("arithmetic",)),
        "by": (options.by, ("directions",)),
        "features": (options.features or None, ("truncate",)),
        "reach": (options.reach, ("directions", "neighbours")),
    }
    for name, (value, where) in given.items():
        if value is not None and options.what not in where:
            raise GanfoldError(f"--{name} belongs to `{' and '.join(where)}`, not to `{options.what}`")
    for name, what in (("image", "invert"), ("groups", "arithmetic")):
        if options.what == what and getattr(options, name) is None:
            example = (
                "a file" if name == "image" else '"1,2,3 - 4,5,6 + 7,8,9"; `explore RUN samples` shows the numbers'
            )
            raise GanfoldError(f"`{what}` needs --{name}: give {example}")
    if options.z is not None and options.what in ("arithmetic", "invert"):
        raise GanfoldError(f"--z does not go with `{options.what}`: leave it out")
    if options.features and out.suffix.lower() == ".npy":
        raise GanfoldError("--features changes no latent: give a .png or a film for --out")
    if options.start < 0:
        raise GanfoldError(f"start must be 0 or more, not {options.start}")
    if options.what == "neighbours" and (options.reach or 0) > 1:
        raise GanfoldError(f"--reach of `neighbours` is a share, at most 1, not {options.reach:g}")


def _check_free(paths: list[Path], force: bool) -> None:
    for path in paths:
        if path.is_dir():
            raise GanfoldError(f"{path} is a folder: give --out another name")
        if path.exists() and not force:
            raise GanfoldError(f"{path} exists: give --out another name, or --force to replace it")


def _walk(run: Run, options: Options, is_film: bool) -> tuple[Walk, Tensor | None, np.ndarray | None]:
    """What is shown, the latents that were found for an image, and that image."""
    from ganfold.latent import walks

    assert options.columns
    if options.what == "invert":
        return _inverted(run, options)
    if options.what == "arithmetic":
        return _labelled(run, _arithmetic(run, options), options), None, None
    count = {"samples": options.rows * options.columns, "directions": 1}.get(options.what, options.rows)
    is_square = options.what == "mix" and not run.classes and not _category(run)
    z, names = _begin(run, options, 4 if is_square else count)
    columns = options.columns
    match options.what:
        case "samples":
            walk = walks.samples(z, columns, options.start)
        case "interpolate":
            walk = walks.interpolation(z, columns, names)
        case "neighbours":
            around = walks.orbit if is_film else walks.neighbours
            walk = around(z, columns, names, options.reach or 0.3, options.seed)
        case "truncate":
            walk = walks.truncation(z, columns, names, options.features)
        case "mix" if run.classes:
            walk = walks.mixed_classes(z, names, run.classes, columns)
        case "mix" if is_square:
            walk = walks.mixed_samples(z, options.rows, columns)
        case "mix":
            walk = walks.mixed_codes(run.gan, z, names, _category(run)[0], columns)
        case _:
            walk = _directions(run, z[0], options)
    return _labelled(run, walk, options), None, None


def _category(run: Run) -> list[int]:
    """The codes that have a number of values."""
    return [number for number, values in enumerate(run.gan.code_values) if values]


def _begin(run: Run, options: Options, count: int) -> tuple[Tensor, tuple[str, ...]]:
    """Where the rows begin, and the names of the rows. Rows beyond those of a file begin at its first again."""
    import numpy as np
    import torch

    from ganfold.latent.requested import read_latents

    if options.z is None:
        z = run.latents(count, options.seed, options.start, truncation=options.truncation)
        return torch.from_numpy(z), tuple(str(options.start + row) for row in range(count))
    held = read_latents(options.z, run.gan.latent)
    if options.start >= len(held):
        raise GanfoldError(f"{options.z} holds {len(held):,} latents: give a lower --start")
    numbers = options.start + np.arange(count) % (len(held) - options.start)
    return torch.from_numpy(held[numbers] * np.float32(options.truncation)), tuple(map(str, numbers))


def _labelled(run: Run, walk: Walk, options: Options) -> Walk:
    """The walk with a class for each image, where the generator takes labels and the walk has none."""
    import torch

    if options.label is not None:
        run.check_label(options.label)
    if walk.labels is not None or not run.classes:
        return walk
    rows, columns = walk.z.shape[:2]
    if options.label is not None:
        return replace(walk, labels=torch.full((rows, columns), run.classes.index(options.label)))
    if options.what == "samples":
        drawn = run.labels(rows * columns, options.seed, options.start)
        assert drawn is not None
        return replace(walk, labels=torch.from_numpy(drawn).view(rows, columns))
    if options.what in ("neighbours", "truncate"):
        drawn = run.labels(rows, options.seed, options.start)
        assert drawn is not None
        names = tuple(f"{name} {run.classes[label]}" for name, label in zip(walk.rows, drawn, strict=True))
        return replace(walk, labels=torch.from_numpy(drawn)[:, None].expand(rows, columns), rows=names)
    first = run.labels(1, options.seed, options.start)
    assert first is not None
    notes = (*walk.notes, f"All images are of the class {run.classes[first[0]]}; --label chooses another.")
    return replace(walk, labels=torch.full((rows, columns), int(first[0])), notes=notes)


def _directions(run: Run, z: Tensor, options: Options) -> Walk:
    from ganfold.latent import walks

    by = options.by or ("codes" if run.gan.code_values else "sefa")
    assert options.columns
    if by == "codes":
        if not run.gan.code_values:
            raise GanfoldError(f"{run.path} has no codes: give --by sefa or --by pca")
        return walks.codes(run.gan, z, options.columns)
    found = _by_class(run, options.seed) if by == "classes" else run.directions(by, options.seed)
    return walks.along(z, found.first(options.rows), options.columns, options.reach or 3.0)


def _by_class(run: Run, seed: int) -> Directions:
    import numpy as np
    import torch

    from ganfold.latent.directions import by_class

    if run.classes:
        raise GanfoldError(
            f"{run.path} takes labels: `mix` shows its classes, and directions are --by sefa or --by pca"
        )
    images = run.images()
    if images.labels is None:
        raise GanfoldError(f"{run.path} was trained on images without classes: give --by sefa or --by pca")
    chosen = np.random.default_rng(seed).permutation(images.train)[:REAL]
    z = run.latents(JUDGED, seed)
    made = run.sample(JUDGED, seed).transpose(0, 3, 1, 2)
    return by_class(images.images[chosen], images.labels[chosen], images.classes, torch.from_numpy(z), made)


def _arithmetic(run: Run, options: Options) -> Walk:
    import numpy as np
    import torch

    from ganfold.latent import walks

    assert options.groups is not None
    assert options.columns
    groups = [
        (
            sign,
            np.concatenate([run.latents(1, options.seed, number, truncation=options.truncation) for number in group]),
        )
        for sign, group in walks.read_groups(options.groups)
    ]
    return walks.arithmetic([(sign, torch.from_numpy(z)) for sign, z in groups], options.columns, options.seed)


def _inverted(run: Run, options: Options) -> tuple[Walk, Tensor, np.ndarray]:
    """The way of each search, the latents that were found, and the image as the generator would make it."""
    import torch

    from ganfold.data.sources.decode import TargetShape, fitted_to
    from ganfold.images.files import opened, to_tensor
    from ganfold.images.pixels import to_rows
    from ganfold.latent.walks import Walk

    assert options.image is not None
    assert options.columns
    shape, path = run.gan.shape, Path(options.image)
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[shape.channels]
    small = fitted_to(
        opened(path).convert(mode), TargetShape(shape.resolution, shape.channels, run.record.settings.fit)
    )
    image = to_tensor(small, shape.channels)
    watch, finish = _bar(options.steps, options.progress)
    try:
        times = max(1, options.columns - 1)
        found = run.invert(
            image, options.steps, options.starts, options.seed, label=options.label, times=times, watch=watch
        )
    finally:
        finish()
    kept = min(options.rows, options.starts)
    z = torch.cat([found.path, found.z[None]]).transpose(0, 1)[:kept]
    labels = None if found.labels is None else found.labels[:kept, None].expand(kept, z.shape[1])
    names = tuple(f"{residual:.1f} of 255" for residual in found.residuals[:kept])
    notes = [found.sentence]
    if found.labels is not None:
        notes.append(f"The nearest one is of the class {run.classes[int(found.labels[0])]}.")
    if Path(options.out).suffix != ".npy":
        notes.append(f"Its latents, the nearest first: {Path(options.out).with_suffix('.npy')}")
    heads = (*(f"step {step}" for step in found.steps), "end")
    return Walk(z, names, heads, labels, notes=tuple(notes)), found.z, to_rows(image)


def _bar(steps: int, progress: bool) -> tuple[Any, Any]:
    """What to call at each step, and at the end."""
    import sys

    if not progress or not sys.stderr.isatty():
        return None, lambda: None
    from rich.console import Console
    from rich.progress import Progress

    bar = Progress(console=Console(stderr=True), transient=True)
    task = bar.add_task("Search", total=steps)
    bar.start()
    return lambda step, _: bar.update(task, completed=step + 1), bar.stop


def _write_images(run: Run, walk: Walk, image: np.ndarray | None, out: Path, options: Options) -> None:
    """The walk as a sheet or as a film. The image that was looked for comes first in each row."""
    import numpy as np

    from ganfold.images import films, grids, sheets

    images, columns = _images(run, walk, options.seed), walk.columns
    if image is not None:
        images = np.concatenate([np.broadcast_to(image[:, None], (len(images), 1, *image.shape[1:])), images], 1)
        columns = ("image", *columns)
    note = {"run": str(run.path), "explore": options.what, "seed": str(options.seed)}
    if out.suffix.lower() == ".png":
        grids.save_sheet(sheets.named(images, walk.rows, columns), out, note)
        return
    frames = [sheets.frame(moment, walk.rows) for moment in _moments(images, walk)]
    films.save(frames, out, [APART_MS if walk.apart else MOVING_MS] * len(frames))


def _moments(images: np.ndarray, walk: Walk) -> list[np.ndarray]:
    """The images that a film shows at once, a row of the walk each: (rows, H, W, C), moment by moment."""
    rows, columns = images.shape[:2]
    if walk.joined:  # each place follows the whole path, and begins in its own row
        path = images.reshape(-1, *images.shape[2:])
        begins = [row * columns for row in range(rows)]
        return [path[[(begin + moment) % len(path) for begin in begins]] for moment in range(len(path))]
    there = list(range(columns))
    back = [] if walk.closed or walk.apart else there[-2:0:-1]
    return [images[:, column] for column in (*there, *back)]


def _images(run: Run, walk: Walk, seed: int) -> np.ndarray:
    """The image of each latent: uint8 (rows, columns, H, W, C)."""
    import numpy as np

    from ganfold.latent import layers

    def made(z: Tensor, labels: Tensor | None) -> np.ndarray:
        flat = z.flatten(0, 1)
        each = None if labels is None else labels.flatten()
        labelling = None if each is None else lambda rows: each[rows.clamp(max=len(each) - 1)]
        images = run.sample(len(flat), seed, label=labelling, z=flat.numpy())
        return images.reshape(*z.shape[:2], *images.shape[1:])

    if not walk.shares:
        return made(walk.z, walk.labels)
    with run.forms.used():
        mean = layers.first_features(run.gan, *layers.latents_for_statistics(run.gan, seed)).mean(0)
    columns = []
    for column, share in enumerate(walk.shares):
        part = slice(column, column + 1)
        with layers.truncated(run.gan, mean, share):
            columns.append(made(walk.z[:, part], None if walk.labels is None else walk.labels[:, part]))
    return np.concatenate(columns, 1)


def _write_latents(z: Tensor, path: Path) -> None:
    import io

    import numpy as np

    from ganfold.files import write_bytes

    content = io.BytesIO()
    np.save(content, z.numpy(), allow_pickle=False)
    write_bytes(path, content.getvalue())
