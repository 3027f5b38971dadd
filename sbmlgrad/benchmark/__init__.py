"""Speed of simulation and gradients, beside other simulators in the same run."""
