"""Workers wait for each other, and for no one else, as long as they should."""

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from sagan.distributed.processes import free_ports
from sagan.distributed.strategy import meet

ALONE = """
import sys
from sagan.distributed.strategy import meet
from sagan.cli import interrupt_on_sigterm

interrupt_on_sigterm()
print("waits", flush=True)
try:
    meet(sys.argv[2:], int(sys.argv[1]), 60.0)
except KeyboardInterrupt as error:
    print(error)
"""


@pytest.fixture
def addresses():
    return [f"127.0.0.1:{port}" for port in free_ports(3)]


@contextlib.contextmanager
def waiting(addresses, index):
    """A process that waits as one of the workers."""
    process = subprocess.Popen(
        [sys.executable, "-c", ALONE, str(index), *addresses],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "waits\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def meet_in_thread(addresses, index, met):
    def run():
        meet(addresses, index, 60.0)
        met.append(index)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_all_go_on_when_the_last_has_come(addresses, order):
    met = []
    threads = [meet_in_thread(addresses, index, met) for index in order[:2]]
    time.sleep(0.5)
    assert not met
    meet(addresses, order[2], 60.0)
    for thread in threads:
        thread.join(10.0)
    assert sorted([*met, order[2]]) == [0, 1, 2]
    # Worker 0's port is TensorFlow's now.
    with socket.create_server(("127.0.0.1", int(addresses[0].split(":")[1]))):
        pass


def test_one_that_ended_while_it_waited_is_waited_for_again(addresses):
    met = []
    threads = [meet_in_thread(addresses, 0, met)]
    with waiting(addresses, 1):
        time.sleep(1.0)
    threads.append(meet_in_thread(addresses, 2, met))
    time.sleep(1.5)
    assert not met
    meet(addresses, 1, 60.0)
    for thread in threads:
        thread.join(10.0)
    assert sorted(met) == [0, 2]


def test_strangers_do_not_count(addresses):
    met = []
    thread = meet_in_thread(addresses[:2], 0, met)
    time.sleep(0.2)
    host, port = addresses[0].split(":")
    for word in (b"GET / HTTP/1.1\r\n\r\n", b"7", b""):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(word)
    time.sleep(0.5)
    assert not met
    meet(addresses[:2], 1, 60.0)
    thread.join(10.0)
    assert met == [0]


@pytest.mark.parametrize(
    ("index", "missing"), [(0, "{1}, {2} did not"), (1, "^{0} did not")]
)
def test_who_does_not_come_is_named(addresses, index, missing):
    with pytest.raises(RuntimeError, match=missing.format(*addresses)):
        meet(addresses, index, 0.5)


def test_a_port_that_is_taken_is_named(addresses):
    port = int(addresses[0].split(":")[1])
    with (
        socket.create_server(("", port)),
        pytest.raises(RuntimeError, match=f"cannot listen at {addresses[0]}"),
    ):
        meet(addresses, 0, 0.5)


@pytest.mark.parametrize("index", [0, 1])
def test_sigterm_ends_the_wait_at_once(addresses, index):
    with waiting(addresses, index) as process:
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        assert process.stdout.read() == "SIGTERM\n"
        assert time.monotonic() - started < 10
