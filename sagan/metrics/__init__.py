"""Scores of generated images, as pure functions of their features."""
