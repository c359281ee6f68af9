"""Configs: errors that name the place, and what a resumed run may change."""

import inspect
import pathlib
import re
from typing import get_args

import gin
import pytest

import sagan.training.train
from sagan.config import parse_config
from sagan.data import make_dataset
from sagan.discriminator import build_discriminator
from sagan.generator import GENERATOR_WIDTHS, build_generator
from sagan.layers.attention import AttentionName
from sagan.layers.precision import PRECISIONS
from sagan.runs.resume import RESUMABLE, check_resumable, flatten

CONFIGS = sorted(
    (pathlib.Path(__file__).resolve().parents[2] / "configs").rglob("*.gin")
)
# Those of classifiers define no run: evaluation/test_classifier_training.py.
CONFIGS = [path for path in CONFIGS if "classifier_" not in path.name]
BASE = next(path for path in CONFIGS if path.name == "cifar10.gin")
MACROS = (
    "IMAGE_SIZE",
    "BATCH_SIZE",
    "NUM_STEPS",
    "BASE_CHANNELS",
    "POINTWISE",
    "SEED",
)


def _is_delta(path):
    """A delta changes another config: it registers and defines no run."""
    return "import sagan" not in path.read_text()


def _id(path):
    return path.name


full_configs = pytest.mark.parametrize(
    "path", [path for path in CONFIGS if not _is_delta(path)], ids=_id
)
delta_configs = pytest.mark.parametrize(
    "path", [path for path in CONFIGS if _is_delta(path)], ids=_id
)


def _write(tmp_path, *lines):
    path = tmp_path / "some.gin"
    path.write_text("\n".join(("import sagan.training", *lines, "")))
    return str(path)


def _message(files, bindings=()):
    with pytest.raises(ValueError, match=".") as error:
        parse_config([str(file) for file in files], bindings)
    return str(error.value)


@full_configs
def test_each_config_parses_and_defines_the_shared_knobs(path):
    parse_config([str(path)])
    for name in MACROS:
        value = gin.query_parameter(f"{name}/macro.value")
        assert value is not None, name
    values = flatten(gin.config_str())
    assert values["train.num_steps"] > 0
    assert values["make_dataset.batch_size"] > 0
    size = values["make_dataset.image_size"]
    assert size in GENERATOR_WIDTHS
    for network in ("build_generator", "build_discriminator"):
        assert values[f"{network}.image_size"] == size
        assert values.get(f"{network}.precision", "float32") in PRECISIONS
        assert values.get(f"{network}.attention", "released") in get_args(
            AttentionName
        )
    recipe = path.parent.name == "recipes"  # As wide as their sources.
    for name in (
        "num_classes",
        "channels",
        *(() if recipe else ("base_channels",)),
        "pointwise",
        "precision",
        "fused_resampling",
    ):
        generator, discriminator = (
            values.get(f"build_{network}.{name}")
            for network in ("generator", "discriminator")
        )
        assert generator == discriminator, name


@delta_configs
def test_each_delta_parses_together_with_a_config(path):
    parse_config([str(BASE)])
    before = flatten(gin.config_str())
    parse_config([str(BASE), str(path)])
    assert flatten(gin.config_str()) != before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IMAGE_SIZE", "64"),
        ("BATCH_SIZE", "7"),
        ("NUM_STEPS", "9"),
        ("BASE_CHANNELS", "3"),
        ("POINTWISE", "'matmul'"),
        ("SEED", "5"),
    ],
)
@full_configs
def test_each_knob_reaches_every_function_that_has_it(path, name, value):
    parse_config([str(path)], [f"{name} = {value}"])
    values = flatten(gin.config_str())
    parameter = name.lower()
    bound = [key for key in values if key.endswith(f".{parameter}")]
    if parameter == "base_channels" and path.parent.name == "recipes":
        bound.remove("build_discriminator.base_channels")
    else:
        both = parameter in ("image_size", "base_channels", "pointwise")
        assert len(bound) >= (2 if both else 1)
    assert {repr(values[key]) for key in bound} == {value}


def test_later_files_and_bindings_override(tmp_path):
    path = _write(tmp_path, "A = 3", "train.num_steps = %A")
    other = tmp_path / "other.gin"
    other.write_text("A = 4\n")
    for files, bindings, expected in (
        ([path], [], 3),
        ([path, str(other)], [], 4),
        ([path, str(other)], ["A = 5"], 5),
        ([path], ["train.num_steps = 6", "train.log_every = %A"], 6),
        ([path], [], 3),  # Nothing is left of what was bound before.
    ):
        parse_config(files, bindings)
        assert flatten(gin.config_str())["train.num_steps"] == expected


def test_without_a_config_the_flag_is_named():
    assert "--gin_config" in _message([])


def test_a_missing_file_is_named():
    assert "'configs/nothing.gin'" in _message(["configs/nothing.gin"])


# Line 1 of a file is its import; 2 and 3 are the first two of these.
@pytest.mark.parametrize(
    ("line", "nearest"),
    [
        ("trian.seed = 1", "Did you mean 'train'?"),
        ("train.sede = 1", "Did you mean 'seed'?"),
        (
            "make_optimizers.g_learning_rat = 1",
            "Did you mean 'g_learning_rate'",
        ),
        ("NUMSTEPS = 4", "Did you mean 'NUM_STEPS'?"),
        ("train.seed = %NUM_STEP", "'NUM_STEPS'"),
        ("make_dataset.name = cifar10", "quotes"),
        ("train.deterministic = true", "True"),
    ],
)
def test_errors_name_the_place_and_the_nearest_name(tmp_path, line, nearest):
    good = ("NUM_STEPS = 3", "train.num_steps = %NUM_STEPS")
    path = _write(tmp_path, *good, line)
    message = _message([path])
    assert nearest in message
    assert re.search(rf"{re.escape(path)}\"?,? line 4", message), message
    assert line in message or line.split()[0] in message
    # As a binding, there is no file to blame.
    path = _write(tmp_path, *good)
    message = _message([path], ["train.num_samples = 4", line])
    assert nearest in message
    assert line in message
    assert "some.gin" not in message
    assert "bindings" in message


def test_a_macro_that_nothing_defines_is_an_error(tmp_path):
    path = _write(tmp_path, "train.num_steps = %NUM_STEPS")
    assert "%NUM_STEPS" in _message([path])
    parse_config([path], ["NUM_STEPS = 3"])
    assert flatten(gin.config_str())["train.num_steps"] == 3


def test_the_last_of_two_bindings_is_blamed(tmp_path):
    path = _write(tmp_path, "train.num_steps = 3")
    message = _message([path], ["UNUSED = 1", "UNUSED = 2"])
    assert "'UNUSED = 2'" in message


def test_flatten_fills_in_macros():
    text = """
    import sagan.training
    SIZE = 32
    OTHER = %SIZE
    build_generator.image_size = %SIZE
    build_generator.attention_resolutions = (16, %SIZE)
    sagan.layers.precision.build_discriminator.image_size = %OTHER
    train.seed = 4
    scoped/train.seed = 5
    make_dataset.name = 'cifar10'
    """
    assert flatten(text) == {
        "build_generator.image_size": 32,
        "build_generator.attention_resolutions": (16, 32),
        "build_discriminator.image_size": 32,
        "train.seed": 4,
        "scoped/train.seed": 5,
        "make_dataset.name": "cifar10",
    }


def test_flatten_reads_what_gin_writes():
    parse_config([str(BASE)], ["NUM_STEPS = 77", "train.d_steps = 2"])
    values = flatten(gin.config_str())
    assert values["train.num_steps"] == 77
    assert values["train.d_steps"] == 2
    assert values["make_dataset.name"] == "cifar10"
    assert values["make_optimizers.g_learning_rate"] == 2e-4


def test_resumable_names_are_parameters():
    functions = (
        *(sagan.training.train.train, make_dataset),
        *(build_generator, build_discriminator),
    )
    parameters = {
        f"{function.__name__}.{name}"
        for function in map(inspect.unwrap, functions)
        for name in inspect.signature(function).parameters
    }
    assert parameters >= RESUMABLE


def test_a_run_may_go_on_with_resumable_changes_only():
    function = inspect.unwrap(sagan.training.train.train)
    names = {f"train.{name}" for name in inspect.signature(function).parameters}
    names |= {"make_dataset.batch_size", "build_generator.num_steps"}
    for name in names | RESUMABLE:
        before, now = f"train.x = 1\n{name} = 1", f"train.x = 1\n{name} = 2"
        check_resumable(before, before)
        if name in RESUMABLE:
            check_resumable(before, now)
            check_resumable("train.x = 1", now)
            continue
        with pytest.raises(ValueError, match=f"{name}: 1 -> 2\n") as error:
            check_resumable(before, now)
        assert "train.x" not in str(error.value)
        with pytest.raises(ValueError, match=f"{name}: 1 -> None"):
            check_resumable(before, "train.x = 1")


def test_the_way_a_value_is_written_does_not_matter():
    check_resumable(
        "A = 16\nf.x = (%A, 2)\nf.y = %A\nf.z = 1e-3",
        "B = 16\nf.z = 0.001\nf.y = 16\nf.x = (16, 2)",
    )
    check_resumable("A = 1\nB = %A\nf.x = %B", "A = 1\nB = %A\nf.x = %B")
    with pytest.raises(ValueError, match="f.y: 16 -> 8"):
        check_resumable("A = 16\nf.y = %A", "A = 8\nf.y = %A")


def test_a_run_older_than_a_parameter_went_by_its_default():
    from sagan.generator import build_generator  # noqa: F401  Registers it.

    before = "build_generator.image_size = 32"
    same = f"{before}\nbuild_generator.fused_fgh = False"
    other = f"{before}\nbuild_generator.fused_fgh = True"
    check_resumable(before, same)
    with pytest.raises(ValueError, match="fused_fgh: False -> True"):
        check_resumable(before, other)


def test_a_config_without_effect_is_refused():
    delta = "configs/mixed_bfloat16.gin"
    with pytest.raises(ValueError, match="mixed_bfloat16.gin has no effect"):
        parse_config([delta, "configs/synthetic.gin"])
    parse_config(["configs/synthetic.gin", delta])


def test_a_missing_config_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="mean 'configs/celeba.gin'"):
        parse_config(["configs/celebA.gin"])
    with pytest.raises(ValueError, match="nowhere has no .gin file"):
        parse_config(["nowhere/x.gin"])
