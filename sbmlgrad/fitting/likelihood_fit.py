"""Fits of single cells and trajectories by maximum likelihood."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from sbmlgrad.errors import FitError, SimulationError
from sbmlgrad.fitting.ascent import Ascent
from sbmlgrad.fitting.checkpoint import Memory, forgetful
from sbmlgrad.fitting.equation_study import EquationStudy
from sbmlgrad.fitting.fitness import fitness
from sbmlgrad.fitting.maximum import Maximum, maximise
from sbmlgrad.fitting.outcome import Outcome, history
from sbmlgrad.fitting.parameters import Bounds, Parameters, choose
from sbmlgrad.fitting.profile import USUAL, Margin, Surface
from sbmlgrad.fitting.study import Study, without_likelihood
from sbmlgrad.fitting.switching import by_dwells
from sbmlgrad.fitting.trials import Trial
from sbmlgrad.likelihood.dwells import Dwells
from sbmlgrad.likelihood.likelihood import Evaluation, Expected, Likelihood, joined
from sbmlgrad.likelihood.particles import ParticlePaths
from sbmlgrad.likelihood.total import Total
from sbmlgrad.simulation.path import Settings

if TYPE_CHECKING:
    import optax
    import pandas

_CLOSE, _CLOSE_DRAWN = 0.002, 0.01  # of its width, to which a limit of a profile is found

_NOWHERE = "enters no reaction or observable", ""  # a parameter, and no more of a remedy

LIKELIHOODS = ("projection", "linear_noise", "particles", "dwells")
SUMMARIES = {"moments": "means and standard deviations", "histograms": "histograms"}
LOSSES = ("auto", *SUMMARIES, *LIKELIHOODS)


def likelihood_fit(
    trials: Sequence[Trial],
    parameters: Mapping[str, Bounds],
    init: Mapping[str, float],
    loss: str,
    optimiser: optax.GradientTransformation | None,
    seed: int = 0,
    memory: Memory = forgetful,
) -> LikelihoodFit | str:
    """The fit by likelihood that the loss asks for; where there is to be none, why, if that is to be said.

    Raises :class:`FitError` where a likelihood that is asked for by name cannot be computed.
    """
    if loss in SUMMARIES:
        return ""
    reason = next((text for text in (without_likelihood(trial, loss) for trial in trials) if text), "")
    dwelling = any(by_dwells(trial, loss) for trial in trials)
    named = "dwells" if dwelling else loss
    if reason:
        if named in LIKELIHOODS:
            raise FitError(f"loss {named!r}: {reason}" + ("" if dwelling else "; use loss 'moments'"))
        return ""
    studies = [Study(trial, seed + index) for index, trial in enumerate(trials)]
    problem = LikelihoodFit(studies, parameters, init, loss, optimiser, memory)
    try:
        problem.start()
    except SimulationError as error:
        if named in LIKELIHOODS:
            raise FitError(f"loss {named!r}: {error}") from error
        return str(error)
    return problem


def equation_likelihood_fit(
    trials: Sequence[Trial],
    parameters: Mapping[str, Bounds],
    init: Mapping[str, float],
    settings: Settings,
    optimiser: optax.GradientTransformation | None,
    memory: Memory = forgetful,
) -> LikelihoodFit:
    """The fit of values with noise of a known law around the solution of the rate equations."""
    studies = [EquationStudy(trial, settings) for trial in trials]
    problem = LikelihoodFit(studies, parameters, init, "ode", optimiser, memory)
    problem.start()
    return problem


class _Remembered(Total):
    """A sum of log-likelihoods whose evaluations are kept, and not made again.

    What a likelihood takes into account is a function of where it was prepared and widened, which is done again.
    """

    def __init__(self, total: Total, memory: Memory, number: int):
        super().__init__(total.parts, total.places)
        self._memory, self._state = memory, [number, 0]

    def prepare(self, values: np.ndarray) -> None:
        super().prepare(values)
        self._state[1] += 1

    def widen(self, values: np.ndarray, rough: bool = False) -> bool:
        widened = super().widen(values, rough)
        self._state[1] += 1
        return widened

    @contextmanager
    def roughly(self, values: np.ndarray) -> Iterator[None]:
        try:
            with super().roughly(values):
                self._state[1] += 1
                yield
        finally:
            self._state[1] += 1

    def evaluate(self, values: np.ndarray) -> Evaluation:
        def computed() -> tuple[np.ndarray, ...]:
            found = super(_Remembered, self).evaluate(values)
            information = np.zeros((0, 0)) if found.information is None else found.information
            return np.array(found.value), found.score, information, np.array(float(found.kinked))

        value, score, information, kinked = self._memory("likelihood", (values, self._state), computed)
        return Evaluation(float(value), score, information if information.size else None, bool(kinked))


class TotalDensity:
    """A sum of log-likelihoods on the optimiser's scale; those by particles are estimated anew each time."""

    def __init__(self, total: Total, parameters: Parameters, seed: int, bar: tqdm[Any]):
        self._total, self._parameters, self._seed, self._asked = total, parameters, seed, 0
        self._bar, self.drawn = bar, total.drawn

    def value(self, point: np.ndarray) -> float:
        self._bar.update()
        values = self._parameters.from_scale(point)
        if not self.drawn:
            return self._total.evaluate(values).value
        self._asked += 1
        seeds = np.random.SeedSequence((abs(self._seed), self._asked)).generate_state(len(self._total.parts))
        every = zip(self._total.parts, self._total.places, seeds, strict=True)
        result = 0.0
        for part, places, seed in every:
            own = values[places]
            result += part.anew(own, int(seed)) if isinstance(part, ParticlePaths) else part.evaluate(own).value
        return result

    def widen(self, point: np.ndarray) -> bool:
        return not self.drawn and self._total.widen(self._parameters.from_scale(point))


class LikelihoodFit:
    """The likelihood of all conditions."""

    n = 1
    unit = "evaluation"

    def __init__(
        self,
        studies: Sequence[Study | EquationStudy],
        parameters: Mapping[str, Bounds],
        init: Mapping[str, float],
        loss: str,
        optimiser: optax.GradientTransformation | None,
        memory: Memory = forgetful,
    ):
        self._loss, self._optimiser, self._memory, self._totals = loss, optimiser, memory, 0
        self.studies = studies
        quantities = {name: study.quantities[name] for study in self.studies for name in study.trial.names}
        self.parameters: Parameters = choose(parameters, quantities, init, studies[0].trial.source)
        self._total = Total((), ())

    def start(self) -> None:
        """Choose what to compute; raises :class:`SimulationError` where there is nothing that can be."""
        values = self.parameters.start
        reached = np.zeros(len(values), bool)
        for study in self.studies:
            reached[study.trial.places] |= np.array(study.reaches(values[study.trial.places]), bool)
        for name, reaches in zip(self.parameters.names, reached, strict=True):
            if not reaches:
                followed = any(isinstance(study, EquationStudy) for study in self.studies)
                why, remedy = ("moves nothing measured at its start", " or start elsewhere") if followed else _NOWHERE
                raise FitError(
                    f"{self.studies[0].trial.source}: {name!r} {why}, so the data cannot tell its value; fix it{remedy}"
                )
        self._total = self._of_all([study.likelihood(self._loss, values[study.trial.places]) for study in self.studies])

    @property
    def parts(self) -> tuple[Likelihood, ...]:
        """The likelihood of each condition."""
        return self._total.parts

    def evaluate(self, values: np.ndarray) -> Evaluation:
        """The log-likelihood of all conditions, and its derivatives, at values (P,) of the parameters."""
        return self._total.evaluate(values)

    def _of_all(self, parts: Sequence[Likelihood]) -> Total:
        total = Total(parts, [study.trial.places for study in self.studies])
        self._totals += 1
        return total if total.drawn else _Remembered(total, self._memory, self._totals)

    def solve(self, bar: tqdm[Any]) -> Outcome:
        """Maximise the likelihood."""
        if self._loss == "particles":
            best = self._by_particles(self._rough_start(bar), bar)
        else:
            best = maximise(self._total, self.parameters, bar, self._optimiser, self._margin())
            if self._loss != "linear_noise":
                best = self._refined(best, bar)
        values = self.parameters.from_scale(best.point)
        expected = self._total.each_expected(values)
        fit = fitness(joined(expected), len(values))
        poor = "; but the data contradict the fitted model, see the warnings" if fit.warnings else ""
        free, size = len(values), self._total.size
        return Outcome(
            point=best.point,
            covariance=best.covariance,
            freedom=np.inf,
            loss=-2 * best.value,
            loss_name=f"-2 log likelihood ({self._total.describe()})",
            converged=best.converged,
            message=best.message + poor,
            warnings=(*(() if best.converged else (best.message,)), *fit.warnings),
            history=history(best.rows, self.parameters.names, 1),
            measured=self._measured(expected),
            curves=self._curves(values),
            ends=best.ends,
            dwells=self._dwells(values),
            goodness={
                "log_likelihood": best.value,
                "n_data": size,
                "dof": fit.dof,
                "chi2": fit.chi2,
                "p_value": fit.p_value,
                "aic": 2 * free - 2 * best.value,
                "bic": free * np.log(size) - 2 * best.value,
            },
        )

    def surface(self, outcome: Outcome, bar: tqdm[Any]) -> Surface:
        """The likelihood around its maximum."""
        climb = Ascent(self._total, self.parameters, bar)
        best, inverse = climb.at(outcome.point).value, climb.covariance(outcome.point)
        drawn = "; its noise is of the same random numbers at all points" if self._total.drawn else ""
        margins = (self._margin(),) * len(outcome.point)
        close = _CLOSE_DRAWN if drawn else _CLOSE
        return Surface(climb, outcome.point, best, inverse, margins, note=drawn, close=close, widens=not drawn)

    def density(self, seed: int, bar: tqdm[Any]) -> TotalDensity:
        """The likelihood as draws of a posterior see it."""
        return TotalDensity(self._total, self.parameters, seed, bar)

    def _margin(self) -> Margin:
        """How far confidence limits are."""
        values = self.parameters.start
        moving = np.zeros(len(values), bool)
        for study in self.studies:
            if not isinstance(study, EquationStudy):
                return USUAL
            moving[study.trial.places] |= study.moves(values[study.trial.places])
        return USUAL if moving.all() else Margin.of_few(self._total.size, int(moving.sum()))

    def warn(self) -> None:
        """Name what starts from fractions of molecules."""
        for study in self.studies:
            study.warn()

    def _rough_start(self, bar: tqdm[Any]) -> Parameters:
        """The parameters from where the linear noise approximation is at its maximum, if it has one."""
        parameters = self.parameters
        rough = self._of_all([study.by_linear_noise() for study in self.studies if isinstance(study, Study)])
        try:
            rough.prepare(parameters.start)
            search = Ascent(rough, parameters, bar)
            end = search.near(parameters.clip(parameters.to_scale(parameters.start)))
        except SimulationError:
            return parameters
        return parameters.starting_at(parameters.from_scale(end.x)) if np.isfinite(end.fun) else parameters

    def _by_particles(self, begin: Parameters, bar: tqdm[Any]) -> Maximum:
        """The maximum by particle filters; from the user's start where there is none from the other one."""
        error: SimulationError | FitError | None = None
        for start in (begin, self.parameters):
            self._total = self._of_all([study.by_particles() for study in self.studies if isinstance(study, Study)])
            try:
                self._total.prepare(start.start)
                return maximise(self._total, start, bar, self._optimiser)
            except (SimulationError, FitError) as found:
                error = found
        raise FitError(f"loss 'particles': {error}") from error

    def _refined(self, rough: Maximum, bar: tqdm[Any]) -> Maximum:
        """From the end of the linear noise approximation on: exactly, where the states are few enough there, or else
        by particles, where molecules are too few for the approximation."""
        values = self.parameters.from_scale(rough.point)
        parts = [
            study.refined(part, values[study.trial.places])
            for study, part in zip(self.studies, self._total.parts, strict=True)
        ]
        if all(new is old for new, old in zip(parts, self._total.parts, strict=True)):
            return rough
        total = self._of_all(parts)
        try:
            best = maximise(total, self.parameters.starting_at(values), bar, None)
        except (SimulationError, FitError):
            return rough
        self._total = total
        return best

    def _measured(self, expected: Sequence[Expected]) -> pandas.DataFrame:
        import pandas

        tables = [study.measured(own) for study, own in zip(self.studies, expected, strict=True)]
        return pandas.concat(tables, ignore_index=True)

    def _dwells(self, values: np.ndarray) -> pandas.DataFrame | None:
        """Histograms of dwell times in all conditions that have any; numbered where tables are of the same one."""
        import pandas

        tables, conditions = [], [study.trial.condition for study in self.studies]
        for number, (study, part) in enumerate(zip(self.studies, self._total.parts, strict=True), start=1):
            if isinstance(part, Dwells):
                named = {"condition": study.trial.condition} if any(conditions) else {}
                named |= {"data": f"table {number}"} if len(set(conditions)) < len(conditions) else {}
                tables.append(pandas.DataFrame({**named, **part.histogram(values[study.trial.places])}))
        tables = [table for table in tables if len(table)]
        return pandas.concat(tables, ignore_index=True) if tables else None

    def _curves(self, values: np.ndarray) -> pandas.DataFrame:
        import pandas

        return pandas.concat(
            [
                study.curves(part, values[study.trial.places])
                for study, part in zip(self.studies, self._total.parts, strict=True)
            ],
            ignore_index=True,
        )
