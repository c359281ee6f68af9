"""Measuring speed and memory; the commands are in scripts/."""
