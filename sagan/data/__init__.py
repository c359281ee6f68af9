"""Training images from TFDS, a folder or a generator, as batches in [-1, 1].

`make_dataset` is the entry point; `agreement` scores the synthetic images.
"""

from sagan.data.agreement import agreement, shuffle_halves
from sagan.data.batches import ImageDataset
from sagan.data.pipeline import find_source, make_dataset
from sagan.data.preprocessing import CUSTOMARY_CROPS
from sagan.data.synthetic import is_synthetic

__all__ = [
    "CUSTOMARY_CROPS",
    "ImageDataset",
    "agreement",
    "find_source",
    "is_synthetic",
    "make_dataset",
    "shuffle_halves",
]
