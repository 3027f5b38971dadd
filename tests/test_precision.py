"""float64 is decided when sbmlgrad is imported, whichever of both comes first."""

from __future__ import annotations

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

import sbmlgrad as sg
from sbmlgrad.errors import SbmlgradError


@pytest.mark.parametrize("lines", ["import jax, sbmlgrad", "import sbmlgrad, jax"])
def test_float64_whichever_is_imported_first(lines: str) -> None:
    variables = {name: value for name, value in os.environ.items() if name != "JAX_ENABLE_X64"}
    script = f"{lines}; print(jax.numpy.ones(1).dtype)"
    done = subprocess.run([sys.executable, "-c", script], env=variables, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "float64"


def test_to_switch_it_off_is_refused_wherever_numbers_are_made() -> None:
    network = sg.ReactionNetwork([[1]], lambda x, p: jnp.ones(1) * p["k"], [0.0], {"k": 1.0})
    with jax.enable_x64(False):
        for call in (
            lambda: sg.simulate(network, [1.0], n=2),
            lambda: sg.sensitivity(network, [1.0], ["k"], n=16),
            lambda: sg.value_and_grad(network, lambda x, p: x, [1.0], n=16),
        ):
            with pytest.raises(SbmlgradError, match="jax_enable_x64"):
                call()
