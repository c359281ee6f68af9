"""What a benchmark has to know of the parsed config."""

import inspect

import gin

from sagan.training import train

# Parameters of `train` that a step depends on.
_STEP = (
    "d_steps",
    "seed",
    "ema_decay",
    "ema_start",
    "jit_compile",
    "joint_batch",
    "deterministic",
    "accumulation",
    "tensor_float_32",
)


def config_batch_size() -> int:
    """Returns the images a batch that the config asks for.

    Raises:
        ValueError: If it leaves that open.
    """
    try:
        return gin.get_bindings("make_dataset")["batch_size"]
    except KeyError:
        raise ValueError(
            "The config does not bind make_dataset.batch_size: expected a "
            "positive integer, as in "
            "--gin_bindings=make_dataset.batch_size=64."
        ) from None


def train_settings() -> dict[str, object]:
    """Returns the settings of `train` that a step depends on."""
    bound = gin.get_bindings("train")
    parameters = inspect.signature(inspect.unwrap(train)).parameters
    return {name: bound.get(name, parameters[name].default) for name in _STEP}
