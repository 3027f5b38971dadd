"""What exact 95 % limits hold of one trajectory with hidden messages, by a likelihood of its own in scipy.

    python benchmarks/exact_trajectories.py --level 10 --first 0 --sets 40

The data sets of ``single_cells.py --models expression --data single --rates k,g``. The forward filter is written with
scipy's sparse matrices; scipy finds the maximum over both rates, and over ``g`` with ``k`` at its truth. Twice their
difference is held against the 95 % quantile of a chi-square with one degree of freedom, which is what confidence limits
by profile go by. It takes some seconds a set.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

import numpy as np
import scipy.sparse as sparse
from scipy.optimize import minimize, minimize_scalar
from scipy.stats import chi2, poisson
from single_cells import Case, expression, table

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each set, and the share of sets whose limits hold the truth."""
    parser = argparse.ArgumentParser(description="Coverage of exact limits of one trajectory.")
    parser.add_argument("--level", type=float, default=10.0, help="mean count of proteins")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--sets", type=int, default=40)
    options = parser.parse_args(sys.argv[1:] if arguments is None else list(arguments))
    case, held = expression(options.level, ["k", "g"]), []
    truth = np.log([case.truth["k"], case.truth["g"]])
    for number in range(options.first, options.first + options.sets):
        random = np.random.default_rng([number, len("expression"), int(options.level), len("single")])
        value = log_likelihood(case, table(case, "single", random)["P"].to_numpy(int))
        free = minimize(lambda x, f=value: -f(*np.exp(x)), truth, method="Nelder-Mead", options={"maxfev": 60})
        fixed = minimize_scalar(
            lambda y, f=value: -f(case.truth["k"], float(np.exp(y))), bracket=(truth[1] - 0.2, truth[1] + 0.2)
        )
        fall = 2 * (fixed.fun - free.fun)
        held.append(bool(fall <= chi2.ppf(0.95, 1)))
        print(f"{number}: k {np.exp(free.x[0]):.4g}, g {np.exp(free.x[1]):.4g}, fall {fall:.3f}", flush=True)
    print(f"{100 * np.mean(held):.1f} % of {len(held)} sets hold k")
    return 0


if __name__ == "__main__":
    sys.exit(main())
