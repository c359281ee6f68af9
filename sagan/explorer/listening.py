"""Where the explorer listens, and who may ask.

Werkzeug serves it, as TensorBoard brings it: a page of three files and a few
requests need no framework, and one person no faster server.
"""

import ipaddress
import socket

from absl import logging
from werkzeug.serving import WSGIRequestHandler, make_server


def host_allowed(host: str, bound: str) -> bool:
    """Whether a request's Host is the server's own address.

    Args:
        host: Name or address that the browser asked for, without port.
        bound: Address that the server is bound to.
    """
    if host in ("localhost", bound):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or not is_loopback(bound)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Handler(WSGIRequestHandler):
    """Handles requests, without a line for each on the terminal."""

    timeout = 30  # Seconds that a silent connection keeps a thread.

    def log_request(self, *args):
        """Leaves the terminal to what matters."""


def listen(host: str, port: int) -> socket.socket:
    """Takes a port, before anything that takes long.

    Raises:
        ValueError: If it cannot be taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ValueError(
            f"--host={host} --port={port} cannot be served: {error.strerror}. "
            "Give another --port; 0 takes any that is free."
        ) from error


def serve(application, listening: socket.socket) -> None:
    """Serves until Ctrl-C.

    Args:
        application: The WSGI application.
        listening: What `listen` returned.
    """
    host, port = listening.getsockname()[:2]
    server = make_server(
        *(host, port, application),
        threaded=True,
        request_handler=Handler,
        fd=listening.fileno(),
    )
    shown = f"[{host}]" if ":" in host else host
    logging.info("The explorer, until Ctrl-C: http://%s:%d", shown, port)
    if not is_loopback(host):
        logging.warning("Anyone who reaches this machine can open it.")
    server.serve_forever()  # Ctrl-C makes it return.
    logging.info("Closed.")
