"""What the layers run on."""

import tensorflow as tf


def on_cpu() -> bool:
    """Returns whether TensorFlow computes on the CPU: it has no accelerator."""
    kinds = {device.device_type for device in tf.config.list_logical_devices()}
    return kinds.isdisjoint(("GPU", "TPU"))
