"""Calibration: losses, scales, the optimiser, standard errors and the result."""
