"""Other stochastic simulators, each used as its own documentation recommends for many trajectories.

All of them use exact direct methods. Where a peer takes propensities, they are the kinetic laws as this
package reads them; GillesPy2's and jsmfsb's own SBML importers are passed by, because they run text from
the file as code. The same function computes a propensity for stochastix and jsmfsb; stochastix's own
MassAction was slower. JAX peers run in their default precision, float32. Nothing is imported before it is
asked for.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy

from sbmlgrad.benchmark.peer_network import PeerNetwork, read_network
from sbmlgrad.benchmark.peer_run import Peer, PeerRun, measure, missing, version
from sbmlgrad.errors import SimulationError

LONG = 10_000  # events after which reverse mode recomputes steps instead of storing them
STORED = 30_000_000  # numbers that reverse mode may keep at a time; 2 GB were measured at 21 million


@dataclass(frozen=True)
class RoadRunner:
    """libroadrunner's Gillespie integrator: compiled with LLVM, one trajectory at a time."""

    name: str = "libroadrunner gillespie"

    def available(self) -> str | None:
        return missing("roadrunner", "libroadrunner")

    def run(self, model_path: str | Path, end: float, points: int, trajectories: int, seed: int) -> PeerRun:
        import roadrunner

        model = roadrunner.RoadRunner(str(model_path))
        model.setIntegrator("gillespie")
        integrator = model.getIntegrator()
        integrator.setValue("variable_step_size", False)
        species = list(model.model.getFloatingSpeciesIds())
        model.timeCourseSelections = species  # amounts; concentrations would be "[S]"

        def sample(n: int, seed: int) -> np.ndarray:
            integrator.setValue("seed", seed)
            amounts = np.empty((n, len(species)))
            for row in amounts:
                model.reset()
                row[:] = model.simulate(0, end, points)[-1]
            return amounts

        seconds, n, amounts = measure(sample, trajectories, seed)
        return PeerRun(self.name, version("libroadrunner"), seconds, n, _mean(species, amounts))


@dataclass(frozen=True)
class GillesPy2:
    """GillesPy2's SSACSolver: C++ compiled for the model, all trajectories in one process."""

    name: str = "GillesPy2 SSACSolver"

    def available(self) -> str | None:
        lacking = [tool for tool in ("g++", "make") if shutil.which(tool) is None]
        if lacking:
            return f"GillesPy2 compiles C++, and {' and '.join(lacking)} cannot be found; install a C++ compiler"
        return missing("gillespy2", "gillespy2")

    def run(self, model_path: str | Path, end: float, points: int, trajectories: int, seed: int) -> PeerRun:
        import gillespy2

        network = read_network(model_path)
        model = self._model(network)
        model.timespan(gillespy2.TimeSpan.linspace(t=end, num_points=points))
        solver = gillespy2.SSACSolver(model=model)
        order = np.argsort(solver.species)

        def sample(n: int, seed: int) -> np.ndarray:
            results = solver.run(number_of_trajectories=n, seed=seed)
            return np.asarray(results.to_array())[:, -1, 1:][:, order]

        seconds, n, amounts = measure(sample, trajectories, seed)
        return PeerRun(self.name, version("gillespy2"), seconds, n, _mean(network.species, amounts))

    def _model(self, network: PeerNetwork) -> Any:
        import gillespy2

        model = gillespy2.Model(name="model")
        species = [
            gillespy2.Species(name=name, initial_value=int(count))
            for name, count in zip(network.names, network.initial, strict=True)
        ]
        model.add_species(species)
        model.add_parameter(
            [
                gillespy2.Parameter(name=name, expression=float(value))
                for name, value in zip(network.coefficients, network.values, strict=True)
            ]
        )
        for j, law in enumerate(network.laws):
            sides = [
                {species[i]: int(side[i, j]) for i in np.flatnonzero(side[:, j])}
                for side in (network.reactants, network.products)
            ]
            # nfloat, because the text becomes C++, where 1/3 is 0
            text = str(sympy.nfloat(law))
            model.add_reaction(
                gillespy2.Reaction(name=f"r{j:04d}", reactants=sides[0], products=sides[1], propensity_function=text)
            )
        return model


@dataclass(frozen=True)
class Jsmfsb:
    """jsmfsb's ``step_gillespie``, mapped over keys and compiled as a whole."""

    name: str = "jsmfsb step_gillespie"

    def available(self) -> str | None:
        return missing("jsmfsb", "jsmfsb")

    def run(self, model_path: str | Path, end: float, points: int, trajectories: int, seed: int) -> PeerRun:
        import jsmfsb

        network = read_network(model_path)
        laws, values, step = network.propensities, network.values, end / (points - 1)
        with _default_jax():
            net = jsmfsb.Spn(
                list(network.names),
                [f"r{j}" for j, _ in enumerate(laws)],
                network.reactants.T,
                network.products.T,
                lambda x, t: jnp.array([law(x, values) for law in laws]),
                network.initial,
            )
            advance = net.step_gillespie()

            # half a step more, because the number of outputs is rounded down
            def course(key: jax.Array) -> jax.Array:
                return jsmfsb.sim_time_series(key, net.m, 0.0, end + step / 2, step, advance)

            compiled = jax.jit(jax.vmap(course))

            def sample(n: int, seed: int) -> np.ndarray:
                return np.asarray(compiled(jax.random.split(jax.random.key(seed), n)))[:, -1]

            seconds, n, amounts = measure(sample, trajectories, seed)
        return PeerRun(self.name, version("jsmfsb"), seconds, n, _mean(network.species, amounts))


@dataclass(frozen=True)
class Stochastix:
    """stochastix's DirectMethod through ``faststochsimsolve``, mapped over keys and compiled as a whole."""

    name: str = "stochastix DirectMethod"

    def available(self) -> str | None:
        return missing("stochastix", "stochastix")

    def run(self, model_path: str | Path, end: float, points: int, trajectories: int, seed: int) -> PeerRun:
        network = read_network(model_path)
        with _default_jax():
            sample = _stochastix_sampler(network, end, points)
            seconds, n, amounts = measure(sample, trajectories, seed)
        return PeerRun(self.name, version("stochastix"), seconds, n, _mean(network.species, amounts))


@dataclass(frozen=True)
class StochastixGradient:
    """stochastix's DifferentiableDirect: reverse mode through ``stochsimsolve``, a scan of fixed length.

    One reverse pass differentiates the mean of one species, the first. The length is the most events that a
    pilot ensemble had, and three of its standard deviations more. Over many events its gradients can grow
    enormously and become nan, as for the repressilator; the run is timed all the same.
    """

    name: str = "stochastix DifferentiableDirect, gradient"

    def available(self) -> str | None:
        return missing("stochastix", "stochastix")

    def run(self, model_path: str | Path, end: float, points: int, trajectories: int, seed: int) -> PeerRun:
        stx = _import_stochastix()
        network = read_network(model_path)
        with _default_jax():
            events = _stochastix_sampler(network, end, 2, count=True)(1000, seed)[:, -1]
            steps = int(events.max() + 3 * events.std()) + 10

            def loss(values: jax.Array, keys: jax.Array) -> tuple[jax.Array, Any]:
                net = _stochastix_network(stx, network, values)

                def end_state(key: jax.Array) -> tuple[jax.Array, jax.Array]:
                    result = stx.stochsimsolve(
                        key,
                        net,
                        jnp.asarray(network.initial),
                        T=end,
                        max_steps=steps,
                        solver=stx.DifferentiableDirect(),
                        save_trajectory=False,
                        save_propensities=False,
                        checkpoint=steps > LONG,
                    )
                    return result.x[-1], result.time_overflow

                state, overflow = jax.vmap(end_state)(keys)
                return state[:, 0].mean(), (state, overflow)

            compiled = jax.jit(jax.grad(loss, has_aux=True))
            values = jnp.asarray(network.values)

            def sample(n: int, seed: int) -> Any:
                gradient = compiled(values, jax.random.split(jax.random.key(seed), n))
                return jax.tree.map(np.asarray, gradient)

            most = max(1, min(trajectories, STORED // (steps * sum(network.reactants.shape))))
            seconds, n, (gradient, (amounts, overflow)) = measure(sample, most, seed)
        if overflow.any():
            raise SimulationError(f"{model_path}: {self.name} needed more than {steps} steps; take another seed")
        slopes = dict(zip(network.parameters, gradient.tolist(), strict=True))
        mean = _mean(network.species, amounts)
        return PeerRun(self.name, version("stochastix"), seconds, n, mean, slopes)


PEERS: tuple[Peer, ...] = (RoadRunner(), GillesPy2(), Stochastix(), Jsmfsb(), StochastixGradient())


@contextmanager
def _default_jax() -> Iterator[None]:
    """JAX as its users find it: this package switches float64 on, and its tests refuse to promote ranks."""
    with jax.enable_x64(False), jax.numpy_rank_promotion("allow"):
        yield


def _import_stochastix() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # its own, about one of its modules
        import stochastix
    return stochastix


def _stochastix_sampler(network: PeerNetwork, end: float, points: int, count: bool = False) -> Any:
    """A function of (n, seed) that gives the states at the end, (n, species).

    The solver keeps start and end only, so that it is started again at each output, which is exact. With
    ``count`` the number of events stands in a last column.
    """
    stx = _import_stochastix()
    net = _stochastix_network(stx, network, jnp.asarray(network.values), count)
    initial = jnp.asarray([*network.initial, 0.0] if count else network.initial)

    def advance(state: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        result = stx.faststochsimsolve(
            key,
            net,
            state,
            T=end / (points - 1),
            max_steps=np.iinfo(np.int32).max,
            solver=stx.DirectMethod(),
            save_propensities=False,
        )
        return result.x[-1], result.x[-1]

    def course(key: jax.Array) -> jax.Array:
        return jax.lax.scan(advance, initial, jax.random.split(key, points - 1))[1]

    compiled = jax.jit(jax.vmap(course))
    return lambda n, seed: np.asarray(compiled(jax.random.split(jax.random.key(seed), n)))[:, -1]


def _stochastix_network(stx: Any, network: PeerNetwork, values: jax.Array, count: bool = False) -> Any:
    """The network with the parameters as JAX values; with ``count``, every reaction also makes one ``t``."""

    def kinetics(propensity: Any) -> Any:
        class Law(stx.kinetics.AbstractKinetics):
            values: jax.Array

            def propensity_fn(self, x: Any, reactants: Any, t: Any = None, volume: Any = 1.0) -> Any:
                return propensity(x, self.values)

            def ode_rate_fn(self, x: Any, reactants: Any, t: Any = None, volume: Any = 1.0) -> Any:
                return propensity(x, self.values)

        # it sorts the species that reactions and laws name; all are named here, and sorted already
        return Law(_requires_species=network.names, values=values)

    reactions = []
    for j, propensity in enumerate(network.propensities):
        left = _side(network.names, network.reactants[:, j])
        right = _side((*network.names, "t"), [*network.products[:, j], float(count)])
        reactions.append(stx.Reaction(f"{left} -> {right}", kinetics(propensity)))
    return stx.ReactionNetwork(reactions)


def _side(names: tuple[str, ...], numbers: Any) -> str:
    terms = (f"{number:g} {name}" for name, number in zip(names, numbers, strict=True) if number)
    return " + ".join(terms) or "0"


def _mean(species: tuple[str, ...] | list[str], amounts: np.ndarray) -> dict[str, float]:
    return dict(zip(species, amounts.mean(axis=0, dtype=np.float64).tolist(), strict=True))
