"""Scores of generated images, as functions of arrays of features."""
