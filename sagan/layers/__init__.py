"""Layers of the networks, one idea a file."""
