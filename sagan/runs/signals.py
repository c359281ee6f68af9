"""Graceful stop of a run on SIGTERM or Ctrl-C."""

import contextlib
import signal


class Stop:
    """`requested` is the name of the signal that asked to stop, or None."""

    requested = None


@contextlib.contextmanager
def stop_signals():
    """Turns the first SIGTERM or Ctrl-C into a request, yielding a `Stop`.

    A second one of the kind has its usual effect.
    """
    stop = Stop()
    numbers = (signal.SIGTERM, signal.SIGINT)
    previous = {number: signal.getsignal(number) for number in numbers}

    def request(number, frame):
        del frame
        stop.requested = signal.Signals(number).name
        signal.signal(number, previous[number])

    for number in numbers:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
