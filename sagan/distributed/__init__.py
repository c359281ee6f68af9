"""Several devices and machines: a thin layer over `tf.distribute`."""
