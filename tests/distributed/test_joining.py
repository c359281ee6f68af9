"""Workers wait for each other for a set time, and notice who is lost."""

import json
import signal
import socket
import subprocess
import sys
import time

import pytest
from command_line import SETTINGS

from sagan.distributed.processes import free_ports

JOIN = """
import os, signal, sys
from sagan.cli import command, sigterm_held_back, start_tensorflow

with command(["join"], worker=True):
    start_tensorflow()
    from sagan.distributed import strategy
    from sagan.distributed.workers import Workers
    strategy.JOIN_WITHIN = int(sys.argv[1])
    workers = Workers(
        strategy.make_strategy("multi_worker", joining=sigterm_held_back)
    )
    with workers.watched():
        while workers.any_worker(workers.is_chief):
            if not workers.is_chief:
                os.kill(os.getpid(), signal.SIGKILL)
"""


def join(ports, index, seconds):
    config = {
        "cluster": {"worker": [f"127.0.0.1:{port}" for port in ports]},
        "task": {"type": "worker", "index": index},
    }
    env = {**SETTINGS["env"], "TF_CONFIG": json.dumps(config)}
    return subprocess.Popen(
        [sys.executable, "-c", JOIN, str(seconds)],
        stderr=subprocess.PIPE,
        **SETTINGS | {"env": env},
    )


@pytest.mark.parametrize("index", [0, 1])
def test_worker_that_does_not_come_is_named(index):
    ports = free_ports(2)
    process = join(ports, index, seconds=1)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert f"Waiting for 2 workers: 127.0.0.1:{ports[0]}, 127." in errors
    assert f"Error: 127.0.0.1:{ports[1 - index]} did not come" in errors


def test_port_that_is_taken_is_one_error():
    with socket.create_server(("127.0.0.1", 0)) as server:
        ports = [server.getsockname()[1], *free_ports(1)]
        errors = join(ports, 0, seconds=30).communicate(timeout=60)[1]
    assert "Error: TensorFlow cannot listen at" in errors


def test_interrupt_ends_the_wait():
    process = join(free_ports(2), 0, seconds=100)
    while "Waiting for" not in process.stderr.readline():
        pass
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == -signal.SIGINT


def test_lost_worker_ends_the_other():
    ports = free_ports(2)
    chief, other = (join(ports, index, seconds=60) for index in (0, 1))
    assert other.wait(timeout=60) == -signal.SIGKILL
    started = time.monotonic()
    errors = chief.communicate(timeout=60)[1]
    # 30 s are promised, on a machine that is not busy with tests.
    assert time.monotonic() - started < 60
    assert chief.returncode == 1
    assert "Error: Worker 0 of 2 ends: another worker has ended" in errors
