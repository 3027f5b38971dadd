"""One step of a differential equation, by methods for different needs.

Each takes ``(flow, time, step, state, slopes)`` with y' = flow(t, y) and, where they are known, the derivatives of
the flow by state and time, which only the one for stiff equations looks at, and returns a :class:`Step`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax.numpy as jnp
from jax import Array, lax

from sbmlgrad.simulation.rosenbrock import Flow, Slopes, Step, rosenbrock_step

Result = TypeVar("Result")


def explicit_step(flow: Flow, time: Array, step: Array, state: Array, slopes: Slopes | None = None) -> Step:
    """Dormand and Prince's pair of orders 5 and 4, for equations that are not stiff."""
    import diffrax  # takes a second, which models that need it not should not pay

    solver: Any = diffrax.Dopri5(scan_kind="lax")
    term = diffrax.ODETerm(lambda t, y, args: flow(jnp.asarray(t), y))
    end = time + step
    memory = solver.init(term, time, end, state, None)
    after, error, dense, _, _ = solver.step(term, time, end, state, None, memory, made_jump=False)
    # in fractions of the step, which is smaller than the rounding of time where an event is close
    way = solver.interpolation_cls(t0=jnp.zeros_like(time), t1=jnp.ones_like(time), **dense)
    return Step(after, error, way.evaluate, jnp.zeros_like(state), jnp.zeros_like, jnp.full_like(state, step))


def still_step(flow: Flow, time: Array, step: Array, state: Array, slopes: Slopes | None = None) -> Step:
    """Euler's, which is exact where the rates of change are constant."""
    change = step * flow(time, state)
    none = jnp.zeros_like(state)
    return Step(
        state + change,
        none,
        lambda fraction: state + fraction * change,
        none,
        jnp.zeros_like,
        jnp.full_like(state, step),
    )


_INSIDE = 1e-12  # stages stay this fraction of a step away from its ends, where conditions on time change
STEPS = {"rosenbrock": rosenbrock_step, "explicit": explicit_step, "still": still_step}
ORDER = 5  # of the error estimate of those that have one


def largest_error(error: Array, tolerance: Array) -> Array:
    """The error in units of the tolerance, as root of the mean square; infinite where it is not a number."""
    if not error.shape[0]:
        return jnp.zeros(())
    size = jnp.sqrt(jnp.mean(jnp.square(error / tolerance)))
    return lax.stop_gradient(jnp.where(jnp.isfinite(size), size, jnp.inf))


def without(noise: Array | float, state: Array) -> Array:
    """The state with 0 for what is below it by no more than noise."""
    return jnp.where((state < 0) & (state >= -noise), 0.0, state)


def inside(flow: Callable[[Array, Array], Result], begin: Array, step: Array) -> Callable[[Array, Array], Result]:
    """The flow with times at the very ends of a step moved inside: conditions on time change only between steps."""
    margin = lax.stop_gradient(jnp.maximum(_INSIDE * step, jnp.minimum(0.01 * step, 8.0 * 2.0**-53 * jnp.abs(begin))))

    def inner(time: Array, state: Array) -> Result:
        return flow(time + margin * (1.0 - 2.0 * (time - begin) / step), state)

    return inner
