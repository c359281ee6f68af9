"""Scores of runs: which images against which, and what is put on record."""
