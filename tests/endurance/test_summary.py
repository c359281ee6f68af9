"""The predictions of a step beside what it takes, as a user runs them."""

import re

from command_line import command, run


def test_the_command_predicts_a_step_and_compares_it_with_steps_it_runs():
    result = run(
        command(
            *("summary", "--gin_config=configs/synthetic.gin"),
            *("--gin_bindings=BASE_CHANNELS=2", "--gin_bindings=BATCH_SIZE=4"),
            "--gin_bindings=ATTENTION_RESOLUTIONS=()",
            *("--memory=1", "--measure"),
        )
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    tables = [line for line in lines if line.startswith("blocks[0].conv1")]
    assert [line.split()[1] for line in tables] == ["8x8x8", "32x32x4"]
    assert "A step on a batch of 4:" in lines
    assert "share of 1x1 convolutions" in result.stdout
    assert "Largest batch in 1 GB" in result.stdout
    ratios = re.findall(r"predicted / measured (\d+\.\d\d)", result.stdout)
    assert len(ratios) == 2  # Of seconds and of memory.
    # Far off only if one of them is of something else.
    assert all(0.1 < float(ratio) < 10 for ratio in ratios), result.stdout
