"""Do generated images help a classifier? Arms, jobs, classifiers and statistics."""
