"""The command, as a person types it."""

import re
import signal
import socket
import urllib.request

import pytest
from command_line import command, start

from sagan.explorer.listening import listen


def test_it_serves_until_ctrl_c(folders):
    # A script's background jobs ignore Ctrl-C, and their children do.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = start(
        command("explore", f"--workdir={folders['first']}", "--port=0")
    )
    signal.signal(signal.SIGINT, before)
    lines = []
    for line in process.stderr:
        lines.append(line)
        if found := re.search(r"until Ctrl-C: (http://127\.0\.0\.1:\d+)", line):
            break
    else:
        raise AssertionError(lines)
    with urllib.request.urlopen(f"{found[1]}/runs.json", timeout=60) as answer:
        assert b'"name":"first"' in answer.read()
    process.send_signal(signal.SIGINT)
    lines += process.communicate(timeout=60)[1].splitlines(keepends=True)
    assert process.returncode == 0, lines
    assert "Closed." in lines[-1]
    assert len(lines) <= 4, lines


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"--port={port} cannot be served"):
            listen("127.0.0.1", port)
    with pytest.raises(ValueError, match="--host=no.such.host"):
        listen("no.such.host", 0)
