"""Training images: TFDS, an image folder or synthetic, as batches in [-1, 1].

`make_dataset` is the way in; `agreement` scores images of the synthetic sets.
"""

from sagan.data.agreement import agreement, shuffle_halves
from sagan.data.batches import ImageDataset
from sagan.data.pipeline import make_dataset
from sagan.data.preprocessing import CUSTOMARY_CROPS
from sagan.data.synthetic import is_synthetic

__all__ = [
    "CUSTOMARY_CROPS",
    "ImageDataset",
    "agreement",
    "is_synthetic",
    "make_dataset",
    "shuffle_halves",
]
