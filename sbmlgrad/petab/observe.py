"""What is simulated in place of measurements, with derivatives: the formulas of observables and noise, compiled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy

from sbmlgrad.network.graph import Graph
from sbmlgrad.network.program import Program
from sbmlgrad.petab.definition import Definition, Measurement, Observable
from sbmlgrad.petab.formulas import Known, slope_of, symbols, value_of


@dataclass(frozen=True, eq=False)
class Simulated:
    """What is simulated in place of measurements (n,), by the row of their table, and the noise around it.

    ``slopes`` and ``noise_slopes`` (n, P) are their derivatives by the parameters of a fit.
    """

    values: np.ndarray
    noise: np.ndarray
    slopes: np.ndarray
    noise_slopes: np.ndarray


@dataclass(frozen=True, eq=False)
class _Block:
    """The measurements of one observable, and the ids in its formulas."""

    observable: Observable
    measurements: Sequence[Measurement]
    names: tuple[str, ...]
    program: Program


class Observer:
    """The formulas of a problem as one compiled function of what is known at each measurement."""

    def __init__(self, definition: Definition):
        self.source = definition.source
        by_observable: defaultdict[str, list[Measurement]] = defaultdict(list)
        for item in definition.measurements:
            by_observable[item.observable].append(item)
        self.blocks = [_block(definition.observables[name], items) for name, items in by_observable.items()]
        programs = [block.program for block in self.blocks]

        def run(columns: Sequence[Any]) -> Any:
            """Value and noise (n, 2) of each block, and their derivatives by the ids (n, 2, ids)."""
            return [_derived(program, list(rows.T)) for program, rows in zip(programs, columns, strict=True)]

        self.run = jax.jit(run)

    def observe(self, seen: Mapping[int, Known], width: int) -> Simulated:
        """What is simulated, from what is known at each measurement, by its row, and moves by ``width`` parameters.

        Raises :class:`PetabError` where an id has no value.
        """
        columns, moves = [], []
        for block in self.blocks:
            column = np.empty((len(block.measurements), len(block.names)))
            move = np.zeros((*column.shape, width))
            for place, item in enumerate(block.measurements):
                self._fill(block, item, seen[item.row], column[place], move[place])
            columns.append(column)
            moves.append(move)
        size = len(seen)
        result = Simulated(np.empty(size), np.empty(size), np.zeros((size, width)), np.zeros((size, width)))
        for block, move, (values, slopes) in zip(self.blocks, moves, self.run(columns), strict=True):
            rows = [item.row for item in block.measurements]
            result.values[rows], result.noise[rows] = np.asarray(values).T
            moving = np.any(move != 0, axis=2)  # a derivative by what does not move may be none
            moved = np.where(moving[:, None], np.asarray(slopes), 0.0) @ move
            result.slopes[rows], result.noise_slopes[rows] = moved[:, 0], moved[:, 1]
        return result

    def _fill(self, block: _Block, item: Measurement, seen: Known, values: np.ndarray, slopes: np.ndarray) -> None:
        """Put the values of ids (ids,) and their slopes (ids, P) at a measurement where they belong."""
        where = f"{self.source}: observable {block.observable.id!r}"
        overrides = _overrides(block.observable, item)
        for index, name in enumerate(block.names):
            formula = overrides.get(name)
            if formula is None:
                values[index], slope = seen.values[name], seen.slopes.get(name)
            else:
                words = f"{where}: placeholder {name!r}"
                values[index], slope = value_of(formula, seen.values, words), slope_of(formula, seen, words)
            if slope is not None:
                slopes[index] = slope


def _derived(program: Program, ids: list[Any]) -> tuple[Any, Any]:
    """Outputs (n, outputs) and their derivatives (n, outputs, ids) from the values (n,) of each id.

    One id after the other, the rest held: an infinite derivative by one, as of a root at 0, spoils no other.
    """
    shape = ids[0].shape

    def outputs(values: list[Any]) -> Any:
        return jnp.stack([jnp.broadcast_to(output, shape) for output in program.unrolled(values)], axis=-1)

    def alone(index: int, value: Any) -> Any:
        return outputs([*ids[:index], value, *ids[index + 1 :]])

    moved = [jax.jvp(partial(alone, index), (value,), (jnp.ones_like(value),))[1] for index, value in enumerate(ids)]
    return outputs(ids), jnp.stack(moved, axis=-1)


def _overrides(observable: Observable, item: Measurement) -> dict[str, sympy.Basic]:
    names = (*observable.placeholders, *observable.noise_placeholders)
    return dict(zip(names, (*item.overrides, *item.noise_overrides), strict=True))


def _block(observable: Observable, measurements: Sequence[Measurement]) -> _Block:
    used = observable.formula.free_symbols | observable.noise.free_symbols
    # the time is always among the ids, so that formulas without any know how many rows there are
    names = tuple(sorted((symbols([observable.formula, observable.noise]) | {"time"}) - {observable.id}))
    graph = Graph()
    inputs = {name: graph.input(name) for name in names}
    # in formulas of PEtab symbols are real, and there may be others of the same name
    environment = {symbol: inputs[symbol.name] for symbol in used if symbol.name in inputs}
    value = graph.expression(observable.formula, environment)
    own = {symbol: value for symbol in observable.noise.free_symbols if symbol.name == observable.id}
    noise = graph.expression(observable.noise, {**environment, **own})
    return _Block(observable, measurements, names, Program(graph, tuple(inputs.values()), (value, noise)))
