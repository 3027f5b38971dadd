"""The network that reads digits, reduced: it learns, and is classified by the package's own loop as well."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture(scope="module")
def digits(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("digits")


def test_shifts_move_whole_images(digits: ModuleType) -> None:
    images = np.zeros((200, 25), np.uint8)
    images[:, 12] = 7  # the middle of 5 x 5
    moved = digits.shifted(images, 1, np.random.default_rng(0)).reshape(-1, 5, 5)
    assert np.all(moved.sum(axis=(1, 2)) == 7)
    assert {(int(r), int(c)) for _, r, c in np.argwhere(moved)} == {(r, c) for r in (1, 2, 3) for c in (1, 2, 3)}


def test_images_that_are_held_out_are_not_learned_from(digits: ModuleType) -> None:
    train = {"image": np.arange(12_000).reshape(6000, 2), "label": np.arange(6000)}
    first, last = digits.held_out(train)
    assert np.array_equal(np.concatenate([first["label"], last["label"]]), train["label"])
    assert last["label"][0] == 1000
    assert np.array_equal(last["image"], train["image"][1000:])


def test_an_image_is_classified_by_the_most_abundant_protein(digits: ModuleType) -> None:
    """One gene is on for each pixel that is bright: both ways of simulating it are right."""
    data = {"image": np.repeat(255 * np.eye(3, dtype=np.uint8), 4, axis=0), "label": np.repeat(np.arange(3), 4)}
    bare = digits.initial(3, 3, 3, seed=0)
    on = {"hidden": 5 * np.eye(3) - 2, "readout": np.eye(3) - 0.5}
    parameters = {name: {**bare[name], "weights": weights.astype(np.float32)} for name, weights in on.items()}
    assert digits.accuracy(parameters, data, seed=1)["accuracy"] == 1.0
    assert digits.by_events(parameters, data, seed=1, batch=6)["accuracy"] == 1.0


@pytest.mark.slow
def test_the_reduced_network_learns(digits: ModuleType, data_dir: Path, tmp_path: Path) -> None:
    """Run as a command; ten classes by chance would be 10 %."""
    output = tmp_path / "digits.json"
    assert digits.main(["--reduced", "--data", str(data_dir), "--by-events", "-o", str(output)]) == 0
    rows = json.loads(output.read_text())["rows"]
    last, own = (next(row for row in rows if row["kind"] == kind) for kind in ("trajectories", "by events"))
    assert last["accuracy"] > 0.85
    assert abs(own["accuracy"] - last["accuracy"]) < 0.02  # 4.5 standard errors of a difference of 10,000 images
