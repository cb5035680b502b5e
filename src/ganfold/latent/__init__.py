"""The latent space of a generator: paths through it, directions in it, and the latent of a given image."""
