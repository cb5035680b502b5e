"""One file for each verb, named like it."""
