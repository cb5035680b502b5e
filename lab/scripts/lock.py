"""Print the versions of everything that ganfold and its tests need, as installed here, as pip's constraints.

python lab/scripts/lock.py > constraints-ci.txt
"""

from __future__ import annotations

import argparse
import re
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HEAD = "# Every package of `pip install 'ganfold[test]'`, as the suite last passed with it. Written by `make lock`."


def needed(name: str, extras: frozenset[str] = frozenset(), seen: set[tuple[str, str]] | None = None) -> set[str]:
    """The names of all installed packages that a package with these extras needs, and its own."""
    seen = set() if seen is None else seen
    names: set[str] = {canonicalize_name(name)}
    for line in requires(name) or []:
        requirement = Requirement(line)
        markers = [{"extra": extra} for extra in extras] or [{"extra": ""}]
        if requirement.marker and not any(requirement.marker.evaluate(marker) for marker in markers):
            continue
        key = (canonicalize_name(requirement.name), ",".join(sorted(requirement.extras)))
        if key in seen:
            continue
        seen.add(key)
        try:
            names |= needed(requirement.name, frozenset(requirement.extras), seen)
        except PackageNotFoundError:  # of another system
            continue
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    names = needed("ganfold", frozenset({"test"})) - {"ganfold"}
    print("\n".join([HEAD, *(f"{name}=={re.sub('[+].*', '', version(name))}" for name in sorted(names))]))


if __name__ == "__main__":
    main()
