"""The HTML pages of runs and studies."""
