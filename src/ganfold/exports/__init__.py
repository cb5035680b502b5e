"""A run's generator as files that need no ganfold."""
