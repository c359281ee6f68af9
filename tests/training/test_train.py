"""A run: what it leaves behind, resumes from, refuses and stops at."""

import json
import shutil
import threading
import time

import gin
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from sagan.layers.pointwise import choose_implementation
from sagan.runs.checkpoints import checkpoint_steps, read_checkpoint
from sagan.runs.files import lock_run
from sagan.runs.logs import read_metrics

WHOLE = (
    "NUM_STEPS = 6",
    "NUM_CLASSES = 4",
    "ATTENTION_RESOLUTIONS = (16,)",
    "POINTWISE = 'auto'",
    "make_dataset.name = 'synthetic'",
    "make_dataset.num_examples = 16",
)
STARTED = (
    "NUM_STEPS = 2",
    "train.accumulation = 2",
    "build_discriminator.recompute = True",
)


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    """An undisturbed run of compiled steps."""
    folder = tmp_path_factory.mktemp("whole")
    run(
        folder,
        *WHOLE,
        "train.save_every = 4",
        "train.sample_every = 5",
        "train.attention_every = 6",
    )
    gin.clear_config()
    return folder


@pytest.fixture(scope="module")
def finished(run, tmp_path_factory):
    """A run that ended after two steps."""
    folder = tmp_path_factory.mktemp("finished")
    tf.config.run_functions_eagerly(True)
    run(folder, *STARTED)
    tf.config.run_functions_eagerly(False)
    gin.clear_config()
    return folder


def test_leaves_what_it_promises(whole):
    assert checkpoint_steps(whole / "checkpoints") == [4, 6]
    lines = read_metrics(whole)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
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
            *("colour_if_found", "colour_bits", "kind", "kind_if_found"),
        )
        for weights in ("raw", "ema")
    }
    looks = {
        f"attention/{network}/attention_16/{name}"
        for network in ("generator", "discriminator")
        for name in (
            *("change", "distance", "far", "entropy", "largest", "distinct"),
        )
    }
    for line in lines:
        sampled = scores if line["step"] in (5, 6) else set()
        sampled = sampled | (looks if line["step"] == 6 else set())
        assert line.keys() == expected | {"step"} | sampled
        # Of untrained samples none may be found; there is nothing to agree.
        undefined = {name for name, value in line.items() if value is None}
        assert undefined <= {n for n in sampled if "_if_found" in n}
        assert all(np.isfinite(v) for v in line.values() if v is not None)
    # 8 images of 32 pixels in one row, 2 pixels apart.
    for name in ("real", "step_00000005_raw", "step_00000006_ema"):
        with Image.open(whole / f"samples/{name}.png") as image:
            assert image.size == (8 * 34 - 2, 32)
    with Image.open(whole / "samples/step_00000006_attention.png") as image:
        assert image.size[0] >= 5 * 128
    (events,) = (whole / "tensorboard").glob("events*")
    tags = {
        value.tag
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
    }
    pictures = {"samples_raw", "samples_ema", "attention"}
    assert tags == expected | scores | looks | pictures
    session = json.loads((whole / "sessions.jsonl").read_text())
    assert session["tensorflow"] == tf.__version__
    assert session["step"] == 0
    assert session["pointwise"] == [choose_implementation()]


def test_resumed_run_is_bitwise_the_undisturbed_one(whole, tmp_path, run):
    """As if killed before step 6, and with two steps a call from then on."""
    resumed = shutil.copytree(whole, tmp_path / "resumed")
    shutil.rmtree(resumed / "checkpoints/step_00000006")
    shutil.rmtree(resumed / "samples")
    with (resumed / "metrics.jsonl").open("ab") as file:
        file.write(b'null\n\xff\x00{\n{"d_loss": 9}\n')
        file.write(b'{"step": 7, "d_loss": 9}\n{"step": 8, "d_lo')
    run(
        resumed,
        *WHOLE,
        "train.steps_per_call = 2",
        "train.log_every = 2",
        "train.save_every = 2",
    )
    expected = read_checkpoint(whole / "checkpoints")
    np.testing.assert_equal(read_checkpoint(resumed / "checkpoints"), expected)
    assert len(expected) > 100
    undisturbed = {line["step"]: line for line in read_metrics(whole)}
    lines = read_metrics(resumed)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 6]
    names = ("d_loss", "g_loss", "g_gradient_norm", "score/both_found_ema")
    for line in lines:
        for name in names:
            assert line.get(name) == undisturbed[line["step"]].get(name)
    for name in ("real", "step_00000006_raw", "step_00000006_ema"):
        grid = f"samples/{name}.png"
        assert (resumed / grid).read_bytes() == (whole / grid).read_bytes()


@pytest.mark.usefixtures("run_eagerly")
def test_float16_scales_the_loss_and_counts_what_it_skips(tmp_path, run):
    run(tmp_path, "NUM_STEPS = 2", "PRECISION = 'mixed_float16'")
    for line in read_metrics(tmp_path):
        for letter in "gd":
            skipped = line[f"{letter}_skipped_updates"]
            # Each skipped update halves the scale, which starts at 2**15.
            assert line[f"{letter}_loss_scale"] == 2.0 ** (15 - skipped)


@pytest.mark.usefixtures("run_eagerly")
def test_refuses_to_resume_with_other_hyperparameters(finished, tmp_path, run):
    workdir = shutil.copytree(finished, tmp_path / "run")
    other = ("NUM_STEPS = 3", "BATCH_SIZE = 8")
    with pytest.raises(ValueError, match=r"batch_size: 4 -> 8") as error:
        run(
            workdir,
            *STARTED,
            *other,
            "make_optimizers.g_learning_rate = 0.1",
            "train.accumulation = 1",
        )
    assert "g_learning_rate: 0.0005 -> 0.1" in str(error.value)
    assert "train.accumulation: 2 -> 1" in str(error.value)
    # Without the operative config, by the config as asked.
    (workdir / "operative_config.gin").write_text("")
    with pytest.raises(ValueError, match=r"batch_size: 4 -> 8"):
        run(workdir, *STARTED, *other)
    np.testing.assert_equal(
        read_checkpoint(workdir / "checkpoints"),
        read_checkpoint(finished / "checkpoints"),
    )
    run(
        workdir,
        *STARTED,
        "NUM_STEPS = 3",
        "train.log_every = 7",
        "train.keep_last = 1",
        "build_generator.recompute = True",
    )
    assert checkpoint_steps(workdir / "checkpoints") == [3]


@pytest.mark.usefixtures("run_eagerly")
def test_finished_or_held_run_is_left_alone(finished, run):
    def texts():
        files = ("metrics.jsonl", "sessions.jsonl", "operative_config.gin")
        return [(finished / name).read_text() for name in files]

    before = texts()
    run(finished, *STARTED)
    with (
        lock_run(finished),
        pytest.raises(ValueError, match="Another process is training"),
    ):
        run(finished, *STARTED, "NUM_STEPS = 3")
    assert texts() == before


@pytest.mark.usefixtures("run_eagerly")
def test_images_that_vanish_stop_the_run_until_they_are_back(
    images, tmp_path, run
):
    images = shutil.copytree(images, tmp_path / "images")
    workdir = tmp_path / "run"
    checkpoints = workdir / "checkpoints"
    settings = (
        f"make_dataset.name = 'folder:{images}'",
        "make_dataset.cache = False",
    )

    def vanish():
        for _ in range(6_000):
            if (checkpoints / "step_00000001").exists():
                images.rename(tmp_path / "away")
                return
            time.sleep(0.01)

    thread = threading.Thread(target=vanish)
    thread.start()
    with pytest.raises(OSError, match=r"images/\d.png: FileNotFoundError"):
        run(workdir, "NUM_STEPS = 500", *settings)
    thread.join()
    (tmp_path / "away").rename(images)
    reached = checkpoint_steps(checkpoints)[-1]
    run(workdir, f"NUM_STEPS = {reached + 1}", *settings)
    steps = [line["step"] for line in read_metrics(workdir)]
    assert steps == list(range(1, reached + 2))
    (images / "7.png").unlink()
    with pytest.raises(
        ValueError, match=f"session of {workdir}.*\n  images: 8 -> 7"
    ):
        run(workdir, f"NUM_STEPS = {reached + 2}", *settings)


def test_a_folder_that_cannot_be_made_is_named_before_the_work(tmp_path, run):
    (tmp_path / "file").write_text("")
    for place in ("file", "file/run", "file/a/run"):
        with pytest.raises(ValueError, match=f"--workdir=.*{place}.*no folder"):
            run(tmp_path / place, "NUM_STEPS = 1")


@pytest.mark.usefixtures("run_eagerly")
def test_values_that_are_not_finite_stop_the_run(tmp_path, run):
    with pytest.raises(FloatingPointError, match="Step .*_loss is") as error:
        run(
            tmp_path,
            "NUM_STEPS = 20",
            "make_optimizers.g_learning_rate = 1e30",
        )
    # What it calls good has finite weights.
    newest = checkpoint_steps(tmp_path / "checkpoints")[-1]
    assert f"step_{newest:08d}" in str(error.value)
    for name, tensor in read_checkpoint(tmp_path / "checkpoints").items():
        assert np.all(np.isfinite(tensor)), name


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ("NUM_STEPS = 0", r"train.num_steps is 0"),
        ("train.d_steps = 1.5", r"train.d_steps is 1.5"),
        ("train.accumulation = 3", r"batch_size is 4.*accumulation = 3"),
        ("POINTWISE = 'conv'", r"'conv'.*conv2d"),
        ("PRECISION = 'fp16'", r"'fp16'.*mixed_float16"),
        ("IMAGE_SIZE = 48", r"48.*32, 64, 128, 256"),
        ("ATTENTION_RESOLUTIONS = (12,)", r"\[12\].*4, 8, 16, 32"),
        ("build_generator.image_size = 64", r"generator is built for"),
        ("build_discriminator.num_classes = 3", r"discriminator is built for"),
        ("build_generator.precision = 'mixed_bfloat16'", r"must be the same"),
        ("train.steps_per_call = 3", r"log_every is 1: .* which is 3"),
        ("train.ema_decay = 1.5", r"train.ema_decay is 1.5"),
        ("train.on_nan = 'ignore'", r"on_nan is 'ignore'.*stop, restore"),
        ("train.strategy = 'horovod'", r"strategy is 'horovod'.*none, mirr"),
        ("train.max_restores = -1", r"train.max_restores is -1"),
        ("train.jit_compile = 'False'", r"train.jit_compile is 'False'"),
        ("build_generator.spectral_norm = 1", r"spectral_norm is 1"),
        ("make_optimizers.g_learning_rate = '1'", r"g_learning_rate is '1'"),
        ("make_dataset.data_dir = 'x'", r"data_dir"),
    ],
)
def test_bad_setting_gets_one_clear_error(
    tmp_path, monkeypatch, run, binding, message
):
    if not binding.startswith("make_dataset"):
        # Known before the data are opened, which may take long.
        monkeypatch.setattr("sagan.training.train.make_dataset", None)
    with pytest.raises(ValueError, match=message):
        run(tmp_path, "NUM_STEPS = 1", binding)
    assert not checkpoint_steps(tmp_path / "checkpoints")
