"""Layers and networks that several GANs share. They know nothing of `ganfold.gans`."""
