"""Draws from a posterior by Metropolis-Hastings, for densities that are computed, or estimated anew each time.

Each step is proposed by one of two kernels, taken at random: a random walk (Roberts & Rosenthal, Stat. Sci. 16, 351,
2001), and independent draws of a multivariate Student's t around the middle (Tierney, Ann. Stat. 22, 1701, 1994), which
hardly ever fails where the posterior is nearly normal. Both learn the posterior's covariance from all chains during the
warm-up and are held from then on. An unbiased estimate of the likelihood in the place of the likelihood leaves the
posterior as it is, as long as a chain keeps the estimate it accepted (Andrieu & Roberts, Ann. Stat. 37, 697, 2009).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import multivariate_t

LogDensity = Callable[[np.ndarray], float]

_FREEDOM = 5.0  # of the t of independent draws, whose tails have to be wider than the posterior's
_WALKS = 0.5  # of all proposals
_WIDER = 1.5  # standard errors, that chains begin apart
_ROUNDS = 4  # of learning in the warm-up
_ACCEPTED = 0.3  # of a random walk's proposals
_MOST_TRIES = 50
_FEWEST = 10  # draws for each number of a covariance that is learnt


@dataclass(frozen=True, eq=False)
class Chains:
    """Draws (chains, draws, P) and log densities (chains, draws); which share of proposals was accepted."""

    points: np.ndarray
    values: np.ndarray
    acceptance: float


def draw_chains(
    density: LogDensity,
    middle: np.ndarray,
    covariance: np.ndarray,
    draws: int,
    warmup: int,
    chains: int,
    seed: int,
    arrived: Callable[[np.ndarray], bool] | None = None,
) -> Chains:
    """Draws of a density on P numbers, from a ``middle`` (P,) and about its ``covariance`` (P, P).

    ``draws`` and ``warmup`` are of each chain. ``arrived`` is told each point that is accepted in the warm-up, and says
    whether the density is another one from there on. The same seed gives the same draws.
    """
    random = np.random.default_rng(seed)
    proposal = _Proposal(middle, covariance)
    states = [_begin(density, middle, proposal, random, apart=number > 0) for number in range(chains)]
    learnt: list[np.ndarray] = []
    points = np.zeros((chains, draws, len(middle)))
    values, accepted = np.zeros((chains, draws)), 0
    for step in range(warmup + draws):
        warming = step < warmup
        for number, state in enumerate(states):
            moved = state.step(density, proposal, random, adapting=warming)
            if warming:
                learnt.append(state.point)
                if moved and arrived is not None and arrived(state.point):
                    for other in states:
                        other.value = density(other.point)
            else:
                accepted += moved
                points[number, step - warmup], values[number, step - warmup] = state.point, state.value
        if warming and (step + 1) % max(warmup // _ROUNDS, 1) == 0:
            recent = np.array(learnt[len(learnt) // 2 :])
            if len(recent) >= _FEWEST * len(middle) * chains:
                proposal = proposal.learnt(recent)
    return Chains(points, values, accepted / max(draws * chains, 1))


class _Proposal:
    """Where the posterior is, as far as is known."""

    def __init__(self, middle: np.ndarray, covariance: np.ndarray):
        self.middle, self.covariance = middle, covariance
        self.root = np.linalg.cholesky(covariance)
        self.walk = 2.38 / np.sqrt(len(middle)) * self.root
        self._independent = multivariate_t(middle, covariance, df=_FREEDOM)

    def learnt(self, points: np.ndarray) -> _Proposal:
        """From draws (n, P), which are correlated and may all be one."""
        own = np.atleast_2d(np.cov(points.T))
        floor = 1e-4 * np.diag(self.covariance)
        return _Proposal(points.mean(axis=0), own + np.diag(floor))

    def draw(self, random: np.random.Generator) -> np.ndarray:
        """An independent draw (P,)."""
        normal = random.standard_normal(len(self.middle))
        return self.middle + self.root @ normal / np.sqrt(random.chisquare(_FREEDOM) / _FREEDOM)

    def log_density(self, point: np.ndarray) -> float:
        """That of independent draws."""
        return float(self._independent.logpdf(point))


@dataclass
class _State:
    """Where one chain is, and how far its random walk goes at a time."""

    point: np.ndarray
    value: float
    scale: float = 1.0
    walks: int = 0

    def step(self, density: LogDensity, proposal: _Proposal, random: np.random.Generator, adapting: bool) -> bool:
        """One step; whether it was accepted."""
        walking = random.random() < _WALKS
        if walking:
            there = self.point + self.scale * proposal.walk @ random.standard_normal(len(self.point))
            back = 0.0
        else:
            there = proposal.draw(random)
            back = proposal.log_density(self.point) - proposal.log_density(there)
        value, chance = density(there), random.random()
        with np.errstate(over="ignore"):
            accepted = bool(np.log(chance) < value - self.value + back)
        if accepted:
            self.point, self.value = there, value
        if walking and adapting:  # towards the share of accepted steps that serves best
            self.walks += 1
            self.scale *= float(np.exp((accepted - _ACCEPTED) / np.sqrt(self.walks)))
        return accepted


def _begin(
    density: LogDensity, middle: np.ndarray, proposal: _Proposal, random: np.random.Generator, apart: bool
) -> _State:
    """Somewhere that is possible, wider apart than the posterior."""
    for _ in range(_MOST_TRIES if apart else 0):
        point = middle + _WIDER * (proposal.draw(random) - proposal.middle)
        value = density(point)
        if np.isfinite(value):
            return _State(point, value)
    return _State(middle.copy(), density(middle))


def split_rhat(draws: np.ndarray) -> float:
    """How much wider all chains (chains, draws) are than each half of one; 1 where they are of one law.

    Gelman et al., Bayesian Data Analysis, 3rd ed., 11.4.
    """
    halves = _halves(draws)
    length = halves.shape[1]
    within = float(np.mean(np.var(halves, axis=1, ddof=1)))
    between = length * float(np.var(halves.mean(axis=1), ddof=1))
    if within == 0:
        return 1.0 if between == 0 else np.inf
    return float(np.sqrt((length - 1) / length + between / (length * within)))


def effective_size(draws: np.ndarray) -> float:
    """How many independent draws would tell the mean as well as these (chains, draws).

    Gelman et al., Bayesian Data Analysis, 3rd ed., 11.5, with the initial monotone sequence of Geyer, Stat. Sci. 7, 473
    (1992).
    """
    halves = _halves(draws)
    chains, length = halves.shape
    centred = halves - halves.mean(axis=1, keepdims=True)
    spectrum = np.abs(np.fft.rfft(centred, 2 * length, axis=1)) ** 2
    covariances = np.fft.irfft(spectrum, axis=1)[:, :length] / length
    within = float(np.mean(covariances[:, 0])) * length / (length - 1)
    total = within * (length - 1) / length + float(np.var(halves.mean(axis=1), ddof=1))
    if total == 0:
        return np.nan
    correlations = 1 - (within - covariances.mean(axis=0) * length / (length - 1)) / total
    correlations[0] = 1.0
    pairs = correlations[: 2 * (length // 2)].reshape(-1, 2).sum(axis=1)
    positive = np.argmax(pairs < 0) if np.any(pairs < 0) else len(pairs)
    time = 2 * float(np.sum(np.minimum.accumulate(pairs[:positive]))) - 1
    return float(chains * length / max(time, 1 / np.log10(max(chains * length, 10))))


def _halves(draws: np.ndarray) -> np.ndarray:
    half = draws.shape[1] // 2
    return np.concatenate([draws[:, :half], draws[:, -half:]])
