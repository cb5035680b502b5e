"""The names of the GANs, and how a class is found by name, by file or by module. This module imports no torch."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass, is_dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ganfold.errors import GanfoldError, did_you_mean

if TYPE_CHECKING:
    from ganfold.gans.contract import GAN

GROUP = "ganfold.gans"  # the entry points by which an installed package adds GANs
EXAMPLE = "my_gan.py:SNGAN"
DEFAULT = "rsgan"  # the GAN that a plan chooses


@dataclass(frozen=True)
class Entry:
    """A GAN that has a name."""

    module: str
    class_name: str
    summary: str  # what it is, and its paper
    use_when: str  # completes "Use it when ..."; "" if unknown


@dataclass(frozen=True)
class Origin:
    """The file that a GAN from outside the package was defined in."""

    file: str  # its absolute path
    sha256: str  # of its content


GANS = {
    "rsgan": Entry(
        "ganfold.gans.rsgan",
        "RSGAN",
        "Relativistic GAN with a hinge and small, fast networks (Jolicoeur-Martineau 2018).",
        "you train for minutes, or on a CPU; the default",
    ),
    "r3gan": Entry(
        "ganfold.gans.r3gan",
        "R3GAN",
        "Relativistic GAN with gradient penalties and residual networks (Huang 2024).",
        "you train for hours on a GPU",
    ),
    "dcgan": Entry(
        "ganfold.gans.dcgan",
        "DCGAN",
        "The classic convolutional GAN, with a choice of losses (Radford 2015).",
        "you want a known baseline, or to learn how a GAN works",
    ),
    "gan": Entry(
        "ganfold.gans.gan",
        "MLPGAN",
        "The first GAN, with fully connected networks (Goodfellow 2014).",
        "your images are 28-pixel digits, or you read the first paper",
    ),
    "cgan": Entry(
        "ganfold.gans.cgan",
        "CGAN",
        "A GAN that draws the requested class (Mirza 2014).",
        "your images have classes, and you want the classic form",
    ),
    "wgan": Entry(
        "ganfold.gans.wgan",
        "WGAN",
        "A critic with clipped weights estimates the Wasserstein distance (Arjovsky 2017).",
        "you want a loss that tells how far training is",
    ),
    "wgan-gp": Entry(
        "ganfold.gans.wgan_gp",
        "WGANGP",
        "WGAN with a gradient penalty in place of clipped weights (Gulrajani 2017).",
        "you want WGAN, and have time for several critic updates a step",
    ),
    "infogan": Entry(
        "ganfold.gans.infogan",
        "InfoGAN",
        "Codes discover what varies in the images, without labels (Chen 2016).",
        "you want to steer a generator, and have no labels",
    ),
    "pix2pix": Entry(
        "ganfold.gans.pix2pix",
        "Pix2Pix",
        "Images from images, learnt from pairs (Isola 2017).",
        "you have pairs, or the input can be made from the image: edges, grey, small, masked",
    ),
    "cyclegan": Entry(
        "ganfold.gans.cyclegan",
        "CycleGAN",
        "Images from images of another kind, learnt without pairs (Zhu 2017).",
        "you have two sets of images, and no pairs",
    ),
    "srgan": Entry(
        "ganfold.gans.srgan",
        "SRGAN",
        "A large, sharp image from a small one (Ledig 2017).",
        "you want `ganfold upscale`",
    ),
    "context-encoder": Entry(
        "ganfold.gans.context_encoder",
        "ContextEncoder",
        "Paints the missing part of an image (Pathak 2016).",
        "you want `ganfold inpaint` without a search for each image",
    ),
    "gawwn": Entry(
        "ganfold.gans.gawwn",
        "GAWWN",
        "Draws what a text says at the place you name (Reed 2016).",
        "your images have captions, and boxes or keypoints",
    ),
}


def installed() -> dict[str, Entry]:
    """The GANs of this package and of installed packages, by name. A package cannot take a name that is in use."""
    entries = dict(GANS)
    for point in entry_points(group=GROUP):
        package = point.dist.name if point.dist else point.module
        entry = Entry(point.module, point.attr, f"From the package {package}.", use_when="")
        entries.setdefault(point.name, entry)
    return entries


def find(gan: str | type[GAN]) -> type[GAN]:
    """The class of a GAN.

    Args:
        gan: a name ("dcgan"), a class in a file ("path/to/my_gan.py:SNGAN"), a class in a module
            ("package.module:SNGAN"), or the class itself.

    Raises:
        GanfoldError: there is no such name, file, module or class; the file or module cannot be imported; or the class
            is no GAN.
    """
    if not isinstance(gan, str):
        return _checked(gan)
    if gan in GANS:
        return _class_of(GANS[gan].module, GANS[gan].class_name)
    if gan.endswith(".py"):
        raise GanfoldError(f"name the class in {gan}, as in {EXAMPLE}")
    where, colon, class_name = gan.rpartition(":")
    if colon and where.endswith(".py"):
        return _class_in(_load_file(Path(where)), class_name, where)
    if colon:
        return _class_of(where, class_name)
    known = installed()
    if gan not in known:
        raise GanfoldError(f"there is no GAN {gan!r}{did_you_mean(gan, known)} (known: {', '.join(known)})")
    return _class_of(known[gan].module, known[gan].class_name)


def name_of(gan_class: type[GAN]) -> str:
    """The name of a class: "dcgan", "my_gan.py:SNGAN" for a class from a file, "SNGAN" for one without a file."""
    if name := _registered(gan_class):
        return name
    file = _file_of(gan_class)
    return f"{file.name}:{gan_class.__name__}" if file else gan_class.__name__


def origin_of(gan_class: type[GAN]) -> Origin | None:
    """The file of a class from outside the package; None for a GAN with a name, and for a class without a file."""
    file = _file_of(gan_class)
    if file is None or _registered(gan_class):
        return None
    digest = _digests.get(gan_class.__module__) or hashlib.sha256(file.read_bytes()).hexdigest()
    return Origin(str(file), digest)


_digests: dict[str, str] = {}  # the SHA-256 of each file that `find` loaded, by the name of its module


def _registered(gan_class: type[GAN]) -> str | None:
    """The name under which this very class is registered."""
    for name, entry in installed().items():
        if getattr(sys.modules.get(entry.module), entry.class_name, None) is gan_class:
            return name
    return None


def _file_of(gan_class: type[GAN]) -> Path | None:
    file = getattr(sys.modules.get(gan_class.__module__), "__file__", None)
    return Path(file).resolve() if file and Path(file).is_file() else None


def _load_file(path: Path) -> ModuleType:
    """The file as a module. The same path with the same content is loaded once."""
    path = path.expanduser().resolve()
    if not path.is_file():
        raise GanfoldError(f"there is no file {path}: give the path of a Python file and a class, as in {EXAMPLE}")
    content = path.read_bytes()
    name = f"ganfold_file_{hashlib.sha256(str(path).encode() + content).hexdigest()[:16]}"
    if name not in sys.modules:
        module = ModuleType(name)
        module.__file__ = str(path)
        sys.modules[name] = module  # before it runs: dataclasses look up annotations there
        try:
            exec(compile(content, str(path), "exec", dont_inherit=True), module.__dict__)
        except BaseException as error:
            del sys.modules[name]
            if isinstance(error, KeyboardInterrupt):
                raise
            raise GanfoldError(f"{path} cannot be imported: {_told(error, str(path))}") from error
        _digests[name] = hashlib.sha256(content).hexdigest()
    return sys.modules[name]


def _class_of(module: str, class_name: str) -> type[GAN]:
    try:
        return _class_in(import_module(module), class_name, module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):  # the module lacks another one
            raise GanfoldError(f"the module {module} cannot be imported: {_told(error)}") from error
        raise GanfoldError(
            f"there is no module {module}: install its package, or give a file, as in {EXAMPLE}"
        ) from error
    except GanfoldError:
        raise
    except Exception as error:
        raise GanfoldError(f"the module {module} cannot be imported: {_told(error)}") from error


def _class_in(module: ModuleType, class_name: str, where: str) -> type[GAN]:
    """The class of this name in a module."""
    names = [name for name, value in vars(module).items() if isinstance(value, type)]
    if class_name not in names:
        near = did_you_mean(class_name, names)
        raise GanfoldError(
            f"there is no class {class_name!r} in {where}{near or ': name a class that is defined there'}"
        )
    return _checked(getattr(module, class_name))


def _checked(gan_class: Any) -> type[GAN]:
    from ganfold.gans.contract import GAN

    if not isinstance(gan_class, type):
        raise GanfoldError(f"{gan_class!r} is no GAN: give a name such as 'dcgan', or a class")
    if not issubclass(gan_class, GAN):
        raise GanfoldError(f"{gan_class.__name__} is no GAN: derive it from ganfold.gans.contract.GAN")
    if not is_dataclass(getattr(gan_class, "config_class", None)):
        raise GanfoldError(f"{gan_class.__name__} has no options: set `config_class` to its dataclass `Config`")
    return gan_class


def _told(error: BaseException, file: str | None = None) -> str:
    """The kind of an error, its line and its text."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__} in line {error.lineno}: {error.msg}"
    frames = [frame for frame in extract_tb(error.__traceback__) if file is None or frame.filename == file]
    where = f" in line {frames[-1].lineno}" + (f" of {frames[-1].filename}" if file is None else "") if frames else ""
    return f"{type(error).__name__}{where}: {error}"
