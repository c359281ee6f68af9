"""The real images nearest to what the page shows, searched beside it."""

import base64
import threading

import numpy as np
from absl import logging

from sagan.evaluation.neighbours import RealImages, open_searched
from sagan.runs.record import parse_recorded_config
from sagan.runs.sample_grids import make_grid, to_png

NEIGHBOURS = 6
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
            for number in real.embed():
                self.progress = (
                    f"Embedding {real.dataset.size:,} real images: {number:,}."
                )
                if self._closed:
                    return None
            if len(real) <= NEIGHBOURS:
                raise ValueError(f"There are only {len(real)} real images.")
            self.real = real
        except Exception as error:  # Whatever it is, the page waits for it.
            logging.warning("Without nearest real images: %s", error)
            self.problem = " ".join(str(error).split())
        return self.real

    def find(self, pixels: np.ndarray) -> dict[str, object]:
        """Finds the real images nearest to one, as JSON values.

        Args:
            pixels: `[height, width, channels]`, uint8.

        Returns:
            "problem" or "progress", a text; or "png", the images from left to
            right in base64, "columns", their "distances" and the "text" of
            what was searched.
        """
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self.prepare)
                self._thread.start()
        if self.problem:
            return {"problem": self.problem}
        if self.real is None:
            return {"progress": self.progress}
        with self._searching:
            image = pixels[None].astype(np.float32) / 127.5 - 1.0
            found = self.real.nearest(image, NEIGHBOURS)
        grid = make_grid(found.images[0], NEIGHBOURS)
        return {
            "png": base64.b64encode(to_png(grid)).decode(),
            "distances": found.distances[0].round(4).tolist(),
            "text": f"{describe_search(self.real)}; {found}",
        }

    def close(self) -> None:
        """Ends the thread."""
        self._closed = True
        if self._thread is not None:
            self._thread.join()


def describe_search(real: RealImages) -> str:
    """Returns what was searched, as a text."""
    data = real.dataset
    return (
        f"among {len(real):,} of the {data.size:,} images of "
        f"{data.identity.full_name}, in the features of {real.network.name}"
    )
