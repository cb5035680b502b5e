"""Blocks that more than one GAN is built of."""
