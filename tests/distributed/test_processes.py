"""Workers of one machine: told their place, watched, and never left over."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from sagan.distributed import processes as worker_processes
from sagan.distributed.processes import core_shares, free_ports

RUN = (
    "import json, signal, sys\n"
    "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # Whoever runs the tests.
    "from sagan.distributed.processes import run_workers\n"
    "sys.exit(run_workers(sys.argv[2:], **json.loads(sys.argv[1])))"
)
WORKER = """
import json, os, signal, sys, time
config = json.loads(os.environ["TF_CONFIG"])
index = config["task"]["index"]
def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\\n")
    sys.stdout.flush()
"""
WAIT_FOR_SIGNALS = """
got = []
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, frame: got.append(number))
say("pid", os.getpid())
"""


def start(body, count=2, **kwargs):
    """Starts the workers in a session of their own, as a terminal has it."""
    options = json.dumps({"count": count, **kwargs})
    return subprocess.Popen(
        [sys.executable, "-c", RUN, options, sys.executable, "-c"]
        + [WORKER + body],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(body, **kwargs):
    process = start(body, **kwargs)
    output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


def pids(process, count=2):
    """Reads what workers say once they are ready."""
    return [int(process.stdout.readline().split()[-1]) for _ in range(count)]


def is_alive(number):
    try:
        with open(f"/proc/{number}/stat") as file:
            # Dead, but nobody has asked how it ended: state Z.
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_each_worker_knows_its_place_and_signs_its_lines():
    code, output, errors = run(
        "say(os.environ['TF_CONFIG'])\n"
        "sys.stderr.write(f'error of {index}, no newline')",
        count=3,
    )
    assert code == 0
    lines = dict(
        line.split("] ") if line.startswith("[") else ("[worker 0", line)
        for line in output.splitlines()
    )
    configs = [json.loads(lines[f"[worker {index}"]) for index in range(3)]
    addresses = configs[0]["cluster"]["worker"]
    assert len(set(addresses)) == 3
    assert all(each.startswith("127.0.0.1:") for each in addresses)
    for index, config in enumerate(configs):
        assert config["cluster"] == configs[0]["cluster"]
        assert config["task"] == {"type": "worker", "index": index}
    assert "[worker 2] error of 2, no newline\n" in errors
    assert "error of 0, no newline" in errors
    assert "[worker 0]" not in errors


def test_ports_are_different():
    assert len(set(free_ports(50))) == 50


@pytest.mark.parametrize(
    ("body", "code", "line"),
    [
        (
            "sys.exit(3 * index)",
            3,
            "Worker 1 ended with exit code 3; worker 0 ended with exit code 0.",
        ),
        (
            "if index: os.kill(os.getpid(), signal.SIGKILL)\n"
            "time.sleep(0.5)\nsys.exit(1)",
            137,
            "Worker 1 was ended by SIGKILL; worker 0 ended with exit code 1.",
        ),
        (
            "if not index: sys.exit(4)\ntime.sleep(60)",
            4,
            "Worker 0 ended with exit code 4; worker 1 was ended by SIGTERM.",
        ),
        (
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "if index: time.sleep(0.3); sys.exit(5)\n"
            "time.sleep(60)",
            5,
            "Worker 1 ended with exit code 5; worker 0 had to be killed.",
        ),
    ],
    ids=["exit code", "signal", "told to end", "ignores it"],
)
def test_first_failure_is_named_and_ends_the_rest(body, code, line):
    started = time.monotonic()
    result = run(body, ending_seconds=1.0, stopping_seconds=0.5)
    assert time.monotonic() - started < 20
    assert result[0] == code
    assert result[2].splitlines()[-1].endswith(line)


def test_worker_that_stopped_has_not_failed():
    """The chief saves, longer than it may take to notice a lost worker."""
    code, output, errors = run(
        "if not index: time.sleep(1.0); say('saved')\nsys.exit(143)",
        ending_seconds=0.2,
    )
    assert (code, output, errors) == (143, "saved\n", "")


@pytest.mark.parametrize(
    ("number", "passed_on"),
    [
        (signal.SIGTERM, signal.SIGTERM),
        (signal.SIGINT, signal.SIGINT),
        (signal.SIGHUP, signal.SIGTERM),  # A terminal that is closed.
    ],
)
def test_signal_reaches_every_worker_once(number, passed_on):
    process = start(
        WAIT_FOR_SIGNALS
        + "while not got: time.sleep(0.01)\n"
        + "time.sleep(0.5)\nsay('got', *map(int, got))\n"
        + "sys.exit(128 + got[0])"
    )
    pids(process)
    # To the whole group, as a terminal does with Ctrl-C.
    os.killpg(process.pid, number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + passed_on
    assert sorted(output.splitlines()) == [
        f"[worker 1] got {int(passed_on)}",
        f"got {int(passed_on)}",
    ]
    assert errors == ""


def test_second_signal_kills():
    process = start(WAIT_FOR_SIGNALS + "while True: time.sleep(0.1)")
    pids(process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    # The pipes end only when nobody holds them any more.
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 128 + signal.SIGTERM
    assert "workers were killed" in errors


@pytest.mark.skipif(sys.platform != "linux", reason="Linux kills them.")
def test_no_worker_outlives_a_killed_launcher():
    process = start(WAIT_FOR_SIGNALS + "while True: time.sleep(0.1)")
    workers = pids(process)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while any(map(is_alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_alive, workers))


def test_output_that_nobody_reads_blocks_no_worker():
    process = start("for _ in range(40000 * index): say('line')\ntime.sleep(1)")
    process.stdout.close()
    assert process.wait(timeout=60) == 0


def test_cores_are_shared_out(monkeypatch):
    monkeypatch.setattr(
        worker_processes.os, "sched_getaffinity", lambda _: {3, 5, 6, 7, 9}
    )
    assert core_shares(2) == [{3, 5}, {6, 7, 9}]
    assert core_shares(1) == [{3, 5, 6, 7, 9}]
    assert core_shares(7) == [{3}, {3}, {5}, {7}, {6}, {7}, {9}]


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity"), reason="Only Linux binds to cores."
)
def test_pinned_worker_stays_on_its_cores():
    code, output, _ = run(
        "say(sorted(os.sched_getaffinity(0)), "
        "os.environ['TF_NUM_INTRAOP_THREADS'])",
        pin=True,
    )
    assert code == 0
    expected = [f"{sorted(share)} {len(share)}" for share in core_shares(2)]
    lines = [line.removeprefix("[worker 1] ") for line in output.splitlines()]
    assert sorted(lines) == sorted(expected)
