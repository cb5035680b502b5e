"""The kinds of sources that images come from, and how one image of them is decoded."""
