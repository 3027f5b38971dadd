"""Searches that are cut off and go on to the same bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import CheckpointError, FitError, SbmlgradError
from sbmlgrad.fitting.checkpoint import Checkpoint, Ended
from sbmlgrad.simulation import processes

Compute = Callable[[], tuple[np.ndarray, ...]]


def birth_death() -> sg.ReactionNetwork:
    return sg.ReactionNetwork(
        [[1, -1]], lambda x, p: (p["k"] + 0 * x[0], p["g"] * x[0]), [0], {"k": 3.0, "g": 1.0}, species=("X",)
    )


MOMENTS = pd.DataFrame({"time": [0.5, 1.0, 4.0], "X-mean": [1.2, 1.8, 2.9], "X-n": 50})
CELLS = pd.DataFrame({"time": np.repeat([0.5, 3.0], 6), "X": [0, 1, 2, 2, 1, 0, 4, 2, 3, 5, 2, 3]})


class Counter:
    """Counts evaluations, of which the one after ``most`` is cut off."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.asked, self.computed, self.most = 0, 0, 10**9
        original = Checkpoint.remember

        def remember(checkpoint: Checkpoint, kind: str, arguments: Any, compute: Compute) -> tuple[np.ndarray, ...]:
            self.asked += 1
            if self.asked > self.most:
                raise KeyboardInterrupt

            def counted() -> tuple[np.ndarray, ...]:
                self.computed += 1
                return compute()

            return original(checkpoint, kind, arguments, counted)

        monkeypatch.setattr(Checkpoint, "remember", remember)

    def reset(self, most: int = 10**9) -> None:
        self.asked, self.computed, self.most = 0, 0, most


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter]:
    return Counter(monkeypatch)


def same(one: sg.Fit, other: sg.Fit) -> None:
    pd.testing.assert_frame_equal(one.parameters, other.parameters, check_exact=True)
    pd.testing.assert_frame_equal(one.history, other.history, check_exact=True)
    assert one.loss == other.loss
    assert one.message == other.message


CASES = {
    "moments": lambda: (birth_death(), MOMENTS, {"k": (0.1, 50.0)}, {"n": 200, "seed": 3}),
    "likelihood": lambda: (birth_death(), CELLS, {"k": (0.1, 50.0), "g": (0.01, 20.0)}, {"starts": 2}),
    "equations": lambda: (birth_death(), MOMENTS, {"k": (0.1, 50.0)}, {"method": "ode", "starts": 3}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_search_that_is_cut_off_goes_on_to_the_same_bits(case: str, tmp_path: Path, counter: Counter) -> None:
    model, data, parameters, options = CASES[case]()
    path = tmp_path / "run.ckpt"
    whole = sg.fit(model, data, parameters, checkpoint=path, **options)
    every = counter.computed
    assert counter.asked >= every > 10
    counter.reset(most=2 * every // 3)
    with pytest.raises(KeyboardInterrupt):
        sg.fit(model, data, parameters, checkpoint=path, **options)
    counter.reset()
    resumed = sg.fit(model, data, parameters, checkpoint=path, resume=True, **options)
    same(whole, resumed)
    assert counter.computed < 0.6 * every
    counter.reset()
    same(whole, sg.fit(model, data, parameters, checkpoint=path, resume=True, **options))  # of one that has ended
    assert counter.computed <= 2 * options.get("starts", 1)
    counter.reset()
    resumed.profile(points=4)
    assert counter.computed == counter.asked  # the search is over


def test_a_checkpoint_is_of_one_fit(tmp_path: Path) -> None:
    model, path = birth_death(), tmp_path / "run.ckpt"
    sg.fit(model, MOMENTS, {"k": None}, method="ode", checkpoint=path)
    before = path.read_bytes()
    changed = MOMENTS.assign(**{"X-n": 51})
    others: dict[str, dict[str, Any]] = {
        "data": {"data": changed},
        "seed": {"seed": 1},
        "parameters": {"parameters": {"k": (0.1, 9.0)}},
        "model": {"model": model.with_parameters({"g": 2.0})},
    }
    usual = {"model": model, "data": MOMENTS, "parameters": {"k": None}, "method": "ode"}
    for name, other in others.items():
        with pytest.raises(CheckpointError, match=f"run.ckpt: is the checkpoint of a fit with other {name};"):
            sg.fit(**{**usual, **other}, checkpoint=path, resume=True)
    assert path.read_bytes() == before


def test_other_files_are_not_replaced(tmp_path: Path) -> None:
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("mine")
    for resume in (False, True):
        with pytest.raises(CheckpointError, match=r"thesis.txt: is no checkpoint of a fit, or damaged"):
            sg.fit(birth_death(), MOMENTS, {"k": None}, method="ode", checkpoint=thesis, resume=resume)
    assert thesis.read_text() == "mine"
    with pytest.raises(FitError, match="there is no checkpoint to go on from"):
        sg.fit(birth_death(), CELLS, {"k": None}, resume=True)


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    for path, problem in ((tmp_path, "this is a folder"), (tmp_path / "no" / "file", "there is no folder")):
        with pytest.raises(SbmlgradError, match=f"cannot be written, {problem}"):
            sg.fit(birth_death(), "nowhere.csv", {"k": None}, checkpoint=path)


def test_what_comes_out_otherwise_is_not_gone_on_from(tmp_path: Path) -> None:
    """As on another platform, or for a network whose propensities were changed, which nothing in a file tells."""
    path = tmp_path / "run.ckpt"
    with Checkpoint(path, {"data": "1"}, resume=False) as checkpoint:
        checkpoint.new_round()
        assert checkpoint.begin(0) is None
        checkpoint.remember("f", ([1.0],), lambda: (np.array([2.0]),))
    before = path.read_bytes()
    again = Checkpoint(path, {"data": "1"}, resume=True)
    with again:
        again.new_round()
        again.begin(0)
        with pytest.raises(CheckpointError, match="comes out otherwise now"):
            again.remember("f", ([1.0],), lambda: (np.array([2.5]),))
        with pytest.raises(CheckpointError, match="comes out otherwise now"):
            again.end(Ended(1.0))
    with np.load(path) as now:
        assert now["data"].tolist() == [1.0, 1.0, 1.0, 2.0]
    assert len(before) == path.stat().st_size


def test_only_the_best_search_and_the_present_one_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    losses = [3.0, 1.0, np.nan, 2.0]
    with Checkpoint(path, {}, resume=False) as checkpoint:
        checkpoint.new_round()
        for number, loss in enumerate(losses):
            assert checkpoint.begin(number) is None
            checkpoint.remember("f", ([float(number)],), lambda loss=loss: (np.array(loss), np.zeros((2, 0, 3))))
            checkpoint.end(Ended(loss))
        checkpoint.begin(4)
        checkpoint.end(Ended(np.nan, "it failed"))
        checkpoint.begin(5)
        checkpoint.remember("f", ([5.0],), lambda: (np.array(7.0),))
    with Checkpoint(path, {}, resume=True) as checkpoint:
        checkpoint.new_round()
        found = [checkpoint.begin(number) for number in range(6)]
        assert found[0] == Ended(3.0)
        assert found[1] is None  # the best, which is taken again
        assert found[3] == Ended(2.0)
        assert found[4] is not None
        assert found[4].error == "it failed"
        assert found[5] is None
        checkpoint.begin(1)
        checkpoint.remember("f", ([1.0],), lambda: (np.array(1.0), np.zeros((2, 0, 3))))  # verified

        def never() -> tuple[np.ndarray, ...]:
            raise AssertionError("it is known")

        value, empty = checkpoint.remember("f", ([1.0],), never)
        assert (float(value), value.shape, empty.shape) == (1.0, (), (2, 0, 3))


@pytest.mark.parametrize("process", [0, 1])
def test_the_first_process_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, process: int) -> None:
    monkeypatch.setattr(processes, "index", lambda: process)
    with Checkpoint(tmp_path / "run.ckpt", {"data": "a"}, resume=False):
        pass
    assert (tmp_path / "run.ckpt").exists() == (process == 0)
