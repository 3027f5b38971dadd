"""From a model to counts and propensities in JAX."""

import jax

from sbmlgrad.network.channels import Channel
from sbmlgrad.network.discretise import DiscreteModel, discretise
from sbmlgrad.network.network import ReactionNetwork

# Exactness needs 64 bits: counts beyond 2**24, probabilities below 1e-7, clocks that do not stall. JAX is
# told in the lowest room that uses it, so before anything is computed.
jax.config.update("jax_enable_x64", True)

__all__ = ["Channel", "DiscreteModel", "ReactionNetwork", "discretise"]
