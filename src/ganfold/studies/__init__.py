"""Whether generated images help a classifier: arms, jobs, classifiers and statistics."""
