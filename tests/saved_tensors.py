"""What the newest checkpoint of a run holds."""

import tensorflow as tf

from sagan.checkpoints import checkpoint_steps


def tensors(workdir):
    """Returns its arrays by name."""
    step = checkpoint_steps(workdir / "checkpoints")[-1]
    path = workdir / f"checkpoints/step_{step:08d}/checkpoint"
    reader = tf.train.load_checkpoint(str(path))
    return {
        name: reader.get_tensor(name)
        for name, dtype in reader.get_variable_to_dtype_map().items()
        if dtype != tf.string
    }
