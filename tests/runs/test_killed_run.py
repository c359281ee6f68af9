"""A run that is killed ends like the undisturbed one."""

import numpy as np
from command_line import run, start_and_wait, train_command

from sagan.runs.checkpoints import checkpoint_steps, read_checkpoint


def test_a_killed_run_resumes_and_ends_bitwise_equal(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    result = run(train_command(whole, "NUM_STEPS = 12"))
    assert result.returncode == 0, result.stderr
    command = train_command(killed, "NUM_STEPS = 12")
    process = start_and_wait(command, killed, 5)
    process.kill()
    process.wait()
    assert checkpoint_steps(killed / "checkpoints")[-1] < 12
    result = run(command)
    assert result.returncode == 0, result.stderr
    assert "Resuming at step" in result.stderr
    np.testing.assert_equal(
        read_checkpoint(killed / "checkpoints"),
        read_checkpoint(whole / "checkpoints"),
    )
