"""Scores of generated images, and what embeds images for them."""
