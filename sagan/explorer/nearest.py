"""The real images nearest to what the page shows, searched beside it."""

import base64
import contextlib
import threading
import time

import numpy as np
from absl import logging

from sagan.cli import short_message
from sagan.evaluation.neighbours import RealImages, open_searched
from sagan.runs.record import parse_recorded_config
from sagan.runs.sample_grids import make_grid, to_png

NEIGHBOURS = 6
# That embedding may take; those images that it gets to are searched.
_SECONDS = 600
# gin has one config, and each run its own.
_OPENING = threading.Lock()


class Nearest:
    """Searches the real images of a run, where data and features are at hand.

    Nothing is opened before the first question. Then a thread does, and embeds
    the images: until it is done, an answer says how far it is.

    Args:
        workdir: Folder of the run.
        bindings: Override its config, as in `sagan.config.parse_config`.
        data_dir: Folder of TFDS datasets; None for the TFDS default.
    """

    def __init__(self, workdir, bindings=(), data_dir=None):
        self._settings = workdir, bindings, data_dir
        self._starting = threading.Lock()
        self._searching = threading.Lock()
        self._thread = None
        self._closed = False
        self.real = None
        self.progress = "Opening data and features."
        self.problem = None

    def prepare(self) -> RealImages | None:
        """Opens data and features, and embeds the images.

        Returns:
            The images; None if something is missing, which `problem` names.
        """
        try:
            with _OPENING:
                parse_recorded_config(*self._settings)
                real = RealImages(*open_searched(self._settings[-1]))
            self._embed(real)
            if self._closed:
                return None
            if len(real) <= NEIGHBOURS:
                raise ValueError(f"There are only {len(real)} real images.")
            self.real = real
        except Exception as error:  # Whatever it is, the page waits for it.
            self.problem = " ".join(short_message(error).split())
            logging.warning("Without nearest real images: %s", self.problem)
        return self.real

    def _embed(self, real):
        size, started = real.dataset.size, time.monotonic()
        with contextlib.closing(real.embed()) as numbers:
            for number in numbers:
                self.progress = f"Embedding {size:,} real images: {number:,}."
                if self._closed or time.monotonic() > started + _SECONDS:
                    return

    def find(self, pixels: np.ndarray) -> dict[str, object]:
        """Finds the real images nearest to one, as JSON values.

        Args:
            pixels: `[height, width, channels]`, uint8.

        Returns:
            "text", what was searched and found, how far it is, or what is
            missing; "waiting", whether to ask again; and "png", the images
            from left to right in base64, or None.
        """
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self.prepare)
                self._thread.start()
        if self.real is None:
            problem = self.problem
            text = problem or self.progress
            return {"text": text, "waiting": problem is None, "png": None}
        with self._searching:
            image = pixels[None].astype(np.float32) / 127.5 - 1.0
            found = self.real.nearest(image, NEIGHBOURS)
        grid = make_grid(found.images[0], NEIGHBOURS)
        distances = ", ".join(f"{x:.4g}" for x in found.distances[0])
        usual = np.median(found.real_distances)
        text = (
            f"The nearest real images {describe_search(self.real)}. Distances: "
            f"{distances}; from a real image to the nearest other one "
            f"{usual:.4g} (median). Much less would be a copy."
        )
        png = base64.b64encode(to_png(grid)).decode()
        return {"text": text, "waiting": False, "png": png}

    def close(self) -> None:
        """Ends the thread."""
        self._closed = True
        if self._thread is not None:
            self._thread.join()


def describe_search(real: RealImages) -> str:
    """Returns what was searched, as a text."""
    data = real.dataset
    some = "all" if len(real) == data.size else f"{len(real):,} of the"
    return (
        f"among {some} {data.size:,} images of {data.identity.full_name}, in "
        f"the features of {real.network.name}"
    )
