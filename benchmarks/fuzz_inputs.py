"""Tables of measurements and command lines with faults, by chance."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

CELLS = ["", "0", "-1", "1e308", "-1e308", "1e-320", "inf", "nan", "NA", "1,5", "1.5.2", "x", "é", "time", '"', "'"]
CELLS += ["9" * 400, "#", "=1+1", "0x10", "1e400", "true", " 3 ", "1d3", "\t", "2024-01-01", "[X]", "X-mean", "X-sd"]
HEADERS = ["time", "Time", "# time", "X", "[X]", "X-mean", "X-sd", "X-sem", "X-n", "X-error", "cell", "replicate"]
HEADERS += ["condition", "", "X-median", "k", "nonsense", "time", "X.1", "Unnamed: 0"]
_SEPARATORS = [",", ";", "\t", " ", "|", ", "]
VALUES = [
    "0",
    "-1",
    "1",
    "2",
    "1e300",
    "1e-300",
    "nan",
    "inf",
    "-inf",
    "",
    " ",
    "x",
    "é",
    "9" * 400,
    "1e9999",
    "18446744073709551616",
]
PATHS = [
    "model.xml",
    "data.csv",
    "nowhere.xml",
    ".",
    "..",
    "/dev/null",
    "/dev/full",
    "pipe",
    "empty",
    "out/x",
    "x" * 300,
]
PATHS += ["out", "data.csv/x", "", "a\nb", "~", "-", "--", "report", "report/fit.json", "BIOMD0000000000", "link"]
LINES: Sequence[Sequence[str]] = [
    ["info", "model.xml"],
    ["info", "model.xml", "--json"],
    ["simulate", "model.xml", "--end", "1", "--points", "3", "-n", "5", "-o", "out.csv"],
    ["simulate", "model.xml", "--end", "1", "--points", "3", "--method", "ode", "--plot", "out.png"],
    [
        "simulate",
        "model.xml",
        "--end",
        "1",
        "--points",
        "3",
        "-n",
        "1",
        "--set",
        "k=2",
        "--select",
        "X,[X]",
        "--seed",
        "3",
    ],
    ["sensitivity", "model.xml", "--end", "1", "--points", "2", "-p", "k,g", "-n", "50", "--estimator", "auto"],
    ["sensitivity", "model.xml", "--end", "1", "--points", "2", "-p", "k", "--method", "ode", "-o", "out.csv"],
    ["fit", "model.xml", "data.csv", "-p", "k=1:100", "--method", "ode", "-o", "fitted.xml", "--json", "fit.json"],
    ["fit", "model.xml", "data.csv", "-p", "k", "--init", "k=3", "--method", "ode", "--report", "report"],
    ["fit", "model.xml", "data.csv", "-p", "k", "--observable", "Y=2*X", "--noise", "Y=poisson", "--method", "ode"],
    ["petab", "problem.yaml", "--evaluate", "--json", "out.json", "-o", "out"],
    ["petab", "problem.yaml", "--fit", "--starts", "1"],
    ["testsuite", ".", "--case", "00001", "-n", "10"],
    ["testcase", ".", "00001", "out", "3", "1"],
]


def table(text: str, random: Random) -> bytes:
    """The table with one to four faults."""
    rows = [line.split(",") for line in text.splitlines()]
    for _ in range(random.randint(1, 4)):
        _change(rows, random)
    separator = random.choice(_SEPARATORS) if random.random() < 0.15 else ","
    ending = random.choice(["\n", "\n", "\n", "\r\n", "\r"])
    text = ending.join(separator.join(row) for row in rows) + random.choice(["", ending, ending * 3])
    if random.random() < 0.1:
        text = text[: random.randrange(len(text) + 1)]
    if random.random() < 0.1:
        text = random.choice(["# comment\n", "sep=;\n", "\ufeff", "\0", "\n\n"]) + text
    encoding = random.choice(["utf-8"] * 12 + ["utf-16", "latin-1", "utf-8-sig", "utf-32"])
    return text.encode(encoding, "replace")


def _change(rows: list[list[str]], random: Random) -> None:
    if not rows:
        return
    row = random.choice(rows)
    cell = random.randrange(len(row)) if row else 0
    kind = random.randrange(9)
    if kind <= 1 and row:
        row[cell] = random.choice(CELLS)
    elif kind == 2:
        rows.remove(row)
    elif kind == 3:
        rows.insert(random.randrange(len(rows) + 1), list(row))
    elif kind == 4 and row:
        del row[cell]
    elif kind == 5:
        row.insert(cell, random.choice(CELLS))
    elif kind == 6 and rows[0]:
        rows[0][random.randrange(len(rows[0]))] = random.choice(HEADERS)
    elif kind == 7:
        number = random.randrange(len(rows[0]) + 1)
        value = random.choice([None, *CELLS])
        rows[0].insert(number, random.choice(HEADERS))
        for other in rows[1:]:
            other.insert(min(number, len(other)), random.choice(CELLS) if value is None else value)
    elif kind == 8 and rows[0]:
        number = random.randrange(len(rows[0]))
        for other in rows:
            del other[number : number + 1]


def line(random: Random) -> list[str]:
    """A command line with up to three faults."""
    words = list(random.choice(LINES))
    for _ in range(random.randint(0, 3)):
        place = random.randrange(1, len(words) + 1)
        kind = random.randrange(6)
        if kind == 0:
            del words[place : place + 1]
        elif kind == 1:
            words.insert(place, random.choice([*VALUES, *PATHS]))
        elif kind == 2:
            other = random.choice(LINES)
            first = random.randrange(1, len(other))
            words[place:place] = other[first : first + 2]
        elif place < len(words):
            words[place] = _other(words[place], random)
    return words


def _other(word: str, random: Random) -> str:
    if "=" in word and random.random() < 0.7:
        name, _, value = word.partition("=")
        return f"{name}={random.choice([*VALUES, f'{value}:{value}', 'X', '1:0', '-inf:inf'])}"
    return random.choice(PATHS if "." in word or word.startswith("-") or random.random() < 0.3 else VALUES)
