"""Answers the page's requests: its files, and images and maps as PNG.

Nothing that a request says is opened or run: its path is looked up in a table,
its query is checked value by value.
"""

import pathlib
import re
import threading
from collections.abc import Sequence

import numpy as np
from werkzeug.exceptions import (
    BadRequest,
    Forbidden,
    HTTPException,
    MethodNotAllowed,
    NotFound,
    ServiceUnavailable,
)
from werkzeug.wrappers import Request, Response

from sagan.explorer.card import describe_run, to_json
from sagan.explorer.listening import host_allowed
from sagan.explorer.nearest import Nearest
from sagan.explorer.networks import Run
from sagan.explorer.queries import BadQueryError, read_point, read_view
from sagan.runs.sample_grids import to_png

_FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
# Requests that may wait for the networks; the page has one a run.
_WAITING = 16
# Weights travel as 24 bits, in the three colours of a pixel.
_LEVELS = 2**24 - 1


class Explorer:
    """The WSGI application.

    Args:
        runs: One run, or several whose latents and classes agree.
        host: Address that it is bound to.
        bindings: Override the configs, for the search of real images.
        data_dir: Folder of TFDS datasets; None for the TFDS default.

    Raises:
        ValueError: If the runs cannot draw from the same latents.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        host: str = "127.0.0.1",
        bindings: Sequence[str] = (),
        data_dir=None,
    ):
        for run in runs[1:]:
            _check_same_inputs(runs[0], run)
        self.runs = runs
        self.nearest = {
            run: Nearest(run.workdir, bindings, data_dir) for run in runs
        }
        self.host = host
        self.waiting = threading.BoundedSemaphore(_WAITING)
        self.routes = {
            "/runs.json": self.send_runs,
            "/image.png": self.send_image,
            "/map.png": self.send_map,
            "/numbers.json": self.send_numbers,
            "/nearest.json": self.send_nearest,
        }

    def __call__(self, environ, start_response):
        try:
            response = self.respond(Request(environ))
        except HTTPException as error:
            response = _text(error.description, error.code)
        except ValueError as error:  # A checkpoint that is gone, or damaged.
            response = _text(str(error), 500)
        response.headers.update(_HEADERS)
        return response(environ, start_response)

    def respond(self, request: Request) -> Response:
        """Answers a request.

        Raises:
            HTTPException: If there is nothing to answer.
        """
        self._check_origin(request)
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(description="Only GET and HEAD.")
        if request.path in _FILES:
            name, kind = _FILES[request.path]
            return Response(read_page_file(name), mimetype=kind)
        if request.path not in self.routes:
            raise NotFound("There is no such page.")
        if not self.waiting.acquire(blocking=False):
            raise ServiceUnavailable("Too many requests at once.")
        try:
            query = request.args.to_dict(flat=False)
            return self.routes[request.path](query)
        except BadQueryError as error:
            raise BadRequest(str(error)) from error
        finally:
            self.waiting.release()

    def _check_origin(self, request):
        """Refuses the pages of other sites, also by a name of their own.

        A site may have its name resolve to this address. It cannot do without
        a name.
        """
        host = re.sub(r":\d*$", "", request.host)  # Without the port.
        if not host_allowed(host.strip("[]"), self.host):
            raise Forbidden("Not under this name: use the address.")
        headers = request.headers
        if headers.get("Origin") not in (None, f"http://{request.host}"):
            raise Forbidden("Not from the page of another site.")
        # A link to the page may be anywhere; what it loads is its own.
        linked = (
            request.path == "/" and headers.get("Sec-Fetch-Mode") == "navigate"
        )
        site = headers.get("Sec-Fetch-Site", "none")
        if site not in ("none", "same-origin") and not linked:
            raise Forbidden("Not from the page of another site.")

    def send_runs(self, query):
        if query:
            raise BadQueryError("Expected no query.")
        return _json([describe_run(run) for run in self.runs])

    def send_image(self, query):
        run, *view = read_view(query, self.runs)
        return _png(run.look(*view).pixels)

    def send_map(self, query):
        run, *view, block, number = read_point(query, self.runs)
        return _png(encode_map(run.look(*view).blocks[block].maps[0, number]))

    def send_numbers(self, query):
        run, *view = read_view(query, self.runs)
        look = run.look(*view)
        blocks = {name: x.statistics for name, x in look.blocks.items()}
        values = {"logit": look.logit, "blocks": blocks}
        return _json(values)

    def send_nearest(self, query):
        run, *view = read_view(query, self.runs)
        return _json(self.nearest[run].find(run.look(*view).pixels))

    def close(self) -> None:
        """Ends the searches of real images."""
        for nearest in self.nearest.values():
            nearest.close()


def _check_same_inputs(one, other):
    for name in ("latent_dim", "num_classes"):
        values = [getattr(run.generator, name) for run in (one, other)]
        if values[0] != values[1]:
            raise ValueError(
                f"The runs in {one.workdir} and {other.workdir} cannot draw "
                f"from the same latents: their {name} is {values[0]} and "
                f"{values[1]}. Open each by itself."
            )


def encode_map(weights: np.ndarray) -> np.ndarray:
    """Returns the weights of a query, `[keys]`, as pixels, `[1, keys, 3]`.

    Red, green and blue are the bytes of an integer, which 2^24 - 1 times the
    weight rounds to.
    """
    levels = np.rint(weights.astype(np.float64) * _LEVELS).astype(np.uint32)
    return np.stack([levels >> 16, levels >> 8, levels], -1).astype(np.uint8)[
        None
    ]


def read_page_file(name: str) -> str:
    """Returns one of the page's own files."""
    return pathlib.Path(__file__).with_name(name).read_text("utf-8")


def _png(pixels):
    return Response(to_png(pixels), mimetype="image/png")


def _json(values):
    return Response(to_json(values), mimetype="application/json")


def _text(text, status):
    return Response(" ".join(text.split()), status, mimetype="text/plain")
