"""What ``import sbmlgrad`` offers."""

from __future__ import annotations

import subprocess
import sys

import pytest

import sbmlgrad


@pytest.mark.parametrize("name", sbmlgrad.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(sbmlgrad, name) is not None
    assert name in dir(sbmlgrad)


def test_another_name_is_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'magic'"):
        _ = sbmlgrad.magic


def test_numbers_are_of_64_bits_once_a_name_is_used() -> None:
    code = "import sbmlgrad; sbmlgrad.ReactionNetwork; import jax.numpy; print(jax.numpy.zeros(1).dtype)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "float64\n"), ended.stderr


def test_completion_shows_public_names_only() -> None:
    _ = sbmlgrad.read_sbml  # rooms are imported with it
    assert dir(sbmlgrad) == sorted(sbmlgrad.__all__)
