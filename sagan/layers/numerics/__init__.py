"""Checks that this processor computes a network's layers correctly.

Training, sampling and scoring call `check_networks` at their start.
"""

from sagan.layers.numerics.check import check_networks

__all__ = ["check_networks"]
