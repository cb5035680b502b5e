"""How near one set of images is to another."""
