"""Whether this processor computes the layers of a network right.

`check_networks` is called at the start of a run, of sampling and of scoring.
"""

from sagan.layers.numerics.check import check_networks

__all__ = ["check_networks"]
