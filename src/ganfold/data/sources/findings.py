"""The data doctor's findings: what a source holds, what is used of it, and what is wrong with which file."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ganfold.interface.result import Result

FEW = 500  # images: with fewer a GAN mostly memorises, and none are held out
IMBALANCE = 10  # the largest class may be this many times the smallest
NAMED = 20  # files at most that `lines` names; the JSON file names all
CLASSES = 12  # classes at most that `lines` names
KINDS = 8  # suffixes of other files at most that `lines` names
OTHER = "not an image by its suffix"  # why a file is none of the images
BY_DESIGN = ("left out", "above the class folders", "packed, and not read", "an archive or array, not read")
"""Reasons for skipping a file that has no fault."""


@dataclass(frozen=True)
class Finding:
    """What became of one file; `why` reads "reason" or "reason: details"."""

    file: str
    why: str


@dataclass(repr=False)
class Findings(Result):
    """The data doctor's report."""

    source: str
    found: int = 0  # images (files or rows of an array) that were opened
    used: int = 0
    held_out: int = 0  # of the used ones
    skipped: list[Finding] = field(default_factory=list)
    repaired: list[Finding] = field(default_factory=list)  # used, but not quite as they are on disk
    converted: dict[str, int] = field(default_factory=dict)  # how many images were changed in which usual way
    classes: dict[str, int] = field(default_factory=dict)  # used images of each class
    native: dict[str, int] = field(default_factory=dict)  # min, median and max of the shorter sides, in px
    generated: int = 0  # used images that ganfold made, as texts in their files say
    resolution: int = 0
    channels: int = 0
    choice: str = ""  # why this resolution and these channels
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    contact_sheet: Path | None = field(default=None, compare=False)  # the image of some of them, if one was written
    written: Path | None = field(default=None, compare=False)  # the JSON file of all findings, if one was written
    unpacked: Path | None = field(default=None, compare=False)  # the folder of a bundled set's files, if it was written

    def lines(self) -> list[str]:
        """Plain sentences for a terminal."""
        held = f", {self.held_out:,} of them held out of training" if self.held_out else ""
        lines = [f"{self.source}: {counted(self.found)} found, {self.used:,} used{held}.", f"{self.choice}."]
        if self.native and self.native["min"] != self.native["max"]:
            lines.append(
                f"Shorter sides: {self.native['min']:,} to {self.native['max']:,} px, median {self.native['median']:,}."
            )
        if self.classes:
            counts = [f"{name} {count:,}" for name, count in self.classes.items()]
            more = [f"and {len(counts) - CLASSES:,} more"] if len(counts) > CLASSES else []
            lines.append(f"{len(counts):,} classes: {', '.join(counts[:CLASSES] + more)}.")
        lines += [f"{count:,} {what}." for what, count in self.converted.items()]
        lines += self.troubles(f"in {self.written}" if self.written else "(--out FILE names all)")
        lines += [f"An image of some of them: {self.contact_sheet}"] if self.contact_sheet else []
        lines += [f"The files of the set: {self.unpacked}"] if self.unpacked else []
        return lines + ([f"All findings: {self.written}"] if self.written else [])

    def troubles(self, rest: str) -> list[str]:
        """Notes, skipped and repaired files, and warnings; `rest` says where all files are named."""
        faults = [finding for finding in self.skipped if finding.why != OTHER]
        lines = [*self.notes, *_grouped("Skipped", faults, rest), *_grouped("Repaired", self.repaired, rest)]
        lines += _other_files([finding.file for finding in self.skipped if finding.why == OTHER])
        return lines + [f"Warning: {warning}." for warning in self.warnings]

    def as_reference(self) -> list[str]:
        """Notes for those who compare with these as real images."""
        made = f"{counted(self.generated)} of {self.source} {'was' if self.generated == 1 else 'were'} made by ganfold"
        return [f"{made}: take them out, since a reference holds real images."] if self.generated else []

    def image_files(self) -> list[Path]:
        """The contact sheet, if one was written."""
        return [self.contact_sheet] if self.contact_sheet else []

    def to_dict(self) -> dict[str, Any]:
        """All fields but the files that were written: the content of `data.json`."""
        content = super().to_dict()
        del content["contact_sheet"], content["written"], content["unpacked"]
        return content

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Findings:
        """The findings whose `to_dict` this is."""
        lists = {key: [Finding(**finding) for finding in content[key]] for key in ("skipped", "repaired")}
        return cls(**{**content, **lists})

    def warn(self) -> None:
        """Add the warnings that follow from the counts."""
        if self.used == 1 and any(finding.why.startswith("duplicate") for finding in self.skipped):
            self.warnings.append("all images have the same pixels, so one is used: a GAN needs hundreds that differ")
        elif self.used < FEW:
            self.warnings.append(
                f"only {counted(self.used)}: expect the network to repeat them; {FEW:,} are a beginning"
            )
        if self.classes:
            (small, few), (large, many) = (
                choose(self.classes.items(), key=lambda item: item[1]) for choose in (min, max)
            )
            if many > IMBALANCE * few:
                self.warnings.append(f"the classes are out of balance: {large} has {counted(many)}, {small} {few:,}")


def counted(count: int, what: str = "image") -> str:
    """A number and its noun: "1 image", "1,500 images"."""
    return f"{count:,} {what}{'s' * (count != 1)}"


def shown(name: str) -> str:
    """`name` as it can be printed and encoded: control characters and stray bytes as escapes."""
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() or unicodedata.category(c) == "Zs" else repr(c)[1:-1] for c in name)


def _grouped(what: str, findings: list[Finding], rest: str) -> list[str]:
    """The findings by reason: faults first, and rare reasons before frequent ones. Each reason names some files.

    Args:
        what: the title.
        findings: what to name.
        rest: where those are that are not named.
    """
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.why.partition(":")[0], []).append(finding)
    lines = [f"{what} {len(findings):,}:"] if findings else []
    by_weight = sorted(groups.items(), key=lambda item: (item[0] in BY_DESIGN, len(item[1])))
    return lines + list(_named(by_weight, rest))


def _named(groups: list[tuple[str, list[Finding]]], rest: str) -> Iterator[str]:
    left = NAMED
    for place, (reason, findings) in enumerate(groups):
        share = max(1, left // (len(groups) - place))  # a group leaves what it does not need to the next
        left -= min(share, len(findings))
        names = [f.file + (f" ({f.why.partition(': ')[2]})" if ": " in f.why else "") for f in findings[:share]]
        more = f", and {len(findings) - share:,} more {rest}" if len(findings) > share else ""
        yield f"  {reason}: {', '.join(names)}{more}"


def _other_files(names: list[str]) -> list[str]:
    """One line that counts the files which are no images, by their suffixes; a single one is named."""
    if len(names) < 2:
        return [f"1 file is {OTHER}: {name}." for name in names]
    counts = Counter("." + name.rpartition("/")[2].rpartition(".")[2].lower() for name in names).most_common()
    kinds = [f"{count:,} {suffix}" for suffix, count in counts[:KINDS]]
    more = [f"and {sum(count for _, count in counts[KINDS:]):,} of other kinds"] if len(counts) > KINDS else []
    return [f"{len(names):,} files are no images by their suffixes: {', '.join(kinds + more)}."]
