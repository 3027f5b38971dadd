"""What exact 95 % limits hold of one trajectory, and how far maxima are off, by likelihoods of their own in scipy.

    python benchmarks/exact_trajectories.py --level 10 --first 0 --sets 40
    python benchmarks/exact_trajectories.py --model birth_death --level 2 --sets 200

The data sets of ``single_cells.py --data single --rates k,g``. With hidden messages (``expression``) the forward
filter is written with scipy's sparse matrices; of counts that are born and die, transitions have closed forms. scipy
finds the maximum over both rates, and over ``g`` with ``k`` at its truth. Twice their difference is held against the
95 % quantile of a chi-square with one degree of freedom, which is what confidence limits by profile go by; z is
log(estimate / truth) in standard errors by the curvature. With hidden messages it takes some seconds a set.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Sequence

import numpy as np
import scipy.sparse as sparse
from scipy.optimize import minimize, minimize_scalar
from scipy.stats import binom, chi2, poisson
from single_cells import Case, birth_death, expression, table

_CLOSE = {"xatol": 1e-3, "fatol": 1e-5, "maxfev": 120}
_MESSAGES, _PROTEINS = 16, 22  # the most messages, and proteins beyond the most that were seen


def log_likelihood(case: Case, seen: np.ndarray) -> Callable[[float, float], float]:
    """The function of ``k`` and ``g``, of proteins (times,) that were seen."""
    most = int(seen.max()) + _PROTEINS
    messages, proteins = (
        axis.ravel() for axis in np.meshgrid(np.arange(_MESSAGES + 1), np.arange(most + 1), indexing="ij")
    )
    size, made, lost = len(messages), case.truth["b"] * messages, case.truth["d"] * messages

    def jump(dm: int, dp: int, rate: np.ndarray) -> sparse.csr_matrix:
        inside = (messages + dm >= 0) & (messages + dm <= _MESSAGES) & (proteins + dp >= 0) & (proteins + dp <= most)
        source = np.flatnonzero(inside)
        target = (messages[source] + dm) * (most + 1) + proteins[source] + dp
        return sparse.csr_matrix((rate[source], (target, source)), shape=(size, size))

    births, decays = jump(1, 0, np.ones(size)), jump(0, -1, proteins.astype(float))
    rest = jump(-1, 0, lost) + jump(0, 1, made)

    def value(k: float, g: float) -> float:
        leaving = (lost + made + k + g * proteins) * case.spacing
        mean = leaving.max()
        move, stay = (rest + k * births + g * decays) * (case.spacing / mean), 1 - leaving / mean
        weights = poisson.pmf(np.arange(int(poisson.isf(1e-11, mean)) + 2), mean)
        law, total = np.zeros(size), 0.0
        law[0] = 1.0
        for count in seen:
            term, after = law, weights[0] * law
            for weight in weights[1:]:
                term = stay * term + move @ term
                after = after + weight * term
            law = np.where(proteins == count, after, 0.0)
            share = law.sum()
            if share <= 0:
                return -1e9
            total, law = total + float(np.log(share)), law / share
        return total

    return value


def transitions(case: Case, seen: np.ndarray) -> Callable[[float, float], float]:
    """The log-likelihood of ``k`` and ``g`` of counts (times,) that are born and die: binomial those that stay, Poisson
    those that are new."""
    path = np.concatenate([[0], seen]).astype(int)
    count = np.arange(path.max() + 1)

    def value(k: float, g: float) -> float:
        stay = np.exp(-g * case.spacing)
        new = poisson.pmf(count, k * (1 - stay) / g)
        kept = binom.pmf(count, count[:, None], stay)
        chances = [np.convolve(kept[x], new)[y] for x, y in itertools.pairwise(path)]
        return float(np.sum(np.log(np.maximum(chances, 1e-300))))

    return value


def errors(value: Callable[[float, float], float], point: np.ndarray) -> np.ndarray:
    """Standard errors (2,) of logarithms, by the curvature at a maximum."""
    step, curvature = 1e-3 * np.eye(2), np.empty((2, 2))
    for (i, a), (j, b) in itertools.product(enumerate(step), repeat=2):
        corners = [s * t * value(*np.exp(point + s * a + t * b)) for s in (1, -1) for t in (1, -1)]
        curvature[i, j] = -sum(corners) / 4e-6
    return np.sqrt(np.diag(np.linalg.inv(curvature)))


MODELS = {"birth_death": (birth_death, transitions), "expression": (expression, log_likelihood)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each set, the share of sets whose limits hold the truth, and how far estimates are off."""
    parser = argparse.ArgumentParser(description="Coverage of exact limits of one trajectory, and bias.")
    parser.add_argument("--model", default="expression", choices=list(MODELS))
    parser.add_argument("--level", type=float, default=10.0, help="mean count")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--sets", type=int, default=40)
    options = parser.parse_args(sys.argv[1:] if arguments is None else list(arguments))
    model, likelihood = MODELS[options.model]
    case, held, off = model(options.level, ["k", "g"]), [], []
    truth = np.log([case.truth["k"], case.truth["g"]])
    for number in range(options.first, options.first + options.sets):
        random = np.random.default_rng([number, len(options.model), int(options.level), len("single")])
        value = likelihood(case, table(case, "single", random)[case.observed].to_numpy(int))
        free = minimize(lambda x, f=value: -f(*np.exp(x)), truth, method="Nelder-Mead", options=_CLOSE)
        fixed = minimize_scalar(
            lambda y, f=value: -f(case.truth["k"], float(np.exp(y))), bracket=(truth[1] - 0.2, truth[1] + 0.2)
        )
        fall = 2 * (fixed.fun - free.fun)
        held.append(bool(fall <= chi2.ppf(0.95, 1)))
        off.append((free.x - truth) / errors(value, free.x))
        print(f"{number}: k {np.exp(free.x[0]):.4g}, g {np.exp(free.x[1]):.4g}, fall {fall:.3f}", flush=True)
    k, g = np.mean(off, axis=0)
    print(f"{100 * np.mean(held):.1f} % of {len(held)} sets hold k; mean z of k {k:+.2f}, of g {g:+.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
