"""What was found in a source, what is used of it, and what is wrong with which file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

FEW = 500  # images: below it a GAN memorises more than it learns, and nothing is held out
IMBALANCE = 10  # times: the largest class against the smallest
NAMED = 20  # files at most on the console; the JSON names all
CLASSES = 12  # classes at most on the console


@dataclass(frozen=True)
class Finding:
    """One file and what became of it; `why` reads "kind" or "kind: details"."""

    file: str
    why: str


@dataclass
class Findings:
    """The data doctor's report; every field is plain JSON."""

    source: str
    found: int = 0  # pictures (files or array rows) that were looked at
    used: int = 0
    held_out: int = 0  # of the used ones
    skipped: list[Finding] = field(default_factory=list)
    repaired: list[Finding] = field(default_factory=list)  # used, but not quite as they stand on disk
    converted: dict[str, int] = field(default_factory=dict)  # how many were changed in which ordinary way
    classes: dict[str, int] = field(default_factory=dict)  # used images of each class
    native: dict[str, int] = field(default_factory=dict)  # min, median, max of the shorter sides, in px
    resolution: int = 0
    channels: int = 0
    choice: str = ""  # why this resolution and these channels
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Findings:
        """What `to_json` gave, back again."""
        lists = {key: [Finding(**f) for f in content[key]] for key in ("skipped", "repaired")}
        return cls(**{**content, **lists})

    def lines(self) -> list[str]:
        """Plain sentences for the console."""
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
        lines += self.notes
        lines += _grouped("Skipped", self.skipped) + _grouped("Repaired", self.repaired)
        return lines + [f"Warning: {warning}." for warning in self.warnings]

    def warn(self) -> None:
        """Add the warnings that follow from the counts."""
        if self.used < FEW:
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
    return f"{count:,} {what}{'s' * (count != 1)}"


def shown(name: str) -> str:
    """`name` as it can be printed and encoded: control characters and stray bytes as escapes."""
    return name if name.isprintable() else repr(name)[1:-1]


def _grouped(what: str, findings: list[Finding]) -> list[str]:
    """Rare reasons first, each with its files, so that a flood of one kind does not hide the others."""
    kinds: dict[str, list[Finding]] = {}
    for finding in findings:
        kinds.setdefault(finding.why.partition(":")[0], []).append(finding)
    lines = [f"{what} {len(findings):,}:"] if findings else []
    return lines + list(_named(sorted(kinds.items(), key=lambda item: len(item[1]))))


def _named(kinds: list[tuple[str, list[Finding]]]) -> Iterator[str]:
    left = NAMED
    for place, (kind, findings) in enumerate(kinds):
        share = max(1, left // (len(kinds) - place))  # what one kind does not need, the next may name
        left -= min(share, len(findings))
        names = [f.file + (f" ({f.why.partition(': ')[2]})" if ": " in f.why else "") for f in findings[:share]]
        more = f", and {len(findings) - share:,} more in data.json" if len(findings) > share else ""
        yield f"  {kind}: {', '.join(names)}{more}"
