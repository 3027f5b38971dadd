"""Derivatives of the battery's cases by stochastix' DifferentiableDirect, held against the exact ones.

    python benchmarks/battery_stochastix.py -n 2000 -o stochastix.csv

needs `pip install stochastix` and uses it as its guide to sensitivity analysis does: the final state of
`stochsimsolve`, a function of it, reverse mode, `vmap` over keys; its default temperature (1) and exact forward pass;
JAX in its default precision, float32. The derivative of a variance is that of `(X - m)**2`, with the mean m of another
ensemble; that of a probability is that of the bin's indicator, which is 0 wherever it exists, as is that of its own
`state_kde` on whole numbers with the default kernel.

Printed for each case and parameter: the exact derivative, the estimate over the exact one, the standard deviation of
one trajectory's derivative over the exact one; and the seconds that the trajectories took, compilation left out, beside
those of as many by `faststochsimsolve` with its DirectMethod.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from battery import CASES, Case, exact
from jax import Array

from sbmlgrad.files import write_text

STORED = 30_000_000  # numbers that reverse mode may keep at a time: steps, by species and reactions, by trajectories
PILOT = 1000  # trajectories from which the number of steps is taken
COLUMNS = ("case", "parameter", "exact", "estimate", "sd", "trajectories", "seconds", "forward_seconds", "overflow")


@dataclass(frozen=True)
class Estimate:
    """What ``trajectories`` gave: mean and standard deviation (parameters,) of one trajectory's derivative.

    ``value`` is the observable in the same run, to show that the same thing was simulated; ``overflow`` says how many
    trajectories needed more steps than the scan has, a number taken from a pilot ensemble.
    """

    derivatives: np.ndarray
    sd: np.ndarray
    seconds: float
    forward_seconds: float
    value: float
    trajectories: int
    overflow: int


def estimate(case: Case, n: int, seed: int) -> Estimate:
    """Derivatives by ``n`` trajectories, or as many more as fill whole batches that reverse mode can store."""
    # This package switches float64 on; stochastix is used as its users find JAX.
    with jax.enable_x64(False), jax.numpy_rank_promotion("allow"):
        theta = jnp.array([float(case.network.parameters[name]) for name in case.parameters])
        pilot, forward, backward = jax.random.split(jax.random.key(seed), 3)
        events = _timed(_end_states(case, counted=True), theta, jax.random.split(pilot, PILOT))[1][:, -1]
        steps = int(events.max() + 3 * events.std()) + 10
        batch = max(1, min(n, STORED // (steps * sum(case.network.stoichiometry.shape))))
        batches = -(-n // batch)

        forward_seconds, counts = _timed(_end_states(case), theta, jax.random.split(forward, batch * batches))
        species = case.network.species.index(case.observable[1])
        derive = jax.vmap(jax.value_and_grad(_outcome(case, steps, species, counts[:, species].mean()), has_aux=True))
        seconds, ((values, overflow), derivatives) = _timed(
            # Each batch is differentiated before the next begins, which bounds what reverse mode stores.
            lambda theta, keys: jax.lax.map(
                lambda some: derive(jnp.broadcast_to(theta, (batch, len(theta))), some), keys
            ),
            theta,
            jax.random.split(backward, (batches, batch)),
        )
    derivatives = derivatives.reshape(-1, len(theta)).astype(np.float64)
    return Estimate(
        derivatives.mean(axis=0),
        derivatives.std(axis=0, ddof=1),
        seconds,
        forward_seconds,
        float(values.mean(dtype=np.float64)),
        batch * batches,
        int(overflow.sum()),
    )


def _timed(function: Callable[[Array, Array], Any], theta: Array, keys: Array) -> tuple[float, Any]:
    """Seconds of one call, compilation left out, and its result as numpy arrays."""
    compiled = jax.jit(function).lower(theta, keys).compile()
    begin = perf_counter()
    result = jax.tree.map(np.asarray, compiled(theta, keys))
    return perf_counter() - begin, result


def _end_states(case: Case, counted: bool = False) -> Callable[[Array, Array], Array]:
    """A function of parameters and keys that gives counts (keys, species) at the end, if ``counted`` with events."""
    stx = _import_stochastix()

    def course(theta: Array, key: Array) -> Array:
        result = stx.faststochsimsolve(
            key,
            _network(stx, case, theta, counted),
            jnp.asarray([*case.network.x0, 0.0] if counted else case.network.x0, float),
            T=case.time,
            max_steps=np.iinfo(np.int32).max,
            solver=stx.DirectMethod(),
            save_propensities=False,
        )
        return result.x[-1]

    return jax.vmap(course, (None, 0))


def _outcome(case: Case, steps: int, species: int, mean: float) -> Callable[[Array, Array], Any]:
    """A function of parameters and a key that gives what is observed, and whether the steps did not suffice."""
    stx = _import_stochastix()

    def outcome(theta: Array, key: Array) -> tuple[Array, Array]:
        result = stx.stochsimsolve(
            key,
            _network(stx, case, theta),
            jnp.asarray(case.network.x0, float),
            T=case.time,
            max_steps=steps,
            solver=stx.DifferentiableDirect(),
            save_trajectory=False,
            save_propensities=False,
        )
        return _observe(case, result.x[-1, species], mean), result.time_overflow

    return outcome


def _observe(case: Case, count: Array, mean: float) -> Array:
    if case.observable[0] == "mean":
        return count
    if case.observable[0] == "variance":
        return (count - mean) ** 2
    _, _, lower, upper = case.observable
    return jnp.where((count >= lower) & (count < upper), 1.0, 0.0)


def _import_stochastix() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # its own, about one of its modules
        import stochastix
    return stochastix


def _network(stx: Any, case: Case, theta: Array, counted: bool = False) -> Any:
    """The case's network at the parameters ``theta``; if ``counted``, every reaction also makes one ``t``."""
    net = case.network
    assert net.propensities is not None
    propensities: Callable[..., Any] = net.propensities
    names = tuple(f"s{i:03d}" for i in range(len(net.species)))  # it sorts species by name, and these are sorted

    def kinetics(j: int) -> Any:
        class Law(stx.kinetics.AbstractKinetics):
            theta: Array

            def propensity_fn(self, x: Any, reactants: Any, t: Any = None, volume: Any = 1.0) -> Any:
                values = {name: float(value) for name, value in net.parameters.items()}
                return propensities(x, values | dict(zip(case.parameters, self.theta, strict=True)))[j]

            def ode_rate_fn(self, x: Any, reactants: Any, t: Any = None, volume: Any = 1.0) -> Any:
                return self.propensity_fn(x, reactants, t, volume)

        return Law(_requires_species=names, theta=theta)

    reactions = []
    for j, jumps in enumerate(net.stoichiometry.T):
        left = [f"{-jump} {name}" for name, jump in zip(names, jumps, strict=True) if jump < 0]
        right = [f"{jump} {name}" for name, jump in zip(names, jumps, strict=True) if jump > 0]
        right += ["1 t"] if counted else []
        reactions.append(stx.Reaction(f"{' + '.join(left) or '0'} -> {' + '.join(right) or '0'}", kinetics(j)))
    return stx.ReactionNetwork(reactions)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line a case and parameter, and write them to a table if asked to."""
    parser = argparse.ArgumentParser(description="Derivatives of the battery's cases by stochastix.")
    parser.add_argument("words", nargs="*", help="only cases whose name contains one of these")
    parser.add_argument("-n", type=int, default=2000, help="trajectories")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, help="a CSV file")
    given = parser.parse_args(arguments)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    for case in CASES:
        if given.words and not any(word in case.name for word in given.words):
            continue
        value, derivatives = exact(case)
        result = estimate(case, given.n, given.seed)
        print(
            f"{case.name}: {result.value:.5g} (exact {value:.5g}), {result.trajectories} trajectories in "
            f"{result.seconds:.2f} s, forward only {result.forward_seconds:.2f} s, {result.overflow} cut short",
            flush=True,
        )
        for name, right, mean, sd in zip(case.parameters, derivatives, result.derivatives, result.sd, strict=True):
            print(f"    {name}: {right:.5g}, ratio {mean / right:.3f}, sd {sd / abs(right):.3g}", flush=True)
            numbers = (
                right,
                mean,
                sd,
                result.trajectories,
                result.seconds,
                result.forward_seconds,
                result.overflow,
            )
            writer.writerow([case.name, name, *numbers])
    if given.output:
        write_text(given.output, table.getvalue())
    return 0


if __name__ == "__main__":
    sys.exit(main())
