"""Checkpoints of fits of problems: what goes on, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbmlgrad.errors import CheckpointError, FitError
from sbmlgrad.petab.identity import identity
from sbmlgrad.petab.objective import Objective, Posterior
from sbmlgrad.petab.problem import Problem


def test_another_problem_has_another_identity(decay: Problem) -> None:
    own = identity(decay.definition, 2, {"seed": 0})
    assert own == identity(decay.definition, 2, {"seed": 0})
    moved = decay.with_measurements([8.0, 3.5])
    parts = [identity(moved.definition, 2, {"seed": 0}), identity(decay.definition, [[1, 2]], {"seed": 0})]
    changed = [{name for name in own if part[name] != own[name]} for part in parts]
    assert changed == [{"tables"}, {"starts"}]


def test_a_fit_goes_on_where_it_was_cut_off(decay: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, path, calls = decay.fit(starts=2, seed=1), tmp_path / "run.ckpt", 0
    evaluate = Objective.__call__

    def counted(self: Objective, point: object) -> Posterior:
        nonlocal calls
        calls += 1
        if calls == cut:
            raise KeyboardInterrupt
        return evaluate(self, point)  # type: ignore[arg-type]

    monkeypatch.setattr(Objective, "__call__", counted)
    cut = 9
    with pytest.raises(KeyboardInterrupt):
        decay.fit(starts=2, seed=1, checkpoint=path)
    calls = cut = 0
    resumed = decay.fit(starts=2, seed=1, checkpoint=path, resume=True)
    assert resumed.parameters.equals(whole.parameters)
    first, calls = calls, 0
    assert decay.fit(starts=2, seed=1, checkpoint=path, resume=True).parameters.equals(whole.parameters)
    assert calls < first
    with pytest.raises(CheckpointError, match="checkpoint of a fit with other tables"):
        decay.with_measurements([8.0, 3.5]).fit(starts=2, seed=1, checkpoint=path, resume=True)
    with pytest.raises(FitError, match="no checkpoint to go on from"):
        decay.fit(resume=True)


def test_a_fit_by_molecules_goes_on_to_the_same_bits(decay: Problem, tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    fits = [decay.fit([[0.4, 1.0]], method="ssa", n=100, checkpoint=path, resume=resume) for resume in (False, True)]
    assert fits[0].parameters.equals(fits[1].parameters)
