"""Along the solution of the rate equations, how many reactions fire: roughly, in a second, without a compiler.

A linearly implicit method of second order (L. F. Shampine and M. W. Reichelt, The MATLAB ODE suite, SIAM J. Sci.
Comput. 18:1, 1997), which stiff equations do not slow down, at one per cent of error a step.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sbmlgrad.simulation.dynamics import Dynamics
from sbmlgrad.simulation.mean_events import MeanEvents

_D = 1.0 / (2.0 + np.sqrt(2.0))
_E = 6.0 + np.sqrt(2.0)
_RELATIVE = 1e-2
_MOLECULES = 1e-3  # of error that a step may make; for what is no count, this part of the largest value so far
_FEWEST_STEPS = 100  # where anything follows time
_FINEST = 1e-13  # of the time asked for, the shortest step
_FIRST = 1e-10  # of the time asked for, the shortest step to begin with
_APART = 1e-4  # relative, between two looks at a law for its slope
_ROUGHEST = 100.0  # tolerances by which a step may be wrong where time runs out
_OF_A_MATRIX = 1e-10  # seconds to invert it, for the cube of its size
_LOOK = 2e-4  # seconds, at events that may have to be executed
_UNEVEN = 0.3  # part of a step's firings by which two rules may differ


@dataclass(frozen=True)
class Course:
    """What came of it.

    ``firings`` of reactions are expected up to the time ``reached``, ``lately`` so many per time in the time in which
    the second half of them fired. ``limit_at`` is when as many as were asked about have fired, None if they have not.
    ``steps`` of the solver were tried. ``state`` (variables,) is that at the end.
    """

    firings: float
    reached: float
    lately: float
    limit_at: float | None
    steps: int
    state: np.ndarray = field(compare=False)


def follow(dynamics: Dynamics, start: float, end: float, limit: float, seconds: float = 0.6) -> Course:
    """Follow the mean from ``start`` to ``end``, or as far as about so many ``seconds`` of computing go.

    The work is counted, not timed, so that the answer is the same everywhere.
    """
    return _Walk(dynamics, start, end, limit, seconds).course()


class _Walk:
    """One solution on its way."""

    def __init__(self, dynamics: Dynamics, start: float, end: float, limit: float, seconds: float):
        self.dynamics, self.end, self.limit = dynamics, end, limit
        self.seconds, self.spared, self.enough = seconds, 0.5 * seconds, 0.3 * seconds
        self.span, self.time, self.state = end - start, start, dynamics.state.copy()
        self.firings, self.steps = 0.0, 0
        self.limit_at: float | None = None
        self.passed = [(start, 0.0)]  # times, and what has fired by then
        self.longest = self.span / _FEWEST_STEPS if dynamics.timed else self.span
        self.events = None if dynamics.events is None else MeanEvents(dynamics)
        if self.events is not None:
            self.state = self.events.settle(start, self.state)
        size = len(self.state)
        self.work_of_step = 1e-4 + size * 2e-6 + size**3 * _OF_A_MATRIX
        if self.work_of_step > seconds:
            self.seconds = -1.0  # not even one step can be taken: what fires at first is all that is seen
        else:
            self.work_of_step += 2 * dynamics.seconds(1) + dynamics.seconds(1 + dynamics.pattern.directions.shape[1])
        self.totals, self.slopes = self._rates(self.time, self.state)
        with np.errstate(all="ignore"):
            flows = np.nan_to_num(np.maximum(np.abs(self.state), 1e-6 * self.span * np.abs(self.slopes)))
        self.scale = np.where(dynamics.whole, 1.0, flows)

    def course(self) -> Course:
        """Step until the end, or until there is no going on."""
        step = min(self.longest, self._first_step())
        while self.time < self.end:
            if self.limit_at is not None:
                self.seconds = min(self.seconds, self.enough)  # how many more is not as important
                self.enough -= self.work_of_step
            if self.seconds < 0 or step < _FINEST * self.span or not np.isfinite(self.totals):
                break
            self.seconds -= self.work_of_step
            self.steps += 1
            step = self._tried(min(max(step, self._rough()), self.end - self.time, self.longest))
        return Course(self.firings, float(self.time), self._lately(), self.limit_at, self.steps, self.state)

    def _lately(self) -> float:
        if self.firings <= 0:
            return float(np.nan_to_num(self.totals, posinf=np.inf))
        times, counts = np.array(self.passed).T
        half = float(np.interp(0.5 * self.firings, counts, times))
        return 0.5 * self.firings / max(self.time - half, 1e-300)

    def _rates(self, time: float, state: np.ndarray) -> tuple[float, np.ndarray]:
        """The total propensity, and the slopes (variables,)."""
        propensities, slopes = self.dynamics.propensities_and_slopes(np.array([time]), state[:, None])
        return float(np.sum(propensities)), slopes[:, 0]

    def _tolerance(self, state: np.ndarray) -> np.ndarray:
        return _MOLECULES * self.scale + _RELATIVE * np.abs(state) + 1e-300

    def _first_step(self) -> float:
        with np.errstate(all="ignore"):
            fastest = float(np.max(np.abs(self.slopes) / self._tolerance(self.state), initial=0.0))
        step = 0.1 / fastest if fastest > 0 and np.isfinite(fastest) else self.span / _FEWEST_STEPS
        return max(step, _FIRST * self.span)

    def _tried(self, step: float) -> float:
        """Take a step if it is good enough; the length of the next one."""
        attempt = self._attempt(step)
        if attempt is None:
            return 0.1 * step
        middle, new, error, slopes = attempt
        total, end_total = middle, slopes[0]
        simpson = step / 6.0 * (self.totals + 4.0 * total + end_total)
        rough = abs(simpson - step / 2.0 * (self.totals + end_total))
        uneven = rough / (_UNEVEN * (simpson + 1e-3 * self.firings) + 1e-6)
        worst = max(error, uneven**2)
        if worst > (_ROUGHEST if step <= self._rough() else 1.0):
            return step * max(0.1, 0.8 / np.sqrt(worst))
        before, self.time = (self.time, self.state, self.slopes), self.time + step
        if self.end - self.time < 1e-12 * self.span:
            self.time = self.end
        part = 1.0
        if self.events is not None:
            part, new = self._past_events(before, step, new, slopes[1])
            slopes = self._rates(self.time, new)
        self._count(before[0], part * simpson)
        self.state, (self.totals, self.slopes) = new, slopes
        self.scale = np.where(self.dynamics.whole, 1.0, np.maximum(self.scale, np.abs(new)))
        return step * float(np.clip(0.8 / np.sqrt(worst + 1e-3), 0.5, 5.0)) if part == 1.0 else self._first_step()

    def _attempt(self, step: float) -> tuple[float, np.ndarray, float, tuple[float, np.ndarray]] | None:
        """The total propensity on the way, the state after, the error in tolerances, and rates after; None if that
        is not finite.
        """
        size, state, slopes = len(self.state), self.state, self.slopes
        moves = _APART * (np.abs(state) + self.scale) + 1e-300
        try:
            matrix = np.eye(size) - step * _D * self.dynamics.jacobian(self.time, state, moves)
            inverse = np.linalg.inv(matrix)  # small matrices, used three times
            with np.errstate(all="ignore"):
                first = inverse @ slopes
                middle, inside = self._rates(self.time + 0.5 * step, state + 0.5 * step * first)
                second = inverse @ (inside - first) + first
                new = state + step * second
                after = self._rates(self.time + step, new)
                third = inverse @ (after[1] - _E * (second - inside) - 2.0 * (first - slopes))
                error = step / 6.0 * np.abs(first - 2.0 * second + third)
                worst = float(np.max(error / self._tolerance(np.maximum(np.abs(state), np.abs(new))), initial=0.0))
        except np.linalg.LinAlgError:
            return None
        sound = bool(np.all(np.isfinite(new)) and np.isfinite([worst, middle, after[0]]).all())
        possible = (new > -1.0 - 0.1 * np.abs(state)) | ~self.dynamics.whole  # of molecules
        return (middle, new, worst, after) if sound and possible.all() else None

    def _rough(self) -> float:
        """The longest step that is taken whatever its error, so that the end is reached: 0 while there is time."""
        return (
            0.0
            if self.seconds > self.spared or self.seconds <= 0
            else (self.end - self.time) * self.work_of_step / self.seconds * 1.5
        )

    def _count(self, begin: float, fired: float) -> None:
        """Add what fired in the step since ``begin``."""
        if self.limit_at is None and self.firings + fired > self.limit:
            self.limit_at = float(begin + (self.limit - self.firings) / fired * (self.time - begin))
        self.firings += float(fired)
        self.passed.append((self.time, self.firings))

    def _past_events(
        self, before: tuple[float, np.ndarray, np.ndarray], step: float, new: np.ndarray, slopes: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """The part of the step up to the first event in it, and the state after that."""
        assert self.events is not None
        begin, state, rising = before

        def at(parts: np.ndarray) -> np.ndarray:  # the cubic through both ends with their slopes
            s, gap = parts[None], (new - state)[:, None]
            bend = (1 - 2 * s) * gap + (s - 1) * step * rising[:, None] + s * step * slopes[:, None]
            return (1 - s) * state[:, None] + s * new[:, None] + s * (s - 1) * bend

        part = self.events.first(begin, step, at)
        self.time = begin + part * step if part < 1.0 else self.time
        looks = self.events.looks
        settled = self.events.settle(self.time, at(np.array([part]))[:, 0])
        self.seconds -= _LOOK * (self.events.looks - looks)
        return part, settled
