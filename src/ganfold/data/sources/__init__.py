"""The sources that images come from, and how one of their images is decoded."""
