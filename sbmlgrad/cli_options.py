"""What the files of the command line share: options, the form of messages, and checks of where outputs go."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from sbmlgrad.errors import SbmlgradError

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

DEBUG = "sbmlgrad.debug"
_MOST_TRAJECTORIES = 2**31
_LARGEST_SEED = 2**63 - 1


def printable(text: str) -> str:
    """One line, without control characters that a file may have brought in."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))


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


# ---- where outputs go ----------------------------------------------------------------------------------


def check_outputs(reads: Iterable[str], files: Mapping[str, str | None], folder: str | None = None) -> None:
    """Refuse places that cannot be written, or where something else lies, before the work begins."""
    taken = {os.path.realpath(path): "an input" for path in reads}
    for option, path in {**files, "--report": folder}.items():
        if path is not None:
            place = os.path.realpath(path)
            if place in taken:
                raise click.UsageError(f"{option}: {path!r} is {taken[place]} too; give another name")
            taken[place] = f"the output of {option}"
    for path in files.values():
        if path is not None:
            _check_file(path)
    if folder is not None:
        place = os.path.realpath(folder)
        existing = next(above for above in Path(place, "x").parents if above.exists())
        _check_folder(existing, folder)


def _check_file(path: str) -> None:
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise SbmlgradError(f"{path}: cannot be written, this is a folder; name a file")
    if not target.parent.is_dir():
        raise SbmlgradError(f"{path}: cannot be written, there is no folder {target.parent}; create it first")
    if target.is_file() or not target.exists():  # devices are written in place
        _check_folder(target.parent, path)


def _check_folder(folder: Path, wanted: str) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SbmlgradError(f"{wanted}: cannot be written: {error.strerror}; choose another place") from None
