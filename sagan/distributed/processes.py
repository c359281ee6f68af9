"""The workers of one cluster on this machine: started and ended together."""

import contextlib
import ctypes
import functools
import json
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
_KILL_WITH_PARENT = 1  # PR_SET_PDEATHSIG in linux/prctl.h.


# Exit codes of a worker that was told to stop, or heard that another was.
_STOPPED = (128 + signal.SIGTERM, 128 + signal.SIGINT)
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


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


def run_workers(
    command: Sequence[str],
    count: int,
    pin: bool = False,
    ending_seconds: float = 20.0,
    saving_seconds: float = 300.0,
    stopping_seconds: float = 8.0,
) -> int:
    """Runs a command as every worker of a cluster, and waits for all of them.

    Each finds its place in the environment variable TF_CONFIG. Output of
    worker 0 comes through as it is; lines of the others begin with
    "[worker 1] ". If one fails, the rest get `ending_seconds` to notice it and
    end, then SIGTERM, and `stopping_seconds` later SIGKILL; if one has stopped
    because of a signal, they get `saving_seconds`. The first signal to this
    process is passed on, upon which workers save and end; a second kills them.
    They die with this process, whatever ends it (on Linux).

    Args:
        command: Program and arguments, the same for all.
        count: How many workers.
        pin: Whether each is bound to its own share of the processor's cores.
        ending_seconds: Time to end without being told, after one failed.
        saving_seconds: The same, after one stopped in order.
        stopping_seconds: Time from SIGTERM to SIGKILL, after that.

    Returns:
        0 if all ended well; otherwise the exit code of the first that failed
        or, if none did, stopped: 128 and a signal's number where that ended it.

    Raises:
        ValueError: If `pin` is asked for where it cannot be done.
    """
    ports = free_ports(count)
    shares = core_shares(count) if pin else [None] * count
    workers = []
    with received_signals() as received:
        try:
            for index in range(count):
                environment = worker_environment(ports, index, shares[index])
                workers.append(
                    _Worker(command, index, environment, shares[index])
                )
            # Only now: a process that has threads must not fork.
            for worker in workers:
                worker.forward_output()
            limits = ending_seconds, saving_seconds, stopping_seconds
            return _watch(workers, received, *limits)
        finally:
            for worker in workers:
                worker.close()


def free_ports(count: int) -> list[int]:
    """Returns different ports that are free on the loopback address."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def core_shares(count: int) -> list[set[int]]:
    """Cuts the cores this process may use into `count` shares.

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


def worker_environment(
    ports: Sequence[int], index: int, cores: set[int] | None = None
) -> dict[str, str]:
    """Returns this process's environment with what tells a worker its place."""
    addresses = [f"127.0.0.1:{port}" for port in ports]
    config = {
        "cluster": {"worker": addresses},
        "task": {"type": "worker", "index": index},
    }
    environment = {**os.environ, "TF_CONFIG": json.dumps(config)}
    if cores:
        environment["TF_NUM_INTRAOP_THREADS"] = str(len(cores))
        environment["OMP_NUM_THREADS"] = str(len(cores))
    return environment


class _Worker:
    """One process.

    It has a session of its own, so that Ctrl-C in a terminal reaches it once,
    through this process.
    """

    def __init__(self, command, index, environment, cores):
        self.index = index
        self.killed = False
        self.threads = []
        piped = subprocess.PIPE if index else None
        self.popen = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=piped,
            stderr=piped,
            start_new_session=True,
            preexec_fn=functools.partial(_before_exec, os.getpid(), cores),
        )

    def forward_output(self):
        if not self.index:
            return
        for source, sink in (
            (self.popen.stdout, sys.stdout),
            (self.popen.stderr, sys.stderr),
        ):
            thread = threading.Thread(
                target=_forward, args=(source, sink, self.index), daemon=True
            )
            thread.start()
            self.threads.append(thread)

    def kill(self):
        """Kills the process and those that it started."""
        if self.popen.poll() is None:
            self.killed = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.popen.pid, signal.SIGKILL)

    def close(self):
        self.kill()
        self.popen.wait()
        for thread in self.threads:
            # Does not wait for ever: a process it started may hold the pipe.
            thread.join(timeout=1.0)

    def exit_code(self):
        """As a shell gives it, or None while it runs."""
        code = self.popen.poll()
        return code if code is None or code >= 0 else 128 - code

    def has_stopped(self):
        """Whether it ended in order because of a signal."""
        return self.popen.poll() in _STOPPED

    def ending(self):
        code = self.popen.poll()
        if self.killed:
            return "had to be killed"
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"


def _watch(workers, received, ending_seconds, saving_seconds, stopping_seconds):
    """Waits for all workers and returns the exit code for the command."""
    passed_on = told = False
    first = ended_at = None  # Who failed first or, until one has, stopped.
    while True:
        all_ended = None not in [worker.exit_code() for worker in workers]
        if first is None or first.has_stopped():
            found = _failed_or_stopped(workers)
            if found is not first:
                first, ended_at = found, time.monotonic()
        if all_ended:
            break
        if received and not passed_on:
            passed_on = True
            hung_up = received[0] == signal.SIGHUP
            _send_all(workers, signal.SIGTERM if hung_up else received[0])
        if len(received) > 1:
            logging.error("Stopped at once; workers were killed.")
            return 128 + received[1]
        if first:
            seconds = saving_seconds if first.has_stopped() else ending_seconds
            waited = time.monotonic() - ended_at
            if waited > seconds and not told:
                told = True
                _send_all(workers, signal.SIGTERM)
            if waited > seconds + stopping_seconds:
                for worker in workers:
                    worker.kill()
        time.sleep(_POLL_SECONDS)
    if first and not first.has_stopped():
        _report(first, workers)
    return first.exit_code() if first else 0


def _failed_or_stopped(workers):
    """Returns one that failed, or else one that stopped, or None."""
    ended = [worker for worker in workers if worker.exit_code()]
    return min(ended, key=_Worker.has_stopped, default=None)


def _report(first, workers):
    """Says in one line how each worker ended."""
    line = f"Worker {first.index} {first.ending()}"
    for worker in workers:
        if worker is not first:
            line += f"; worker {worker.index} {worker.ending()}"
    logging.error("%s.", line)


def _send_all(workers, number):
    for worker in workers:
        worker.popen.send_signal(number)  # Of one that has ended: nothing.


def _before_exec(parent, cores):
    """Runs in the new process before its program starts."""
    if _LIBC is not None:
        _LIBC.prctl(_KILL_WITH_PARENT, int(signal.SIGKILL))
        if os.getppid() != parent:  # It ended before that was set.
            os._exit(1)
    if cores:
        os.sched_setaffinity(0, cores)


def _forward(source, sink, index):
    """Copies lines with the worker's number before each, until the end."""
    for line in source:
        # Where nobody reads any more the worker must still not block.
        with contextlib.suppress(OSError, ValueError):
            sink.buffer.write(b"[worker %d] %s\n" % (index, line.rstrip(b"\n")))
            sink.buffer.flush()
