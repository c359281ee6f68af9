"""Workers of one machine: told their place, watched, and never left over."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from sagan.distributed import processes as worker_processes
from sagan.distributed.processes import core_shares, free_ports

RUN = (
    "import json, signal, sys\n"
    # Whatever those who run the tests ignore.
    "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
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
say("ready")
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


def wait_until_ready(process):
    process.stdout.readline()
    process.stderr.readline()


def test_each_worker_knows_its_place_and_signs_its_lines():
    code, output, errors = run(
        "say(os.environ['TF_CONFIG'])\n"
        "say(os.environ['TF_NUM_INTRAOP_THREADS'], os.sched_getaffinity(0))\n"
        "sys.stderr.write(f'error of {index}, no newline')",
        pin=True,
    )
    assert code == 0
    first, second = (
        output.splitlines(),
        re.findall(r"\[worker 1\] (.*)", errors),
    )
    for index, lines in enumerate((first, second)):
        config = json.loads(lines[0])
        assert config["task"] == {"type": "worker", "index": index}
        addresses = config["cluster"]["worker"]
        assert len(set(addresses)) == 2
        assert all(each.startswith("127.0.0.1:") for each in addresses)
        share = core_shares(2)[index]
        assert lines[1] == f"{len(share)} {share}"
    assert second[2] == "error of 1, no newline"
    assert "error of 0, no newline" in errors


def test_ports_are_different():
    assert len(set(free_ports(50))) == 50


@pytest.mark.parametrize(
    ("body", "code", "failed"),
    [
        ("sys.exit(3 * index)", 3, 1),
        ("if not index: sys.exit(4)\ntime.sleep(60)", 4, 0),
        (
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "if index: time.sleep(0.2); os.kill(os.getpid(), signal.SIGKILL)\n"
            "time.sleep(60)",
            128 + signal.SIGKILL,
            1,
        ),
    ],
    ids=["exit code", "rest are told", "rest are killed"],
)
def test_first_failure_is_named_and_ends_the_rest(body, code, failed):
    started = time.monotonic()
    result = run(body, ending_seconds=0.5)
    assert time.monotonic() - started < 20
    assert result[0] == code
    assert f"Worker {failed} ended with exit code {code}." in result[2]


def test_worker_that_stopped_has_not_failed():
    """The chief, which saves, is not disturbed."""
    code, output, errors = run(
        "if not index: time.sleep(0.5); say('saved')\nsys.exit(143)"
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
        + "time.sleep(0.2)\nsay('got', *map(int, got))\n"
        + "sys.exit(128 + got[0])"
    )
    wait_until_ready(process)
    # To the whole group, as a terminal does with Ctrl-C.
    os.killpg(process.pid, number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + passed_on
    assert output == f"got {int(passed_on)}\n"
    assert errors == f"[worker 1] got {int(passed_on)}\n"


def test_second_signal_kills():
    process = start(WAIT_FOR_SIGNALS + "while True: time.sleep(0.1)")
    wait_until_ready(process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    # The pipes end only when nobody holds them any more.
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 128 + signal.SIGTERM
    assert "workers were killed" in errors


def test_output_that_nobody_reads_blocks_no_worker():
    process = start("for _ in range(20000 * index): say('line')")
    process.stderr.close()
    assert process.wait(timeout=60) == 0


def test_cores_are_shared_out(monkeypatch):
    monkeypatch.setattr(
        worker_processes.os, "sched_getaffinity", lambda _: {3, 5, 6, 7, 9}
    )
    assert core_shares(2) == [{3, 5}, {6, 7, 9}]
    assert core_shares(1) == [{3, 5, 6, 7, 9}]
    assert core_shares(7) == [{3}, {3}, {5}, {7}, {6}, {7}, {9}]
