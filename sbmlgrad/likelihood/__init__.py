"""Log-likelihoods of single cells and single trajectories, with their derivatives."""
