"""Scores of runs: which images against which, and what is put on record.

Importing the package registers what the config of a classifier binds.
"""

import sagan.evaluation.classifier_training  # noqa: F401
