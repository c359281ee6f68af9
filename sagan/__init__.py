"""Self-Attention GAN (Zhang et al., 2019) in TensorFlow 2 and Keras 3."""
