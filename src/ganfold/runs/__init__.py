"""A trained run: its record, weights, samples and checkpoints."""
