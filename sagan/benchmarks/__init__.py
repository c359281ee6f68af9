"""Measuring speed, memory and rounding; the commands are in scripts/."""
