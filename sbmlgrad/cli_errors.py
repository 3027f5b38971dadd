"""Errors of the command line: one line each, with remedies in its own words, and the exit status."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import IO, Any

import click

from sbmlgrad.cli_options import DEBUG, printable
from sbmlgrad.errors import Advised, SbmlgradError, SbmlgradWarning

INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells have it: 128 and the number of the signal."""

_PATIENCE = 5.0  # seconds until an interrupt that ended nothing is raised again
_SOON = 0.05  # the same for one that is known to be lost


class _Failure(click.ClickException):
    """Anything but wrong usage: one line on stderr, exit status 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"error: {self.message}", file=file, err=True)


class _Interrupted(_Failure):
    """Ctrl-C."""

    exit_code = INTERRUPTED


class Commands(click.Group):
    """A group whose commands end with one line instead of a traceback, which ``--debug`` adds."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _interrupts() as interrupt, warnings.catch_warnings():
                warnings.simplefilter("default", SbmlgradWarning)  # each once
                warnings.showwarning = _show_warning
                return super().invoke(ctx)
        except click.ClickException as error:
            vars(error)["message"] = printable(error.message)  # it may repeat what was typed
            raise
        except click.exceptions.Exit:
            raise
        except BrokenPipeError:
            # whoever read our output has had enough; Python must not complain when it flushes the rest
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(1) from None
        except (Exception, KeyboardInterrupt) as error:
            if ctx.meta.get(DEBUG):
                traceback.print_exc()
            command = self.get_command(ctx, ctx.invoked_subcommand or "")
            was_interrupted = interrupt.came or isinstance(error, KeyboardInterrupt)
            if was_interrupted:
                raise _Interrupted("interrupted") from None
            if isinstance(error, SbmlgradError) and error.is_shared and _is_another_process():
                raise click.exceptions.Exit(1) from None  # the first process says it
            raise _Failure(printable(in_options(_in_words(error), command))) from None


def _is_another_process() -> bool:
    """Whether others share the work of this process, and one of them is to say what all know."""
    processes = sys.modules.get("sbmlgrad.simulation.processes")  # whose import takes time
    return processes is not None and processes.index() > 0


class _Interrupt:
    """Whether Ctrl-C was pressed, which ends a command even where a library makes another error of the exception, or
    where the exception is lost in code that cannot raise: then it is raised again, until the command ends."""

    came = False
    _again: threading.Timer | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        self._raise_again(_PATIENCE)
        raise KeyboardInterrupt

    def lost(self, ignored: Any) -> None:
        """Take note of an exception that nobody will see (JAX has callbacks of the garbage collector)."""
        if issubclass(ignored.exc_type, KeyboardInterrupt):
            self._raise_again(_SOON)
        else:
            sys.__unraisablehook__(ignored)

    def _raise_again(self, seconds: float) -> None:
        self.forget()
        self._again = threading.Timer(seconds, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
        self._again.daemon = True
        self._again.start()

    def forget(self) -> None:
        """Raise no more."""
        if self._again is not None:
            self._again.cancel()


@contextmanager
def _interrupts() -> Iterator[_Interrupt]:
    interrupt = _Interrupt()
    # threads receive no signals, Windows sends none to threads, and whoever ignores them (nohup) goes on doing so
    if (
        threading.current_thread() is not threading.main_thread()
        or not hasattr(signal, "pthread_kill")
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield interrupt
        return
    signal.signal(signal.SIGINT, interrupt)
    before, sys.unraisablehook = sys.unraisablehook, interrupt.lost
    try:
        yield interrupt
    finally:
        interrupt.forget()
        sys.unraisablehook = before
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: IO[str] | None = None,
    line: str | None = None,
) -> None:
    """Ours as one line, others as Python shows them."""
    if issubclass(category, SbmlgradWarning):
        context = click.get_current_context(silent=True)  # threads have none
        text = message.on_command_line() if isinstance(message, Advised) else str(message)
        click.echo(f"warning: {printable(in_options(text, context.command if context else None))}", err=True)
    else:
        click.echo(warnings.formatwarning(message, category, filename, lineno), err=True, nl=False)


def _in_words(error: BaseException) -> str:
    if isinstance(error, Advised):
        return error.on_command_line()
    if isinstance(error, SbmlgradError):
        return str(error)
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):  # the latter is JAX's
        return "out of memory; ask for fewer trajectories (-n) or fewer times (--points)"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename is not None else ""
        return f"{where}{error.strerror or error}; check the path, its permissions and the space there"
    return (
        f"unexpected {type(error).__name__}: {str(error)[:300]}; this is a bug in sbmlgrad: "
        "run again with --debug and report what it shows"
    )


_REMEDIES = (
    ("--max-events", r" or raise max_events"),
    ("--points", r" or fewer times \(--points\)"),
    ("--end", r"(,| or) end earlier \(--end\)"),
    ("--end", r" or an earlier --end"),
)
_METHOD = re.compile(r"\bmethod '(ssa|ode)'")
_INIT = re.compile(r"\binit=\{'([^']+)': value\}")


def in_options(text: str, command: click.Command | None) -> str:
    """What Python's keywords are called on the command line; a remedy that the command has not is left out."""
    options = {option for parameter in command.params for option in parameter.opts} if command else set()
    text = _INIT.sub(r"--init \1=value", _METHOD.sub(r"--method \1", text))
    for option, remedy in _REMEDIES:
        if option not in options:
            text = re.sub(remedy, "", text)
    return re.sub(r"\bmax_events\b", "--max-events", text)
