"""Which rate laws that are a difference run as one reaction and which as two, and why, for the SBML files of a folder.

The table has a line for each such law of each file that simulates exactly: the file, the reaction, what the document
says of `reversible`, `one` or `two`, and the reason.
"""

from __future__ import annotations

import argparse
import csv
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import sbmlgrad as sg
from sbmlgrad.errors import SbmlgradError
from sbmlgrad.network.stochastic import chemistry_of

COLUMNS = ("model", "reaction", "reversible", "reactions", "why")


def laws(path: Path) -> Iterator[tuple[str, str, bool, str, str]] | None:
    """The lines of one file; None where it cannot be simulated exactly."""
    try:
        model = sg.read_sbml(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", sg.SbmlgradWarning)  # the table says it
            chemistry = chemistry_of(model)
    except SbmlgradError:
        return None
    if chemistry.reasons:
        return None
    return (
        (
            path.name,
            name,
            model.elements.reactions[name].reversible,
            "two" if difference.split else "one",
            difference.why,
        )
        for name, difference in chemistry.differences.items()
    )


def main() -> None:
    """Write the table and say how many there are."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="CSV")
    options = parser.parse_args()
    exact, counted = 0, Counter[str]()
    with options.output.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for path in sorted(options.folder.glob("*.xml")):
            lines = laws(path)
            if lines is None:
                continue
            exact += 1
            for line in lines:
                writer.writerow(line)
                counted[line[3]] += 1
    print(f"{exact} files simulate exactly; laws that are a difference: {counted['one']} one, {counted['two']} two")


if __name__ == "__main__":
    main()
