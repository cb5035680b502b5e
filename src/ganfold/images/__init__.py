"""Images as bytes and as numbers in [-1, 1], in grids, tiles and files."""
