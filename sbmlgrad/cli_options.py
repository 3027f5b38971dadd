"""What the files of the command line share: options, the form of messages, and checks of where outputs go."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from sbmlgrad.cores import use_cores
from sbmlgrad.files import check_file, check_writable

T = TypeVar("T")
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

DEBUG = "sbmlgrad.debug"
STARTS = click.IntRange(1, 10_000)
"""How many searches a fit may begin."""
DRAWS = click.IntRange(16, 10_000_000)
"""How many draws from a posterior may be asked for."""
POINTS = click.IntRange(2, 10_000_000)
"""How many output times there may be."""
EVENTS = click.IntRange(1, 2**32 - 2)
"""How many reactions may fire in a trajectory: draws of random numbers are counted in 32 bits."""
_MOST_TRAJECTORIES = 2**31
_LARGEST_SEED = 2**63 - 1

MAX_EVENTS = 100_000_000
"""As in :mod:`sbmlgrad.simulation.experiment`, whose imports take time."""


def printable(text: str) -> str:
    """One line, without control characters that a file may have brought in."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))


# ---- values of options ---------------------------------------------------------------------------------
# click takes any function for a type, and BadParameter makes it name the option.


def number(text: str) -> float:
    """A finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise click.BadParameter(f"{text!r} is not a finite number")
    return value


def assignment(text: str) -> tuple[str, float]:
    """``id=value``."""
    identifier, equals, value = (part.strip() for part in text.partition("="))
    if not identifier or not equals:
        raise click.BadParameter(f"{text!r} is not of the form id=value")
    return identifier, number(value)


def named_formula(text: str) -> tuple[str, str]:
    """``name=formula``."""
    name, equals, formula = (part.strip() for part in text.partition("="))
    if not name or not equals or not formula:
        raise click.BadParameter(f"{text!r} is not of the form name=formula")
    return name, formula


def bounded(text: str) -> list[tuple[str, tuple[float, float] | None]]:
    """``id`` or ``id=lower:upper``, several of them separated by commas."""
    return [_bounded(part) for part in ids(text)]


def _bounded(text: str) -> tuple[str, tuple[float, float] | None]:
    identifier, equals, bounds = (part.strip() for part in text.partition("="))
    if identifier and not equals:
        return identifier, None
    lower, colon, upper = bounds.partition(":")
    if not identifier or not colon:
        raise click.BadParameter(f"{text!r} is not of the form id or id=lower:upper")
    limits = number(lower), number(upper)
    if not limits[0] < limits[1]:
        raise click.BadParameter(f"{text!r}: the lower bound must be below the upper one")
    return identifier, limits


def ids(text: str) -> tuple[str, ...]:
    """Ids separated by commas."""
    identifiers = tuple(part.strip() for part in text.split(","))
    if "" in identifiers:
        raise click.BadParameter(f"{text!r} has an empty place between commas")
    return identifiers


def once(option: str, pairs: Iterable[tuple[str, T]]) -> dict[str, T]:
    """Pairs of a repeated option as a mapping; an id that is given twice is wrong usage."""
    result: dict[str, T] = {}
    for identifier, value in pairs:
        if identifier in result:
            raise click.UsageError(f"{option}: {identifier!r} is given twice")
        result[identifier] = value
    return result


# ---- options -------------------------------------------------------------------------------------------


def n_option(default: int, help_text: str, least: int = 1) -> Decorator:
    """``-n``: a number of trajectories."""
    size = click.IntRange(least, _MOST_TRAJECTORIES)
    return click.option("-n", "n", type=size, default=default, show_default=True, help=help_text)


def output_option(*names: str, metavar: str, help_text: str) -> Decorator:
    """An option that names a file or folder to write."""
    return click.option(*names, type=click.Path(), metavar=metavar, help=help_text)


def _remember_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta[DEBUG] = True  # shared by the contexts of group and command


debug_option = click.option(
    "--debug",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_remember_debug,
    help="Show the traceback of an error.",
)
seed_option = click.option(
    "--seed",
    type=click.IntRange(0, _LARGEST_SEED),
    default=0,
    show_default=True,
    help="The same seed gives the same result.",
)


max_events_option = click.option(
    "--max-events",
    type=EVENTS,
    default=MAX_EVENTS,
    show_default=True,
    metavar="NUMBER",
    help="How many reactions may fire in a trajectory.",
)


def _use_cores(_: click.Context, __: click.Parameter, value: int | None) -> None:
    use_cores(value)


distributed_option = click.option(
    "--distributed",
    is_flag=True,
    help="Share the trajectories with the other processes of this job, started by Slurm, Open MPI or Kubernetes, or "
    "told apart by JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID. The first one writes.",
)

jobs_option = click.option(
    "--jobs",
    type=click.IntRange(1, 1024),
    expose_value=False,
    callback=_use_cores,
    metavar="NUMBER",
    help="Threads that simulate at once; one for each core if not given.",
)


# ---- where outputs go ----------------------------------------------------------------------------------


def check_outputs(
    reads: Iterable[str], files: Mapping[str, str | None], folder: str | None = None, folder_option: str = "--report"
) -> None:
    """Refuse places that cannot be written, or where something else lies, before the work begins."""
    taken = {os.path.realpath(path): "an input" for path in reads}
    for option, path in {**files, folder_option: folder}.items():
        if path is not None:
            target = os.path.realpath(path)
            if target in taken:
                raise click.UsageError(f"{option}: {path!r} is {taken[target]} too; give another name")
            taken[target] = f"the output of {option}"
    for path in files.values():
        if path is not None:
            check_file(path)
    if folder is not None:
        target = os.path.realpath(folder)
        existing = next(above for above in Path(target, "x").parents if above.exists())
        check_writable(existing, folder)


def check_apart(reads: Iterable[str], files: Mapping[str, str | None], folder: str, option: str = "--report") -> None:
    """Refuse inputs and outputs in a folder that is replaced as a whole, before the work begins."""
    whole = Path(os.path.realpath(folder))
    for path in reads:
        if Path(os.path.realpath(path)).is_relative_to(whole):
            raise click.UsageError(f"{option}: {folder!r} holds the input {path!r}; name another folder")
    for other, output in files.items():
        if output is not None and Path(os.path.realpath(output)).is_relative_to(whole):
            raise click.UsageError(f"{other}: {output!r} lies in the folder of {option}; name a place outside of it")
