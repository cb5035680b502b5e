"""ganfold: a folder of images in; a trained, measured, usable generator out."""

__version__ = "0.1.0"
