"""Scores of runs: protocols, feature networks, real images, records.

Importing the package registers what a classifier's config binds.
"""

import sagan.evaluation.classifier_training  # noqa: F401
