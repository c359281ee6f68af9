"""Stopping a run from outside."""

import contextlib
import signal


def interrupt_on_sigterm():
    """Lets SIGTERM end the process as Ctrl-C does, by `KeyboardInterrupt`."""

    def interrupt(number, frame):
        del frame
        raise KeyboardInterrupt(signal.Signals(number).name)

    signal.signal(signal.SIGTERM, interrupt)


@contextlib.contextmanager
def sigterm_held_back():
    """Lets SIGTERM wait while inside, under the handler there was before.

    TensorFlow puts a handler of its own in the place of Python's, which does
    nothing here. No thread that is made inside will ever take the signal.
    """
    handler = signal.getsignal(signal.SIGTERM)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler or signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


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


@contextlib.contextmanager
def received_signals():
    """Yields the list that signals which ask to stop are added to.

    SIGHUP, of a terminal that is closed, is one unless nohup has it ignored.
    """
    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    received = []

    def note(number, frame):
        del frame
        received.append(number)

    previous = {number: signal.signal(number, note) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
