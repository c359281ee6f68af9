"""SIGTERM is not lost to a library that handles it too."""

import subprocess
import sys

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
