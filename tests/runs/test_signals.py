"""A signal asks a run to stop, also where a library handles it too."""

import os
import signal
import subprocess
import sys

import pytest

from sagan.runs.signals import stop_signals

HELD_BACK = """
import os, signal, threading, time
from sagan.cli import interrupt_on_sigterm, sigterm_held_back

interrupt_on_sigterm()
made = threading.Event()
try:
    with sigterm_held_back():
        thread = threading.Thread(target=made.wait, daemon=True)
        thread.start()
        # As TensorFlow does.
        signal.signal(signal.SIGTERM, lambda number, frame: print("lost"))
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.2)
        print("continues")
    print("never reached")
except KeyboardInterrupt as error:
    print(error)
"""


def test_sigterm_waits_until_its_handler_is_back():
    done = subprocess.run(
        [sys.executable, "-c", HELD_BACK], capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["continues", "SIGTERM"], done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_first_signal_is_a_request_and_the_second_has_its_usual_effect(number):
    calls = []
    usual = signal.signal(number, lambda *_: calls.append(number))
    try:
        with stop_signals() as stop:
            assert stop.requested is None
            os.kill(os.getpid(), number)
            assert (stop.requested, calls) == (number.name, [])
            os.kill(os.getpid(), number)
            assert calls == [number]
    finally:
        signal.signal(number, usual)
