"""float64: decided when sbmlgrad is imported, and held to wherever numbers are computed.

Exactness needs 64 bits: counts beyond 2**24, probabilities below 1e-7, clocks that do not stall.
"""

import os
import sys

from sbmlgrad.errors import SbmlgradError


def use_float64() -> None:
    """Have JAX compute in float64, in this process and in those that it starts."""
    if "jax" in sys.modules:
        sys.modules["jax"].config.update("jax_enable_x64", True)
    else:  # JAX reads this when it is imported, which takes a second that ``sbmlgrad --help`` must not
        os.environ["JAX_ENABLE_X64"] = "1"


def require_float64() -> None:
    """Raise :class:`~sbmlgrad.errors.SbmlgradError` where JAX was told not to compute in float64 after all."""
    if "jax" in sys.modules and not sys.modules["jax"].config.jax_enable_x64:
        raise SbmlgradError(
            "jax_enable_x64 is off, and exact simulation needs float64; leave it as it is once sbmlgrad is imported"
        )
