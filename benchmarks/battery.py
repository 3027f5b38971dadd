"""The battery on which estimators of derivatives are judged: small networks whose derivatives are known exactly.

    python benchmarks/battery.py

prints, for each case, the number of states and the probability lost to those left out, the exact value of its
observable with its derivatives, the mean number of events in a trajectory, and the seconds that the exact law took.

Ten models of the literature at numbers so small that the master equation can be solved (`finite_state.py`), each seen
early ("transient") and near the law that it settles in ("stationary"). Of a model's parameters a case differentiates by
those whose relative change moves the observable by at least a fiftieth as much.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from time import perf_counter
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from sbmlgrad.network import ReactionNetwork
from sbmlgrad.simulation.ensemble import Ensemble, run
from sbmlgrad.simulation.finite_state import StateSpace, evolve, explore

Observable = tuple[Literal["mean", "variance"], str] | tuple[Literal["probability"], str, int, int]
Kind = Literal["transient", "stationary"]
Laws = Callable[[Sequence[Array], Any], Sequence[Any]]

PILOT = 1000  # trajectories for the mean number of events
LOST = 1e-9  # probability left out of the exact law: its moments and derivatives are then right to five digits or more


@dataclass(frozen=True)
class Case:
    """An observable of a network at one time, and the parameters to differentiate it by.

    ``observable`` is ``("mean", species)``, ``("variance", species)`` or ``("probability", species, lower, upper)``,
    the probability that ``lower <= X < upper``.
    """

    name: str
    model: str
    network: ReactionNetwork
    parameters: tuple[str, ...]
    observable: Observable
    time: float
    kind: Kind


def network(
    reactions: Mapping[str, tuple[str, str]],
    laws: Laws,
    initial: Mapping[str, int],
    parameters: Mapping[str, float],
) -> ReactionNetwork:
    """A network of ``reactions``, each from a side such as ``"E + S"`` to another, with ``laws`` in their order."""
    jumps = np.array([[_count(right, s) - _count(left, s) for left, right in reactions.values()] for s in initial])

    def propensities(x: Array, values: Any) -> Array:
        return jnp.stack([jnp.asarray(law, float) for law in laws(tuple(x), values)])

    return ReactionNetwork(
        jumps,
        propensities,
        x0=list(initial.values()),
        parameters=parameters,
        species=tuple(initial),
        reactions=tuple(reactions),
    )


def _count(side: str, species: str) -> int:
    return side.replace("+", " ").split().count(species)


# ---- models --------------------------------------------------------------------------------------------


def birth_death() -> ReactionNetwork:
    """Immigration and death (van Kampen, Stochastic Processes in Physics and Chemistry, 1981), mean 40."""
    return network(
        {"birth": ("", "X"), "death": ("X", "")},
        lambda x, p: [p["k"], p["g"] * x[0]],
        {"X": 0},
        {"k": 40.0, "g": 1.0},
    )


def dimerisation() -> ReactionNetwork:
    """Wilkinson, Stochastic Modelling for Systems Biology, 2006, section 7.3: 301 molecules in 1e-15 l."""
    return network(
        {"bind": ("P + P", "D"), "part": ("D", "P + P")},
        lambda x, p: [p["k1"] * x[0] * (x[0] - 1) / 2, p["k2"] * x[1]],
        {"P": 301, "D": 0},
        {"k1": 1.66e-3, "k2": 0.2},
    )


def feedback_gene() -> ReactionNetwork:
    """A gene that its protein shuts off: reactions of Grima, Schmidt & Newman, J. Chem. Phys. 137, 035104 (2012).

    Their protein binds the gene, unbound (U) or bound (B), and both make protein; the values here are small ones.
    """
    return network(
        {
            "make_unbound": ("U", "U + P"),
            "make_bound": ("B", "B + P"),
            "decay": ("P", ""),
            "bind": ("U + P", "B"),
            "unbind": ("B", "U + P"),
        },
        lambda x, p: [p["fast"] * x[0], p["slow"] * x[1], p["d"] * x[2], p["on"] * x[0] * x[2], p["off"] * x[1]],
        {"U": 1, "B": 0, "P": 0},
        {"fast": 30.0, "slow": 5.0, "d": 1.0, "on": 0.05, "off": 0.5},
    )


def toggle_switch() -> ReactionNetwork:
    """Two genes that repress each other: Gardner, Cantor & Collins, Nature 403, 339 (2000), with their exponents.

    K molecules make one of their units of concentration; the strengths are such that the switch changes sides.
    """
    return network(
        {"make_u": ("", "U"), "lose_u": ("U", ""), "make_v": ("", "V"), "lose_v": ("V", "")},
        lambda x, p: [
            p["a1"] / (1 + (x[1] / p["K"]) ** 2.5),
            p["d"] * x[0],
            p["a2"] / (1 + x[0] / p["K"]),
            p["d"] * x[1],
        ],
        {"U": 0, "V": 0},
        {"a1": 25.0, "a2": 10.0, "K": 1.5, "d": 1.0},
    )


def schlogl() -> ReactionNetwork:
    """Schlögl, Z. Phys. 253, 147 (1972), with the bistable constants that Gillespie (1992) gave it.

    The constants are those of 0.08 of that volume, so that trajectories visit both stable states.
    """
    volume = 0.08
    return network(
        {
            "two_to_three": ("X + X", "X + X + X"),
            "three_to_two": ("X + X + X", "X + X"),
            "in": ("", "X"),
            "out": ("X", ""),
        },
        lambda x, p: [
            p["k1"] * x[0] * (x[0] - 1),
            p["k2"] * x[0] * (x[0] - 1) * (x[0] - 2),
            p["k3"],
            p["k4"] * x[0],
        ],
        {"X": 20},
        {"k1": 0.015 / volume, "k2": 1e-4 / 6 / volume**2, "k3": 200 * volume, "k4": 3.5},
    )


def enzyme() -> ReactionNetwork:
    """Michaelis-Menten kinetics: Wilkinson 2006, section 7.3, in a tenth of its volume and number of molecules."""
    return network(
        {"bind": ("S + E", "C"), "part": ("C", "S + E"), "convert": ("C", "P + E")},
        lambda x, p: [p["k1"] * x[0] * x[1], p["k2"] * x[2], p["k3"] * x[2]],
        {"S": 30, "E": 12, "C": 0, "P": 0},
        {"k1": 1.66e-2, "k2": 0.1, "k3": 0.1},
    )


def lotka_volterra() -> ReactionNetwork:
    """Predators and prey with the constants of Wilkinson 2006, chapter 1, in a tenth of its volume."""
    return network(
        {"breed": ("Prey", "Prey + Prey"), "hunt": ("Prey + Hunter", "Hunter + Hunter"), "die": ("Hunter", "")},
        lambda x, p: [p["c1"] * x[0], p["c2"] * x[0] * x[1], p["c3"] * x[1]],
        {"Prey": 8, "Hunter": 8},
        {"c1": 1.0, "c2": 0.05, "c3": 0.6},
    )


def ion_channel() -> ReactionNetwork:
    """Fifty gates of a potassium channel at -40 mV: Hodgkin & Huxley, J. Physiol. 117, 500 (1952), in ms and mV."""

    def laws(x: Sequence[Array], p: Any) -> Sequence[Any]:
        above = p["v"] + 55.0
        opening = p["a"] * above / -jnp.expm1(-above / 10.0)
        closing = p["b"] * jnp.exp(-(p["v"] + 65.0) / 80.0)
        return [opening * x[0], closing * x[1]]

    return network(
        {"open": ("Closed", "Open"), "close": ("Open", "Closed")},
        laws,
        {"Closed": 50, "Open": 0},
        {"v": -40.0, "a": 0.01, "b": 0.125},
    )


def sir() -> ReactionNetwork:
    """Kermack & McKendrick, Proc. R. Soc. A 115, 700 (1927), with rates a day as fitted to the influenza in a
    boarding school in 1978 (Murray, Mathematical Biology, 1989), among 60 boys rather than 763.
    """
    boys = 60
    return network(
        {"infect": ("S + I", "I + I"), "recover": ("I", "R")},
        lambda x, p: [p["b"] * x[0] * x[1] / boys, p["g"] * x[1]],
        {"S": boys - 4, "I": 4, "R": 0},
        {"b": 1.66, "g": 0.44},
    )


def ring_oscillator() -> ReactionNetwork:
    """Three repressors in a ring: Elowitz & Leibler, Nature 403, 335 (2000), of proteins only and at low numbers."""
    names = ("A", "B", "C")
    return network(
        {f"{verb}_{s}": (("", s) if verb == "make" else (s, "")) for s in names for verb in ("make", "lose")},
        lambda x, p: [
            law for i in range(3) for law in (p["leak"] + p["a"] / (1 + (x[i - 1] / p["K"]) ** 3), p["d"] * x[i])
        ],
        {"A": 8, "B": 0, "C": 0},
        {"a": 12.0, "K": 2.5, "leak": 0.2, "d": 1.0},
    )


# ---- cases ---------------------------------------------------------------------------------------------

RATES = ("fast", "slow", "d", "on", "off")  # of the gene with feedback
STRENGTHS = ("a1", "a2", "K", "d")  # of the toggle switch
CONSTANTS = ("k1", "k2", "k3", "k4")  # of Schlögl's model

# By model: what is seen at which time, and by which parameters it is differentiated.
TRANSIENT: dict[Callable[[], ReactionNetwork], list[tuple[Observable, float, tuple[str, ...]]]] = {
    birth_death: [
        (("mean", "X"), 1.0, ("k", "g")),
        (("probability", "X", 30, 60), 1.0, ("k", "g")),
    ],
    dimerisation: [
        (("mean", "P"), 1.0, ("k1", "k2")),
        (("probability", "D", 75, 151), 3.0, ("k1", "k2")),
    ],
    feedback_gene: [
        (("mean", "P"), 1.0, RATES),
        (("variance", "P"), 3.0, RATES),
    ],
    toggle_switch: [
        (("mean", "U"), 3.0, STRENGTHS),
        (("probability", "U", 0, 10), 3.0, STRENGTHS),
    ],
    schlogl: [
        (("mean", "X"), 0.5, CONSTANTS),
        (("variance", "X"), 2.0, CONSTANTS),
    ],
    enzyme: [
        (("mean", "P"), 10.0, ("k1", "k2", "k3")),
        (("variance", "C"), 10.0, ("k1", "k2", "k3")),
        (("probability", "P", 20, 31), 30.0, ("k1", "k2", "k3")),
        (("mean", "S"), 60.0, ("k1", "k2", "k3")),
    ],
    lotka_volterra: [
        (("mean", "Hunter"), 1.2, ("c1", "c2", "c3")),
        (("variance", "Prey"), 1.2, ("c1", "c2", "c3")),
        (("probability", "Hunter", 0, 10), 2.0, ("c1", "c2", "c3")),
    ],
    ion_channel: [
        (("mean", "Open"), 3.0, ("v", "a", "b")),
        (("probability", "Open", 25, 51), 3.0, ("v", "a", "b")),
    ],
    sir: [
        (("mean", "I"), 3.0, ("b", "g")),
        (("variance", "S"), 6.0, ("b", "g")),
        (("probability", "I", 0, 10), 6.0, ("b", "g")),
    ],
    ring_oscillator: [
        (("mean", "C"), 2.0, ("a", "K", "d")),
        (("probability", "A", 0, 2), 5.0, ("a", "K", "d")),
    ],
}
STATIONARY: dict[Callable[[], ReactionNetwork], list[tuple[Observable, float, tuple[str, ...]]]] = {
    birth_death: [
        (("variance", "X"), 8.0, ("k", "g")),
        (("probability", "X", 45, 80), 8.0, ("k", "g")),
    ],
    dimerisation: [
        (("variance", "P"), 10.0, ("k1", "k2")),
        (("probability", "P", 150, 302), 10.0, ("k1", "k2")),
    ],
    feedback_gene: [
        (("mean", "P"), 15.0, RATES),
        (("probability", "P", 0, 8), 15.0, RATES),
    ],
    toggle_switch: [
        (("variance", "V"), 20.0, STRENGTHS),
        (("probability", "U", 0, 10), 20.0, STRENGTHS),
    ],
    schlogl: [
        (("mean", "X"), 8.0, CONSTANTS),
        (("probability", "X", 0, 20), 8.0, CONSTANTS),
    ],
    ion_channel: [
        (("variance", "Open"), 20.0, ("v", "a", "b")),
        (("probability", "Open", 35, 51), 20.0, ("v", "a", "b")),
    ],
    sir: [(("probability", "R", 0, 57), 40.0, ("b", "g"))],
    ring_oscillator: [
        (("mean", "A"), 20.0, ("a", "K", "d")),
        (("variance", "A"), 20.0, ("a", "K", "d")),
    ],
}


def _cases() -> Iterator[Case]:
    for make in TRANSIENT:
        model, net = make.__name__, make()
        for kind, table in KINDS.items():
            for observable, time, parameters in table.get(make, ()):
                what, *which = observable
                name = f"{model} {what} {'-'.join(map(str, which))} {time:g}"
                yield Case(name, model, net, parameters, observable, time, kind)


KINDS: dict[Kind, Any] = {"transient": TRANSIENT, "stationary": STATIONARY}
CASES = tuple(_cases())


# ---- exact answers -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Law:
    """Probabilities ``p`` (states,) at a time, and their ``slopes`` (states,) by each parameter."""

    space: StateSpace
    p: np.ndarray
    slopes: Mapping[str, np.ndarray]
    seconds: float


@cache
def law(net: ReactionNetwork, time: float) -> Law:
    """The law of a network at ``time``, kept for all cases that look at it."""
    begin = perf_counter()
    space = explore(net, [net.x0], net.coefficients, time, tolerance=LOST)
    start = space.distribution([net.x0])

    def course(coefficients: tuple[Array, ...]) -> tuple[Array, Array]:
        p = evolve(space, space.rates(net, coefficients), start, time)
        return p, p

    slopes, p = jax.jacfwd(course, has_aux=True)(tuple(map(jnp.asarray, net.coefficients)))
    named = dict(zip(net.parameters, map(np.asarray, slopes), strict=True))
    return Law(space, np.asarray(p), named, perf_counter() - begin)


def exact(case: Case) -> tuple[float, np.ndarray]:
    """The value of a case's observable and its derivatives (parameters,)."""
    law_then = law(case.network, case.time)
    x = law_then.space.x[case.network.species.index(case.observable[1])]
    slopes = np.array([law_then.slopes[name] for name in case.parameters])
    if case.observable[0] == "variance":
        mean = x @ law_then.p
        return float((x - mean) ** 2 @ law_then.p), slopes @ (x - mean) ** 2
    function = observed(case, x)
    return float(function @ law_then.p), slopes @ function


def observed(case: Case, counts: np.ndarray) -> np.ndarray:
    """What has the case's value as its mean, (n,), for ``counts`` (n,) of its species; a variance from their mean."""
    if case.observable[0] == "mean":
        return counts
    if case.observable[0] == "variance":
        return (counts - counts.mean()) ** 2
    _, _, lower, upper = case.observable
    return np.asarray((counts >= lower) & (counts < upper), np.float64)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line a case."""
    parser = argparse.ArgumentParser(description="Small networks and the exact derivatives of what is seen of them.")
    parser.add_argument("words", nargs="*", help="only cases whose name contains one of these")
    words = parser.parse_args(arguments).words
    for case in (case for case in CASES if not words or any(word in case.name for word in words)):
        value, derivatives = exact(case)
        law_then = law(case.network, case.time)
        ensemble = Ensemble(case.network, case.network.x0, case.network.coefficients, np.array([case.time]), PILOT, 1)
        events = sum(chunk.events for chunk in run(ensemble)) / PILOT
        slopes = ", ".join(f"{name} {slope:.5g}" for name, slope in zip(case.parameters, derivatives, strict=True))
        print(
            f"{case.name} ({case.kind}): {value:.6g}; {slopes}; {len(law_then.space)} states, "
            f"{law_then.space.lost:.1e} lost, {events:.0f} events, {law_then.seconds:.1f} s"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
