"""A run's folder: full, read-only, held, and told to stop."""

import errno
import fcntl
import itertools
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from sagan.cli import interrupt_on_sigterm
from sagan.runs.checkpoints import Checkpoints
from sagan.runs.files import (
    check_writable,
    explain_write_errors,
    lock_run,
    write_text,
)
from sagan.runs.logs import RunLog, read_metrics
from sagan.runs.sample_grids import save_png
from sagan.runs.signals import stop_signals

FULL = r"No space left on device: .* \(file system .*small, 0\.\d MB free\)"


def _mount(path, options):
    return subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)],
        capture_output=True,
        text=True,
    )


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 512 kB."""
    path = tmp_path / "small"
    path.mkdir()
    try:
        result = _mount(path, "size=512k")
    except FileNotFoundError:
        pytest.skip("There is no mount command to make a small disk with.")
    if result.returncode:
        pytest.skip(f"A small disk cannot be mounted: {result.stderr.strip()}")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def _fill(path, leave):
    status = os.statvfs(path)
    size = status.f_bavail * status.f_frsize - leave
    (path / "other").write_bytes(b"\0" * size)


def _contents(value):
    return {"weights": tf.Variable(np.full(25_000, value, np.float32))}


def test_a_full_disk_leaves_the_checkpoints_and_says_so(small_disk):
    for leave in (0, 60_000, 110_000):  # It takes 100 kB.
        contents = _contents(1.0)
        checkpoints = Checkpoints(small_disk / "run", contents)
        checkpoints.save(1)
        _fill(small_disk, leave)
        contents["weights"].assign_add(tf.ones(25_000))
        if leave < 100_000:
            with (
                pytest.raises(OSError, match=FULL),
                explain_write_errors(small_disk / "run"),
            ):
                checkpoints.save(2)
            assert os.listdir(small_disk / "run") == ["step_00000001"]
        (small_disk / "other").unlink()
        checkpoints.save(2)
        fresh = _contents(0.0)
        assert Checkpoints(small_disk / "run", fresh).restore_latest() == 2
        np.testing.assert_equal(fresh["weights"].numpy(), 2.0)
        shutil.rmtree(small_disk / "run")


def test_a_full_disk_stops_records_and_grids(small_disk):
    run = small_disk / "run"

    def log_for_ever():
        with lock_run(run), RunLog(run, 0, 1000, images_per_step=1) as log:
            _fill(small_disk, leave=8_192)
            for step in itertools.count(1):
                log.advance(1)
                names = ("d_loss", "g_loss", "images_per_second")
                log.scalars(step, dict.fromkeys(names, 1.0))

    with pytest.raises(OSError, match=FULL):
        log_for_ever()
    written = [line["step"] for line in read_metrics(run)]
    assert written == list(range(1, len(written) + 1))
    noise = np.random.default_rng(0).integers(0, 256, (99, 99, 3), np.uint8)
    grid = run / "samples" / "grid.png"
    with pytest.raises(OSError, match=FULL), lock_run(run):
        save_png(grid, noise)
    assert not list(run.rglob("*grid.png"))
    (small_disk / "other").unlink()
    with lock_run(run):
        save_png(grid, noise)
    assert grid.exists()


def test_a_read_only_disk_is_named(small_disk):
    run = small_disk / "run"
    with lock_run(run):
        pass
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    message = "Read-only file system: .* Make it writable"
    with pytest.raises(OSError, match=message), explain_write_errors(run):
        write_text(run / "config.gin", "A = 1")
    for path in (run, small_disk / "new"):
        with pytest.raises(ValueError, match=r"small.* cannot be written"):
            check_writable(path)


def test_a_place_where_the_system_makes_no_files_is_named():
    """Also for root, whom permissions do not hold back."""
    with pytest.raises(ValueError, match="--out=/proc/new/run .* be written"):
        check_writable("/proc/new/run", "--out")


def test_text_is_written_whole(tmp_path):
    path = tmp_path / "new" / f"{'n' * 251}.gin"  # The longest name.
    write_text(path, "A = 1\n")
    write_text(path, "A = 2\n")
    assert path.read_text() == "A = 2\n"
    assert list(path.parent.iterdir()) == [path]


def test_the_lock_ends_with_its_process(tmp_path):
    script = (
        "import sys, time; from sagan.runs.files import lock_run\n"
        f"with lock_run({str(tmp_path)!r}):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(ValueError, match="Another process"), lock_run(tmp_path):
        pass
    holder.kill()
    holder.wait()
    (tmp_path / ".partial_1_config.gin").write_text("half")
    with lock_run(tmp_path):
        assert os.listdir(tmp_path) == [".lock"]


def test_without_locks_there_is_a_warning(tmp_path, monkeypatch, caplog):
    def flock(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with lock_run(tmp_path):
        assert "has no locks (No locks available)" in caplog.text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_interrupts(
    tmp_path, monkeypatch, number
):
    checkpoints = Checkpoints(tmp_path, _contents(1.0))
    checkpoints.save(1)

    def save_when_told_twice():
        with stop_signals() as stop:
            signal.raise_signal(number)
            assert stop.requested == number.name
            monkeypatch.setattr(
                "sagan.runs.checkpoints._flush",
                lambda folder: signal.raise_signal(number),
            )
            checkpoints.save(2)

    previous = signal.getsignal(signal.SIGTERM)
    interrupt_on_sigterm()
    # A shell has its background jobs ignore it.
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            save_when_told_twice()
    finally:
        signal.signal(signal.SIGTERM, previous)
        signal.signal(signal.SIGINT, ignored)
    assert os.listdir(tmp_path) == ["step_00000001"]
