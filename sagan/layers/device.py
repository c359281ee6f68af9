"""What the layers run on."""

import tensorflow as tf


def on_cpu() -> bool:
    """Returns whether TensorFlow computes on the CPU: it has no accelerator."""
    devices = tf.config.list_logical_devices()
    return {device.device_type for device in devices} == {"CPU"}
