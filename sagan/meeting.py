"""Where workers wait for each other, before TensorFlow makes them one cluster.

TensorFlow waits too, but hears no signal meanwhile, does not say for whom, and
as worker 0 never gives up.
"""

import contextlib
import select
import socket
import time
from collections.abc import Sequence

from absl import logging

_GO = b"go"
_POLL_SECONDS = 1.0
_LOG_SECONDS = 60.0
_RETRY_SECONDS = 0.2


def meet(addresses: Sequence[str], index: int, seconds: float) -> None:
    """Waits until all workers are there.

    Worker 0 listens at its own address, which is TensorFlow's from then on. The
    others tell it their numbers; it answers when it has heard of all. One that
    ends while it waits, and comes again, is waited for.

    Args:
        addresses: `HOST:PORT` of each, worker 0 first.
        index: Which of them this process is.
        seconds: How long to wait.

    Raises:
        RuntimeError: If not all have come by then, naming who has not, or
            worker 0 cannot listen.
    """
    deadline = time.monotonic() + seconds
    if index == 0:
        missing = _gather(addresses, deadline)
    else:
        missing = _report(addresses[0], index, deadline)
    if missing:
        raise RuntimeError(
            f"{', '.join(missing)} did not come within {seconds:.0f} s: see "
            "the logs there, and whether the machines reach each other."
        )


def _gather(addresses, deadline):
    """Waits for the others as worker 0; returns who has not come."""
    numbers = {}
    log_at = time.monotonic() + _LOG_SECONDS
    with _listen(addresses[0]) as server, contextlib.ExitStack() as stack:
        while missing := _missing(addresses, numbers):
            if time.monotonic() > deadline:
                return missing
            if time.monotonic() > log_at:
                logging.info("Still waiting for %s.", ", ".join(missing))
                log_at += _LOG_SECONDS
            ready, _, _ = select.select(
                [server, *numbers], [], [], _POLL_SECONDS
            )
            for connection in ready:
                if connection is server:
                    connection = stack.enter_context(server.accept()[0])
                    numbers[connection] = None
                else:
                    _hear(connection, numbers)
        _answer(numbers)
    return []


def _missing(addresses, numbers):
    return [
        address
        for number, address in enumerate(addresses)
        if number and number not in numbers.values()
    ]


def _hear(connection, numbers):
    """Notes the number that a worker sends, or that it has gone."""
    try:
        numbers[connection] = int(connection.recv(16))
    except (OSError, ValueError):
        del numbers[connection]
        connection.close()


def _answer(connections):
    """Tells all to go on, and waits until they have hung up.

    Whoever hangs up first keeps the port occupied for a while.
    """
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.sendall(_GO)
    for connection in connections:
        connection.settimeout(_POLL_SECONDS)
        with contextlib.suppress(OSError):
            connection.recv(1)


def _report(chief, index, deadline):
    """Waits for worker 0 and its word; returns it if that has not come."""
    while time.monotonic() < deadline:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(
                _host_and_port(chief), timeout=_POLL_SECONDS
            ) as connection,
        ):
            connection.sendall(b"%d" % index)
            word = None
            while word is None and time.monotonic() < deadline:
                with contextlib.suppress(TimeoutError):
                    word = connection.recv(16)
            if word == _GO:
                return []
        # Not there yet, or it has ended and may come again.
        time.sleep(_RETRY_SECONDS)
    return [chief]


def _listen(address):
    port = _host_and_port(address)[1]
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        return socket.create_server(
            ("", port), family=family, dualstack_ipv6=both
        )
    except OSError as error:
        raise RuntimeError(
            f"Worker 0 cannot listen at {address}: {error.strerror}. Another "
            "process may have the port: end that, or give another port."
        ) from error


def _host_and_port(address):
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
