"""From a model to counts and propensities in JAX."""

from sbmlgrad.network.channels import Channel
from sbmlgrad.network.compiled import keep_compiled
from sbmlgrad.network.discretise import DiscreteModel, discretise
from sbmlgrad.network.network import ReactionNetwork

keep_compiled()  # in the lowest room that uses JAX, so before anything is compiled

__all__ = ["Channel", "DiscreteModel", "ReactionNetwork", "discretise"]
