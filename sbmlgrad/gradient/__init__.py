"""Gradients of expectations, each estimator in its own file, all held to one protocol."""
