"""From a model to counts and propensities in JAX."""

import jax

# Exactness needs 64 bits: counts beyond 2**24, probabilities below 1e-7, clocks that do not stall. JAX is told
# here, in the lowest room that uses it, before any module of this room is imported.
jax.config.update("jax_enable_x64", True)

from sbmlgrad.network.channels import Channel
from sbmlgrad.network.discretise import DiscreteModel, discretise
from sbmlgrad.network.network import ReactionNetwork

__all__ = ["Channel", "DiscreteModel", "ReactionNetwork", "discretise"]
