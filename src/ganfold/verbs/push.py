"""`ganfold push`: a run onto the Hugging Face hub."""

from __future__ import annotations

from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ganfold.errors import GanfoldError
from ganfold.interface.options import Positional, verb
from ganfold.interface.result import Result

if TYPE_CHECKING:
    from ganfold.gans.contract import GAN
    from ganfold.runs.run import Run


@dataclass(frozen=True)
class Options:
    run: Annotated[str | Path | Run, Positional]  # a run folder
    name: Annotated[str, Positional]  # user/name: where to put it on the hub
    _: KW_ONLY
    license: str = "unknown"  # licence of the generator, as a name of the hub such as cc-by-4.0
    public: bool = False  # let everybody see a new repository; without it only you do
    checkpoint: Literal["best", "last"] = "best"  # the one of the lowest KID, or the newest
    gan: str | type[GAN] | None = None  # FILE.py:CLASS, for a run whose GAN is from outside of ganfold


@dataclass(frozen=True, repr=False)
class Pushed(Result):
    """Where a run is on the hub."""

    address: str
    name: str
    files: tuple[str, ...]

    def lines(self) -> list[str]:
        return [f"{len(self.files)} files: {self.address}", f'Open it: ganfold.load("hub:{self.name}")']

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@verb(Options)
def push(options: Options) -> Pushed:
    """Put a run on the Hugging Face hub: the folder of `ganfold export --to hub`.

    `hf auth login` says once who you are. The repository is made if it is not there.

    Raises:
        GanfoldError: this is no run, the name is not yours, there is no network, or the GAN cannot be exported exactly.
    """
    from ganfold.exports.content import content_of
    from ganfold.files import write_bytes
    from ganfold.runs.hub import checked, library, said
    from ganfold.runs.run import loaded

    name, hub = checked(options.name), library()
    run = loaded(options.run, options.checkpoint, options.gan)
    content, _ = content_of(run, "hub", options.license, None)
    with TemporaryDirectory() as scratch:
        for file, part in content.items():
            write_bytes(Path(scratch) / file, part)
        try:
            api = hub.HfApi()
            address = str(api.create_repo(name, private=not options.public, exist_ok=True))
            api.upload_folder(repo_id=name, folder_path=scratch, commit_message="Push a run of ganfold")
        except Exception as error:  # no network, nobody logged in, a name of somebody's ...
            raise GanfoldError(f"cannot push to {name} on the Hugging Face hub: {said(error)}") from error
    return Pushed(address, name, tuple(sorted(content)))
