"""The loop of large sparse networks, compiled by Numba once for all of them: one trajectory after the other.

Gillespie's direct method: after a reaction, only the propensities that follow what it changed are computed again, and
the next is found through sums over blocks. Propensities are kept as whole numbers of a small unit, 2**-exponent, such
that their total is 2**52 to 2**62 of them. Sums of whole numbers are exact whatever is added and taken away, so nothing
drifts, and a reaction with 1e-12 of the total has its chance to within 1e-3 of it. Where the total leaves that range,
the unit is chosen anew and all is computed from the counts.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sbmlgrad.network.compiled import compiled_loop, compiled_part
from sbmlgrad.simulation.sparse_code import law
from sbmlgrad.simulation.sparse_slopes import follow, forget, let_go_by, note, restart, sum_fired

DRAWS = 64  # random numbers made at once

RUNNING, DONE, BROKEN, TRUNCATED = range(4)
TRAJECTORY, POSITION, DRAW, FIRED, TOTAL, EXPONENT, BEGUN, WRONG, ALL_FIRED = range(9)  # what ``place`` holds

_MOST = 2.0**62  # units of the total, beyond which the unit is too small
_LEAST = 2**52  # and below which it is too large
_BITS = 59  # log2 of the total where the unit is chosen
_ROOT = np.int64(0x3FE6A09E667F3BCD)  # the bits of sqrt(1/2)


class Tables(NamedTuple):
    """A network as arrays, the same for all trajectories; see :class:`~sbmlgrad.network.mass_action.MassAction`."""

    constants: np.ndarray
    factor_starts: np.ndarray
    factor_species: np.ndarray
    offsets: np.ndarray
    need_starts: np.ndarray
    need_species: np.ndarray
    least: np.ndarray
    jump_starts: np.ndarray
    jumps: np.ndarray  # (jumps, 5): a species, where among dependents those begin that are proportional to its count,
    # to it and another count, and others, and where all end; beside each other, so that memory is waited for once
    changes: np.ndarray
    dependents: np.ndarray  # (dependents, 2): a reaction, and the species of its other count
    rates: np.ndarray  # the constants of the dependents


class Scratch(NamedTuple):
    """What a trajectory needs while it runs."""

    x: np.ndarray
    propensities: np.ndarray
    blocks: np.ndarray  # sums of 2**bits propensities each
    groups: np.ndarray  # sums of 2**group_bits propensities each
    exponentials: np.ndarray
    uniforms: np.ndarray
    uniform_bits: np.ndarray  # the same memory as int64
    mantissas: np.ndarray
    words: np.ndarray  # the memory of mantissas as int64
    powers: np.ndarray
    clock: np.ndarray  # the time
    place: np.ndarray


class Kinds(NamedTuple):
    """What is counted by kind of reaction along a trajectory, for derivatives; None in place of it counts nothing."""

    of: np.ndarray  # the kind of each reaction
    sums: np.ndarray  # of the propensities of each kind
    fired: np.ndarray
    due: np.ndarray  # integrals of propensities
    slopes: Any  # by what is inside instructions, Slopes; None where that is not asked for


class Task(NamedTuple):
    """Consecutive trajectories to run: where they are observed, and what they start from."""

    times: np.ndarray
    x0: np.ndarray  # (species, trajectories)
    start: float
    first: int
    most: int  # firings in a trajectory
    bits: int
    group_bits: int
    keys: np.ndarray


@compiled_part
def _threefry(key0: Any, key1: Any, counter0: Any, counter1: Any) -> Any:
    """Threefry-2x32 with 20 rounds, as :func:`sbmlgrad.simulation.random.threefry2x32`."""
    key2 = np.uint32(key0 ^ key1 ^ np.uint32(0x1BD11BDA))
    a, b = np.uint32(counter0 + key0), np.uint32(counter1 + key1)
    a, b = _four_rounds(a, b, 13, 15, 26, 6)
    a, b = np.uint32(a + key1), np.uint32(b + key2 + np.uint32(1))
    a, b = _four_rounds(a, b, 17, 29, 16, 24)
    a, b = np.uint32(a + key2), np.uint32(b + key0 + np.uint32(2))
    a, b = _four_rounds(a, b, 13, 15, 26, 6)
    a, b = np.uint32(a + key0), np.uint32(b + key1 + np.uint32(3))
    a, b = _four_rounds(a, b, 17, 29, 16, 24)
    a, b = np.uint32(a + key1), np.uint32(b + key2 + np.uint32(4))
    a, b = _four_rounds(a, b, 13, 15, 26, 6)
    return np.uint32(a + key2), np.uint32(b + key0 + np.uint32(5))


@compiled_part
def _four_rounds(a: Any, b: Any, r0: Any, r1: Any, r2: Any, r3: Any) -> Any:
    a = np.uint32(a + b)
    b = np.uint32(np.uint32(b << np.uint32(r0)) | np.uint32(b >> np.uint32(32 - r0))) ^ a
    a = np.uint32(a + b)
    b = np.uint32(np.uint32(b << np.uint32(r1)) | np.uint32(b >> np.uint32(32 - r1))) ^ a
    a = np.uint32(a + b)
    b = np.uint32(np.uint32(b << np.uint32(r2)) | np.uint32(b >> np.uint32(32 - r2))) ^ a
    a = np.uint32(a + b)
    b = np.uint32(np.uint32(b << np.uint32(r3)) | np.uint32(b >> np.uint32(32 - r3))) ^ a
    return a, b


@compiled_loop
def draw_block(keys: Any, trajectory: Any, draw: Any, scratch: Any) -> None:
    """The random numbers of the draws from ``draw`` on: exponentials, and uniforms on the grid of 2**-53.

    Each loop is one that a compiler turns into vector code.
    """
    words, powers, exponentials, uniforms = scratch.words, scratch.powers, scratch.exponentials, scratch.uniforms
    first, second, third, fourth = keys[0, 0], keys[0, 1], keys[1, 0], keys[1, 1]
    number, base = np.uint32(trajectory), np.uint32(draw)
    for i in range(DRAWS):
        high, low = _threefry(first, second, number, np.uint32(base + np.uint32(i)))
        uniforms[i] = (np.float64((np.uint64(high) << np.uint64(32)) | np.uint64(low)) + 0.5) * 2.0**-64
    for i in range(DRAWS):
        bits = scratch.uniform_bits[i]
        power = (bits - _ROOT) >> np.int64(52)
        words[i] = bits - (power << np.int64(52))
        powers[i] = np.float64(power)
    for i in range(DRAWS):
        exponentials[i] = _minus_log(scratch.mantissas[i], powers[i])
    for i in range(DRAWS):
        high, low = _threefry(third, fourth, number, np.uint32(base + np.uint32(i)))
        uniforms[i] = np.float64(high) * 2.0**-32 + np.float64(np.uint32(low >> np.uint32(11))) * 2.0**-53


@compiled_part
def _minus_log(mantissa: Any, power: Any) -> Any:
    """-log(mantissa * 2**power), of a mantissa between sqrt(1/2) and sqrt(2), by the series of atanh.

    To two last digits; a function of the C library would be called for each number.
    """
    ratio = (mantissa - 1.0) / (mantissa + 1.0)
    square = ratio * ratio
    series = 2.0 / 19.0
    series = series * square + 2.0 / 17.0
    series = series * square + 2.0 / 15.0
    series = series * square + 2.0 / 13.0
    series = series * square + 2.0 / 11.0
    series = series * square + 2.0 / 9.0
    series = series * square + 2.0 / 7.0
    series = series * square + 2.0 / 5.0
    series = series * square + 2.0 / 3.0
    series = series * square + 2.0
    return -(series * ratio + power * 0.6931471805599453)


@compiled_loop
def weigh(tables: Any, scratch: Any, kinds: Any, code: Any, task: Any) -> Any:
    """Choose the unit, and compute all propensities: false where one is negative or not finite."""
    place, total = scratch.place, 0.0
    reactions = tables.constants.size
    for reaction in range(reactions):
        value = law(tables, code, scratch.x, reaction)
        if not (value >= 0.0 and value < np.inf):
            place[WRONG] = reaction
            return False
        total += value
    exponent = 0
    if total > 0.0:
        if not total < np.inf:
            place[WRONG] = 0
            return False
        exponent = max(-1000, min(1000, _BITS - int(np.floor(np.log2(total)))))
    unit = 2.0**exponent
    for i in range(scratch.blocks.size):
        scratch.blocks[i] = 0
    for i in range(scratch.groups.size):
        scratch.groups[i] = 0
    if kinds is not None:
        for i in range(kinds.sums.size):
            kinds.sums[i] = 0
        restart(kinds.slopes)
    units = 0
    for reaction in range(reactions):
        propensity = law(tables, code, scratch.x, reaction)
        value = int(propensity * unit)
        scratch.propensities[reaction] = value
        scratch.blocks[reaction >> task.bits] += value
        if scratch.groups.size > 1:
            scratch.groups[reaction >> task.group_bits] += value
        if kinds is not None:
            kinds.sums[kinds.of[reaction]] += value
            follow(kinds.slopes, tables, code, scratch.x, reaction, propensity)
        units += value
    place[TOTAL], place[EXPONENT] = units, exponent
    return True


@compiled_part
def _put(propensities: Any, blocks: Any, groups: Any, bits: Any, group_bits: Any, reaction: Any, value: Any) -> Any:
    """Have a propensity be so many units: by how many it grew."""
    units = np.int64(value)
    change = units - propensities[reaction]
    propensities[reaction] = units
    blocks[reaction >> bits] += change
    if groups.size > 1:
        groups[reaction >> group_bits] += change
    return change


@compiled_part
def _follow(
    tables: Any, scratch: Any, kinds: Any, code: Any, bits: Any, group_bits: Any, jump: Any, unit: Any, total: Any
) -> Any:
    """The total after the count of a jump's species has changed, and what the propensities that follow it weigh.

    A pair whose other count is 0 stays what it is, 0.
    """
    x, propensities, blocks, groups = scratch.x, scratch.propensities, scratch.blocks, scratch.groups
    jumps, dependents, rates = tables.jumps, tables.dependents, tables.rates
    scaled, weight = x[jumps[jump, 0]] * unit, 0.0
    for i in range(np.int64(jumps[jump, 1]), np.int64(jumps[jump, 2])):
        value = rates[i] * scaled
        weight += value
        change = _put(propensities, blocks, groups, bits, group_bits, dependents[i, 0], value)
        total += change
        if kinds is not None:
            kinds.sums[kinds.of[dependents[i, 0]]] += change
    for i in range(np.int64(jumps[jump, 2]), np.int64(jumps[jump, 3])):
        partner = x[dependents[i, 1]]
        if partner != 0.0:
            value = rates[i] * (scaled * partner)
            weight += value
            change = _put(propensities, blocks, groups, bits, group_bits, dependents[i, 0], value)
            total += change
            if kinds is not None:
                kinds.sums[kinds.of[dependents[i, 0]]] += change
    for i in range(np.int64(jumps[jump, 3]), np.int64(jumps[jump, 4])):
        reaction = dependents[i, 0]
        propensity = law(tables, code, x, reaction)
        value = propensity * unit
        weight += np.abs(value) if value > -np.inf else np.nan
        if value < 0.0:
            weight = np.inf
        change = _put(propensities, blocks, groups, bits, group_bits, reaction, value)
        total += change
        if kinds is not None:
            kinds.sums[kinds.of[reaction]] += change
            follow(kinds.slopes, tables, code, x, reaction, propensity)
    return total, weight


@compiled_part
def choose(scratch: Any, bits: Any, group_bits: Any, threshold: Any) -> Any:
    """The reaction in whose part of the total a whole number below it lies."""
    block = 0
    if scratch.groups.size > 1:
        group = 0
        while threshold >= scratch.groups[group]:
            threshold -= scratch.groups[group]
            group += 1
        block = group << (group_bits - bits)
    while threshold >= scratch.blocks[block]:
        threshold -= scratch.blocks[block]
        block += 1
    reaction = block << bits
    while threshold >= scratch.propensities[reaction]:
        threshold -= scratch.propensities[reaction]
        reaction += 1
    return reaction


@compiled_part
def fire(
    tables: Any, scratch: Any, kinds: Any, code: Any, bits: Any, group_bits: Any, reaction: Any, unit: Any, total: Any
) -> Any:
    """The total after a reaction; -1 where all is to be weighed anew, because the total leaves its range."""
    anew, x = False, scratch.x
    for i in range(np.int64(tables.jump_starts[reaction]), np.int64(tables.jump_starts[reaction + 1])):
        species = tables.jumps[i, 0]
        count = x[species] + tables.changes[i]
        x[species] = count
        total, weight = _follow(tables, scratch, kinds, code, bits, group_bits, i, unit, total)
        # looked at after each species, since the next adds less than _MOST: the total never leaves int64 unseen
        anew |= not weight < _MOST or count < 0.0 or total >= _MOST
    return -1 if anew or total < _LEAST else total


@compiled_part
def _wait(kinds: Any, wait: Any, unit: Any) -> None:
    """Let time go by; propensities are whole numbers of 1 / ``unit``."""
    for i in range(kinds.sums.size):
        kinds.due[i] += wait / unit * kinds.sums[i]
    let_go_by(kinds.slopes, wait)


@compiled_part
def _note(kinds: Any, records: Any, row: Any, position: Any, column: Any) -> None:
    """Write down what has fired of each kind, and what was due, from a row on."""
    count = kinds.sums.size
    for i in range(count):
        records[row + i, position, column] = kinds.fired[i]
        records[row + count + i, position, column] = kinds.due[i]
    note(kinds.slopes, records, row + 2 * count, position, column)


@compiled_loop
def _trajectory(
    tables: Any, scratch: Any, kinds: Any, code: Any, task: Any, column: Any, records: Any, budget: Any
) -> Any:
    """Go on with a trajectory for at most ``budget`` random draws: how it stands then, and what is left of them."""
    place, x, bits, group_bits = scratch.place, scratch.x, task.bits, task.group_bits
    time, position, draw, fired = scratch.clock[0], place[POSITION], place[DRAW], place[FIRED]
    total, unit, status = place[TOTAL], 2.0 ** place[EXPONENT], RUNNING
    until = task.times[position]
    while budget > 0:
        budget -= 1
        slot = draw % DRAWS
        if slot == 0:
            draw_block(task.keys, task.first + column, draw, scratch)
        draw += 1
        weight = np.float64(total)
        arrival = time + scratch.exponentials[slot] * unit / weight
        if kinds is not None:
            _wait(kinds, min(arrival, until) - time, unit)
        if arrival < until:
            time = arrival
            fired += 1
            reaction = choose(scratch, bits, group_bits, min(np.int64(scratch.uniforms[slot] * weight), total - 1))
            if kinds is not None:
                kinds.fired[kinds.of[reaction]] += 1.0
                sum_fired(kinds.slopes, reaction)
            total = fire(tables, scratch, kinds, code, bits, group_bits, reaction, unit, total)
            if total < 0:
                if not weigh(tables, scratch, kinds, code, task):
                    status = BROKEN
                    break
                total, unit = place[TOTAL], 2.0 ** place[EXPONENT]
            if fired > task.most:
                status = TRUNCATED
                break
        else:
            time = until
            for i in range(x.size):
                records[i, position, column] = x[i]
            if kinds is not None:
                _note(kinds, records, x.size, position, column)
            position += 1
            if position == task.times.size:
                status = DONE
                break
            until = task.times[position]
    scratch.clock[0], place[POSITION], place[DRAW], place[FIRED] = time, position, draw, fired
    place[TOTAL] = total
    return status, budget


@compiled_loop
def advance(tables: Any, scratch: Any, kinds: Any, code: Any, task: Any, records: Any, budget: Any) -> Any:
    """Go on with the trajectories of a task for at most ``budget`` random draws: how they stand then.

    Counts are written to ``records`` (species, times, trajectories), after them what is counted by kind.
    """
    place = scratch.place
    while place[TRAJECTORY] < task.x0.shape[1]:
        column = place[TRAJECTORY]
        if place[BEGUN] == 0:
            place[BEGUN], place[POSITION], place[DRAW], place[FIRED] = 1, 0, 0, 0
            for i in range(scratch.x.size):
                scratch.x[i] = task.x0[i, column]
            scratch.clock[0] = task.start
            if kinds is not None:
                for i in range(kinds.sums.size):
                    kinds.fired[i] = kinds.due[i] = 0.0
                forget(kinds.slopes)
            if not weigh(tables, scratch, kinds, code, task):
                return BROKEN
        status, budget = _trajectory(tables, scratch, kinds, code, task, column, records, budget)
        if status != DONE:
            return status
        place[BEGUN] = 0
        place[TRAJECTORY] += 1
        place[ALL_FIRED] += place[FIRED]
    return DONE
