"""From a model to counts and propensities in JAX."""

from sbmlgrad.network.channels import Channel
from sbmlgrad.network.discretise import DiscreteModel, discretise
from sbmlgrad.network.network import ReactionNetwork

__all__ = ["Channel", "DiscreteModel", "ReactionNetwork", "discretise"]
