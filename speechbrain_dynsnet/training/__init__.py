"""Training: the loss of all exits, the phases of a scheme, the Brain that runs them, checkpoints."""
