"""Workers of one cluster on this machine, started and ended together."""

import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from absl import logging

_POLL_SECONDS = 0.05
# Exit codes of a worker that a signal stopped in order.
_STOPPED = (128 + signal.SIGTERM, 128 + signal.SIGINT)


@contextlib.contextmanager
def received_signals():
    """Yields the list to which signals that ask to stop are appended.

    SIGHUP, sent when a terminal is closed, is one unless nohup ignores it.
    """
    received = []
    previous = {
        number: signal.signal(number, lambda n, frame: received.append(n))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def run_workers(
    command: Sequence[str],
    count: int,
    pin: bool = False,
    ending_seconds: float = 20.0,
    saving_seconds: float = 300.0,
) -> int:
    """Runs a command as every worker of a cluster, and waits for all of them.

    Each finds its place in the environment variable TF_CONFIG. Lines of workers
    other than 0 begin with "[worker 1] " and go to stderr. If one fails, the
    rest get SIGTERM. The first signal to this process is passed on, upon which
    workers save and end; a second one kills them.

    Args:
        command: Program and arguments, the same for all.
        count: Number of workers.
        pin: Whether to bind each worker to its own share of the cores.
        ending_seconds: Time from the first failure until the rest are killed.
        saving_seconds: The same after a worker has stopped in order.

    Returns:
        0 if all succeeded; otherwise the exit code of the first to fail or, if
        none did, to stop: 128 plus the signal's number where one ended it.

    Raises:
        ValueError: If `pin` is set on a system that cannot bind processes.
    """
    shares = core_shares(count) if pin else [None] * count
    ports = free_ports(count)
    workers, threads = [], []
    with received_signals() as received:
        try:
            for index, cores in enumerate(shares):
                worker = _start(command, ports, index, cores)
                workers.append(worker)
                if index:
                    threads.append(_forward_output(worker, index))
            return _wait(workers, received, ending_seconds, saving_seconds)
        finally:
            for worker in workers:
                if worker.poll() is None:
                    os.killpg(worker.pid, signal.SIGKILL)
                worker.wait()
            for thread in threads:
                # A process that a worker started may hold the pipe for longer.
                thread.join(timeout=1.0)


def free_ports(count: int) -> list[int]:
    """Returns different ports that are free on the loopback address."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def core_shares(count: int) -> list[set[int]]:
    """Splits the cores this process may use into `count` shares.

    Shares are disjoint unless there are more workers than cores.

    Raises:
        ValueError: If this system cannot bind processes to cores.
    """
    if not hasattr(os, "sched_getaffinity"):
        raise ValueError("Only Linux can bind workers to cores: drop --pin.")
    cores = sorted(os.sched_getaffinity(0))
    bounds = [index * len(cores) // count for index in range(count + 1)]
    return [
        set(cores[bounds[index] : bounds[index + 1]])
        or {cores[index % len(cores)]}
        for index in range(count)
    ]


def _start(command, ports, index, cores):
    """Starts a worker in a session of its own, which Ctrl-C does not reach."""
    config = {
        "cluster": {"worker": [f"127.0.0.1:{port}" for port in ports]},
        "task": {"type": "worker", "index": index},
    }
    environment = {**os.environ, "TF_CONFIG": json.dumps(config)}
    if cores:
        environment["TF_NUM_INTRAOP_THREADS"] = str(len(cores))
        environment["OMP_NUM_THREADS"] = str(len(cores))
    worker = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if index else None,
        stderr=subprocess.STDOUT if index else None,
        start_new_session=True,
    )
    if cores:
        os.sched_setaffinity(worker.pid, cores)
    return worker


def _forward_output(worker, index):
    """Copies a worker's lines to stderr in a thread, with its number."""

    def copy():
        for line in worker.stdout:
            # Where nobody reads any more the worker must still not block.
            with contextlib.suppress(OSError, ValueError):
                line = b"[worker %d] %s\n" % (index, line.rstrip(b"\n"))
                sys.stderr.buffer.write(line)
                sys.stderr.buffer.flush()

    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    return thread


def _wait(workers, received, ending_seconds, saving_seconds):
    """Waits for all workers; returns the exit code for the command."""
    result, deadline, told = 0, math.inf, False
    while True:
        codes = [_exit_code(worker) for worker in workers]
        for index, code in enumerate(codes):
            if code in _STOPPED and not result:
                result, deadline = code, time.monotonic() + saving_seconds
            elif code and code not in _STOPPED and result in (0, *_STOPPED):
                result, deadline = code, time.monotonic() + ending_seconds
                logging.error("Worker %d ended with exit code %d.", index, code)
        if None not in codes:
            return result
        if len(received) > 1:
            logging.error("Stopped at once; workers were killed.")
            return 128 + received[1]
        if time.monotonic() > deadline:
            logging.error("Workers that did not end were killed.")
            return result
        if not told and (received or result not in (0, *_STOPPED)):
            told = True
            interrupted = signal.SIGINT in received
            for worker in workers:
                worker.send_signal(
                    signal.SIGINT if interrupted else signal.SIGTERM
                )
        time.sleep(_POLL_SECONDS)


def _exit_code(worker):
    """Returns the exit code as shells give it, or None while it runs."""
    code = worker.poll()
    return code if code is None or code >= 0 else 128 - code
