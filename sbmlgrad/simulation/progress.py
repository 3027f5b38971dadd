"""How far work has come, with the time left: on terminals and in notebooks, for what takes longer than a moment."""

from __future__ import annotations

import sys
import threading
import warnings
from types import TracebackType
from typing import Any

import numpy as np
from tqdm import TqdmWarning, tqdm

_DELAY = 2.0  # seconds until anything is shown
_INTERVAL = 0.5  # seconds between two looks
_PERCENT = "{l_bar}{bar}| {elapsed}, {remaining} left"
_OF_TOTAL = "{l_bar}{bar}| {unit} {n_fmt} of {total_fmt}, {elapsed}, {remaining} left{postfix}"
_COUNT = "{desc}: {unit} {n_fmt}, {elapsed}{postfix}"


def bar(shown: bool, **options: Any) -> tqdm[Any]:
    """A bar of tqdm, on stderr where that is a terminal, or in a notebook; nowhere else, nor unless ``shown``.

    ``unit`` is what is counted, in the singular: "step 12 of 30".
    """
    known = options.get("total") is not None or hasattr(options.get("iterable"), "__len__")
    options = {"bar_format": _OF_TOTAL if known else _COUNT, **options}
    notebook = _in_notebook()
    kind = _notebook_bar() if notebook and shown else tqdm
    disable = (False if notebook else None) if shown else True
    return kind(disable=disable, leave=False, delay=_DELAY, **options)


class Progress:
    """How far the trajectories of an ensemble have come, as those at work tell it, and a bar that shows it.

    To be used in a ``with``; without a ``label`` nothing is shown.
    """

    def __init__(self, label: str | None, n: int, start: float, end: float):
        self._bar = bar(label is not None, desc=label, total=1.0, bar_format=_PERCENT, miniters=0)
        self._n, self._start, self._end = n, start, end
        self._parts: dict[int, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)

    @property
    def shown(self) -> bool:
        """Whether anybody looks."""
        return not self._bar.disable

    @property
    def fraction(self) -> float:
        """How much is done of all."""
        return min(1.0, sum(list(self._parts.values())) / self._n)

    def tell(self, first: int, times: Any) -> None:
        """That the trajectories from ``first`` on are at these times (trajectories,)."""
        if self.shown and self._end > self._start:
            passed = (np.asarray(times, np.float64) - self._start) / (self._end - self._start)
            self._parts[first] = float(np.sum(np.clip(passed, 0.0, 1.0)))

    def __enter__(self) -> Progress:
        if self.shown:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        if self.shown:
            self._thread.join()
        self._bar.close()

    def _show(self) -> None:
        """In a thread of its own, since the others wait for compilers and loops."""
        while not self._over.wait(_INTERVAL):
            self._bar.update(self.fraction - self._bar.n)


def _in_notebook() -> bool:
    """Whether this runs in a kernel, whose output is no terminal but is looked at."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")


def _notebook_bar() -> type[tqdm[Any]]:
    """That of the notebook, or, where it cannot be had, that of text: without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TqdmWarning)
        from tqdm.auto import tqdm as notebook

    return notebook
