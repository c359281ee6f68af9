"""The loop: resuming, refusing, stopping, and what it leaves behind."""

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from sagan.config import parse_config
from sagan.runs.checkpoints import checkpoint_steps, read_checkpoint
from sagan.runs.files import lock_run
from sagan.runs.logs import read_metrics
from sagan.runs.record import check_images, record_session
from sagan.training import train as training
from sagan.training.loop import step_calls
from sagan.training.stability import Health
from sagan.training.train import train

TINY = (
    "BASE_CHANNELS = 2",
    "BATCH_SIZE = 4",
    "train.num_samples = 8",
    "train.log_every = 1",
    "train.save_every = 2",
    "train.sample_every = 4",
    "make_dataset.num_examples = 64",
)


def run(workdir, *bindings):
    parse_config(["configs/synthetic.gin"], [*TINY, *bindings])
    train(workdir=str(workdir))


@pytest.fixture(autouse=True)
def _project_root(monkeypatch):
    """Configs are named as a person in the project's root would."""
    monkeypatch.chdir(__file__.rpartition("/tests/")[0])


@pytest.mark.parametrize(
    ("compiled", "settings"),
    [
        (True, ("train.d_steps = 2",)),
        (
            False,
            ("train.accumulation = 2", "build_discriminator.recompute = True"),
        ),
    ],
    ids=str,
)
def test_resumed_run_equals_the_undisturbed_one_to_the_bit(
    tmp_path, request, compiled, settings
):
    if not compiled:
        request.getfixturevalue("run_eagerly")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(whole, "NUM_STEPS = 4", *settings)
    run(parts, "NUM_STEPS = 2", *settings)
    run(parts, "NUM_STEPS = 4", *settings)
    expected = read_checkpoint(whole / "checkpoints")
    np.testing.assert_equal(read_checkpoint(parts / "checkpoints"), expected)
    assert len(expected) > 100
    for one, other in zip(
        read_metrics(whole), read_metrics(parts), strict=True
    ):
        for name in ("step", "d_loss", "g_loss", "g_gradient_norm"):
            assert one[name] == other[name]
    grids = "samples/step_00000004_{}.png"
    for name in ("raw", "ema"):
        name = grids.format(name)
        assert (whole / name).read_bytes() == (parts / name).read_bytes()


def test_steps_in_one_call_are_the_same_steps_to_the_bit(tmp_path):
    one, several = tmp_path / "one", tmp_path / "several"
    run(one, "NUM_STEPS = 5")
    # The calls after the resumption are of one step and of two.
    run(several, "NUM_STEPS = 3")
    run(several, "NUM_STEPS = 5", "train.steps_per_call = 2",
        "train.log_every = 2")  # fmt: skip
    np.testing.assert_equal(
        read_checkpoint(several / "checkpoints"),
        read_checkpoint(one / "checkpoints"),
    )
    logged = {line["step"]: line for line in read_metrics(several)}
    assert sorted(logged) == [1, 2, 3, 4, 5]
    for line in read_metrics(one):
        assert logged[line["step"]]["d_loss"] == line["d_loss"]


@pytest.mark.parametrize(
    ("start", "num_steps", "size", "expected"),
    [
        (0, 5, 1, [[1], [2], [3], [4], [5]]),
        (0, 5, 2, [[1, 2], [3, 4], [5]]),
        (3, 8, 4, [[4], [5, 6, 7, 8]]),
        (4, 8, 4, [[5, 6, 7, 8]]),
        (2, 3, 10, [[3]]),
    ],
)
def test_calls_end_at_multiples_of_their_size(start, num_steps, size, expected):
    calls = step_calls(start, num_steps, size)
    assert [list(steps) for steps in calls] == expected


def test_leaves_what_it_promises(tmp_path):
    run(tmp_path, "NUM_STEPS = 5")
    assert checkpoint_steps(tmp_path / "checkpoints") == [2, 4, 5]
    lines = read_metrics(tmp_path)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5]
    expected = {
        "d_loss", "g_loss", "real_logits", "fake_logits", "real_accuracy",
        "fake_accuracy", "real_std", "fake_std", "d_gradient_norm",
        "g_gradient_norm", "images_per_second", "step_seconds",
        "input_seconds", "peak_memory_gb", "generator/gamma/attention_16",
        "discriminator/gamma/attention_16", "generator/sigma/Dense",
        "generator/sigma/Conv3x3", "generator/sigma/Pointwise",
        "discriminator/sigma/Dense", "discriminator/sigma/Conv3x3",
        "discriminator/sigma/Pointwise", "discriminator/sigma/ClassEmbedding",
        "g_learning_rate", "d_learning_rate", "g_loss_scale", "d_loss_scale",
        "g_skipped_updates", "d_skipped_updates",
    }  # fmt: skip
    scores = {
        f"score/{name}_{weights}"
        for name in (
            *("agreement", "agreement_if_found", "both_found", "colour"),
            *("colour_if_found", "kind", "kind_if_found"),
        )
        for weights in ("raw", "ema")
    }
    for line in lines:
        sampled = scores if line["step"] in (4, 5) else set()
        assert line.keys() == expected | {"step"} | sampled
        # Of untrained samples none may be found; there is nothing to agree.
        undefined = {name for name, value in line.items() if value is None}
        assert undefined <= {n for n in sampled if "_if_found" in n}
        assert all(np.isfinite(v) for v in line.values() if v is not None)
    # 8 images of 32 pixels in one row, 2 pixels apart.
    for name in ("real", "step_00000004_raw", "step_00000005_ema"):
        with Image.open(tmp_path / f"samples/{name}.png") as image:
            assert image.size == (8 * 34 - 2, 32)
    events = list((tmp_path / "tensorboard").glob("events*"))
    tags = {
        value.tag
        for event in tf.compat.v1.train.summary_iterator(str(events[0]))
        for value in event.summary.value
    }
    assert tags == expected | scores | {"samples_raw", "samples_ema"}
    session = json.loads((tmp_path / "sessions.jsonl").read_text())
    assert session["tensorflow"] == tf.__version__
    assert session["step"] == 0


def test_float16_scales_the_loss_and_counts_what_it_skips(tmp_path):
    run(tmp_path, "NUM_STEPS = 2", "PRECISION = 'mixed_float16'")
    first, second = read_metrics(tmp_path)
    for line in (first, second):
        for letter in "gd":
            skipped = line[f"{letter}_skipped_updates"]
            # Each skipped update halves the scale, which starts at 2**15.
            assert line[f"{letter}_loss_scale"] == 2.0 ** (15 - skipped)


@pytest.mark.usefixtures("run_eagerly")
def test_metrics_behind_the_checkpoint_are_made_again(tmp_path):
    run(tmp_path, "NUM_STEPS = 2")
    path = tmp_path / "metrics.jsonl"
    with path.open("ab") as file:
        file.write(b'null\n\xff\x00{\n{"d_loss": 9}\n')
        file.write(b'{"step": 3, "d_loss": 9}\n{"step": 4, "d_lo')
    run(tmp_path, "NUM_STEPS = 3")
    lines = read_metrics(tmp_path)
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert lines[-1]["d_loss"] != 9


@pytest.mark.usefixtures("run_eagerly")
def test_refuses_to_go_on_with_other_hyperparameters(tmp_path):
    run(tmp_path, "NUM_STEPS = 2")
    before = read_checkpoint(tmp_path / "checkpoints")
    with pytest.raises(ValueError, match=r"batch_size: 4 -> 8"):
        run(tmp_path, "NUM_STEPS = 4", "BATCH_SIZE = 8")
    with pytest.raises(ValueError, match=r"g_learning_rate: .* -> 0.1"):
        run(tmp_path, "make_optimizers.g_learning_rate = 0.1")
    with pytest.raises(ValueError, match=r"train.accumulation: 1 -> 2"):
        run(tmp_path, "NUM_STEPS = 4", "train.accumulation = 2")
    # Without the operative config, by the config as asked.
    (tmp_path / "operative_config.gin").write_text("")
    with pytest.raises(ValueError, match=r"batch_size: 4 -> 8"):
        run(tmp_path, "NUM_STEPS = 4", "BATCH_SIZE = 8")
    np.testing.assert_equal(read_checkpoint(tmp_path / "checkpoints"), before)
    run(
        tmp_path,
        "NUM_STEPS = 3",
        "train.log_every = 7",
        "train.keep_last = 1",
        "build_generator.recompute = True",
    )
    assert checkpoint_steps(tmp_path / "checkpoints") == [3]


def test_images_that_vanish_stop_the_run_until_they_are_back(
    tmp_path, monkeypatch
):
    images, away, workdir = (tmp_path / n for n in ("images", "away", "run"))
    images.mkdir()
    for i in range(8):
        pixels = np.random.default_rng(i).integers(0, 256, [32, 32, 3])
        Image.fromarray(pixels.astype(np.uint8)).save(images / f"{i}.png")
    settings = (
        f"make_dataset.name = 'folder:{images}'",
        "make_dataset.num_examples = None",
        "make_dataset.cache = False",
        "NUM_CLASSES = 0",
    )
    seen = []

    def run_steps(gan, batches, calls, *others):
        """The loop without the steps themselves, which take long to trace."""
        outputs = others[-1]
        for (step,) in calls:
            next(batches)
            seen.append(step)
            if step == 2:
                outputs.checkpoints.save(step)
                images.rename(away)

    monkeypatch.setattr(training, "run_steps", run_steps)
    with pytest.raises(OSError, match=r"images/\d.png: FileNotFoundError"):
        run(workdir, "NUM_STEPS = 500", *settings)
    before = read_checkpoint(workdir / "checkpoints")
    away.rename(images)
    seen.clear()
    run(workdir, "NUM_STEPS = 4", *settings)
    assert seen == [3, 4]
    np.testing.assert_equal(read_checkpoint(workdir / "checkpoints"), before)
    (images / "7.png").unlink()
    with pytest.raises(ValueError, match=f"7 images, and had 8 .*{workdir}"):
        run(workdir, "NUM_STEPS = 4", *settings)


def test_images_that_differ_in_number_are_noticed(tmp_path, caplog):
    check_images(tmp_path, 1000)
    record_session(tmp_path, 0, 1000)
    with (tmp_path / "sessions.jsonl").open("a") as file:
        file.write('{"step": 1}\n{"step": 2, "ima')
    check_images(tmp_path, 1000)
    record_session(tmp_path, 2, 999)  # Not glued to the torn line.
    check_images(tmp_path, 999)
    assert not caplog.records
    record_session(tmp_path, 2, 1000)
    check_images(tmp_path, 990)
    assert "has 990 images, and had 1000" in caplog.text
    for number in (989, 1011):
        with pytest.raises(ValueError, match=f"has {number} images.*--workdir"):
            check_images(tmp_path, number)


def test_one_process_at_a_time_has_the_folder(tmp_path):
    held = lock_run(tmp_path / "run")
    with held, pytest.raises(ValueError, match="Another process is training"):
        run(tmp_path / "run", "NUM_STEPS = 1")
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_a_folder_that_cannot_be_made_is_named_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    for place in ("file", "file/run", "file/a/run"):
        with pytest.raises(ValueError, match=f"--workdir=.*{place}.*no folder"):
            run(tmp_path / place, "NUM_STEPS = 1")


@pytest.mark.usefixtures("run_eagerly")
def test_finished_run_is_left_alone(tmp_path):
    run(tmp_path, "NUM_STEPS = 2")
    before = (tmp_path / "metrics.jsonl").read_bytes()
    run(tmp_path, "NUM_STEPS = 2")
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_values_that_are_not_finite_stop_the_run(tmp_path):
    with pytest.raises(FloatingPointError) as error:
        run(
            tmp_path,
            "NUM_STEPS = 20",
            "make_optimizers.g_learning_rate = 1e30",
            "train.save_every = 1",
        )
    message = str(error.value)
    assert "Step " in message
    assert "_loss is" in message
    # What it calls good has finite weights.
    newest = checkpoint_steps(tmp_path / "checkpoints")[-1]
    assert f"step_{newest:08d}" in message
    for name, tensor in read_checkpoint(tmp_path / "checkpoints").items():
        assert np.all(np.isfinite(tensor)), name


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ("NUM_STEPS = 0", r"train.num_steps is 0"),
        ("train.d_steps = 1.5", r"train.d_steps is 1.5"),
        ("train.accumulation = 3", r"batch_size is 4.*accumulation = 3"),
        ("train.accumulation = 0", r"train.accumulation is 0"),
        ("POINTWISE = 'conv'", r"'conv'.*conv2d"),
        ("PRECISION = 'fp16'", r"'fp16'.*mixed_float16"),
        ("IMAGE_SIZE = 48", r"48.*32, 64, 128, 256"),
        ("ATTENTION_RESOLUTIONS = (12,)", r"\[12\].*4, 8, 16, 32"),
        ("build_generator.image_size = 64", r"generator is built for"),
        ("build_discriminator.num_classes = 0", r"discriminator is built for"),
        ("build_generator.precision = 'mixed_bfloat16'", r"must be the same"),
        ("train.keep_last = 0", r"keep_last is 0"),
        ("train.steps_per_call = 3", r"log_every is 1: .* which is 3"),
        ("train.ema_decay = 1.5", r"train.ema_decay is 1.5"),
        ("train.on_nan = 'ignore'", r"on_nan is 'ignore'.*stop, restore"),
        ("train.strategy = 'horovod'", r"strategy is 'horovod'.*none, mirr"),
        ("train.num_replicas = 0", r"num_replicas is 0: expected an integer"),
        ("train.max_restores = -1", r"train.max_restores is -1"),
        ("train.jit_compile = 'False'", r"train.jit_compile is 'False'"),
        ("make_dataset.flip = 'False'", r"make_dataset.flip is 'False'"),
        ("make_dataset.crop_size = 0", r"crop_size .* at least 1"),
        ("build_generator.spectral_norm = 1", r"spectral_norm is 1"),
        ("make_optimizers.g_learning_rate = '1'", r"g_learning_rate is '1'"),
        ("make_optimizers.d_beta_2 = 1.0", r"d_beta_2 is 1.0"),
        ("make_dataset.data_dir = 'x'", r"data_dir"),
    ],
)
def test_bad_setting_gets_one_clear_error(tmp_path, binding, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path, "NUM_STEPS = 1", binding)
    assert not checkpoint_steps(tmp_path / "checkpoints")


def test_signs_of_collapse_are_logged_once(caplog):
    health = Health(scaled_loss=False)
    fine = {
        "fake_std": 0.5, "real_std": 0.5,
        "real_accuracy": 0.9, "fake_accuracy": 1.0,
    }  # fmt: skip
    health.check_collapse(1, fine)
    assert not caplog.records
    for step in range(2, 4):
        health.check_collapse(step, fine | {"fake_std": 0.01})
    assert [record.getMessage()[:7] for record in caplog.records] == ["Step 2:"]
    assert "hardly differ" in caplog.text
    for step in range(4, 40):
        health.check_collapse(step, fine | {"real_accuracy": 1.0})
    assert caplog.text.count("told every image apart") == 1
    blind = {"real_accuracy": 1.0, "fake_accuracy": 0.0}
    for step in range(40, 80):
        health.check_collapse(step, fine | blind)
    assert caplog.text.count("all logits had one sign") == 1
    count = len(caplog.records)
    health.check_collapse(80, fine | {"real_std": 0.0, "fake_std": 0.0})
    assert len(caplog.records) == count


def test_loss_scaling_tolerates_some_overflow():
    health = Health(scaled_loss=True)
    for step in range(30):
        assert not health.check_finite(step, {"d_loss": np.inf}, lambda: None)
    with pytest.raises(FloatingPointError, match="Step 30: d_loss is inf"):
        health.check_finite(30, {"d_loss": np.inf}, lambda: None)
    assert health.check_finite(31, {"d_loss": 1.0}, lambda: None)
    assert not health.check_finite(32, {"d_loss": np.nan}, lambda: None)
