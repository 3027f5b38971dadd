"""Events along the mean of a process, roughly: what looks ahead must know what they do, not to the last digit when."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sbmlgrad.network.numpy_program import NumpyProgram
from sbmlgrad.simulation.distributions import expected
from sbmlgrad.simulation.dynamics import Dynamics

_LOOKS = 32  # at triggers in a step, and again in the part in which one changes
_MOST_AT_ONCE = 100


class MeanEvents:
    """Which triggers are true, and which events wait to be executed."""

    def __init__(self, dynamics: Dynamics):
        assert dynamics.events is not None
        self.system, self.joined = dynamics.events, dynamics.joined
        self.triggers, self.details = NumpyProgram(self.system.triggers), NumpyProgram(self.system.details)
        self.sizes = NumpyProgram(self.system.sizes)
        self.truth = np.array(self.system.initial, bool)
        self.waiting: list[tuple[float, int, np.ndarray]] = []
        self.looks = 0
        """how often triggers were looked at, to see what to execute"""

    def first(self, begin: float, step: float, at: Callable[[np.ndarray], np.ndarray]) -> float:
        """The part of a step after which something happens, 1 if nothing does before its end.

        ``at`` gives the states (variables, parts) after parts of the step.
        """
        low, high = 0.0, 1.0
        for _ in range(2):
            parts = np.linspace(low, high, _LOOKS + 1)[1:]
            changed = self._seen(begin + parts * step, at(parts)) != self.truth[:, None]
            hits = np.flatnonzero(changed.any(axis=0))
            if not hits.size:
                break
            low, high = parts[hits[0]] - (high - low) / _LOOKS, parts[hits[0]]
        due = min((when for when, _, _ in self.waiting), default=np.inf)
        return float(np.clip(min(high, (due - begin) / step), 0.0, 1.0))

    def settle(self, time: float, state: np.ndarray) -> np.ndarray:
        """The state after all that happens at this time."""
        for _ in range(_MOST_AT_ONCE):
            self.looks += 1
            self._notice(time, state)
            ready = [item for item in self.waiting if item[0] <= time * (1 + 1e-12)]
            if not ready:
                break
            item = max(ready, key=lambda item: self._priority(time, state, item[1]))
            self.waiting = [other for other in self.waiting if other is not item]
            state = self._executed(time, state, item[1], item[2])
        return state

    def _seen(self, times: np.ndarray, states: np.ndarray) -> np.ndarray:
        """The truth of triggers (events, columns)."""
        return self.triggers(self.joined(times, states)) > 0.5

    def _values(self, time: float, state: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Delays and priorities (events,), and what would be assigned (events, assignments)."""
        inputs, count = self.joined(np.array([time]), state[:, None])[:, 0], len(self.system.names)
        details = self.details(inputs, expected)
        values = np.append(details[2 * count :], 0.0)[self.system.values]
        return details[:count], details[count : 2 * count], values

    def _priority(self, time: float, state: np.ndarray, event: int) -> float:
        return float(np.nan_to_num(self._values(time, state)[1][event], nan=-np.inf))

    def _notice(self, time: float, state: np.ndarray) -> None:
        truth = self._seen(np.array([time]), state[:, None])[:, 0]
        fallen = self.truth & ~truth & ~self.system.persistent
        self.waiting = [item for item in self.waiting if not fallen[item[1]]]
        risen = np.flatnonzero(truth & ~self.truth)
        if risen.size:
            delays, _, values = self._values(time, state)
            for event in risen:
                delay = max(float(delays[event]), 0.0) if self.system.delayed[event] else 0.0
                self.waiting.append((time + delay, int(event), values[event]))
        self.truth = truth

    def _executed(self, time: float, state: np.ndarray, event: int, stored: np.ndarray) -> np.ndarray:
        values = stored if self.system.from_trigger_time[event] else self._values(time, state)[2][event]
        sizes = np.append(self.sizes(self.joined(np.array([time]), state[:, None])[:, 0]), 1.0)
        targets = self.system.targets[event]
        new = np.append(state, 0.0)
        new[targets] = np.where(self.system.scaled[event], values * sizes[targets], values)
        return new[:-1]
