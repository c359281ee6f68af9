"""Packaging of the SAGAN research codebase."""

from setuptools import find_packages, setup

# Lower bounds: of numpy the first with `.mT`, of pillow the first with
# `has_transparency_data`, of tensorboard the first that runs beside setuptools
# 82, of the rest releases of the time of writing. Upper bounds stand where the
# next release line is untested against the Keras internals (variables, dtype
# policies, checkpoints) this project relies on.
# Runtimes of other formats, with which exports are proved. Lower bounds: the
# releases that were tried.
EXPORT = [
    "ai-edge-litert>=2.3",
    "onnx>=1.23",
    "onnxruntime>=1.32",
    "tf2onnx>=1.17",
]
setup(
    name="sagan",
    version="0.1.0",
    description="Self-Attention GAN in TensorFlow 2 and Keras 3",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["sagan", "sagan.*"]),
    package_data={"sagan.explorer": ["page.html", "page.css", "page.js"]},
    install_requires=[
        "absl-py>=2.1",
        "gin-config>=0.5.0",
        # Imported by tensorflow-datasets, which does not declare it.
        "importlib_resources>=6.0",
        "keras>=3.15,<3.16",
        "matplotlib>=3.8",
        "numpy>=2.0",
        "pillow>=10.1",
        "scikit-learn>=1.4",
        "scipy>=1.11",
        # tf.summary needs it; tensorflow does not install it.
        "tensorboard>=2.21",
        "tensorflow>=2.21,<2.22",
        "tensorflow-datasets>=4.9.10",
        "tqdm>=4.66",
        # Serves sagan.explore; TensorBoard needs it too.
        "werkzeug>=3.0",
    ],
    extras_require={
        # The NVIDIA libraries for training on a GPU.
        "cuda": ["tensorflow[and-cuda]>=2.21,<2.22"],
        # For sagan.export.
        "export": EXPORT,
        "dev": [
            *EXPORT,
            "psutil>=5.9",
            "pytest>=8.0",
            "pytest-xdist>=3.5",
            "ruff>=0.6",
            # Drives Debian's chromium in the tests of the explorer.
            "selenium>=4.30",
        ],
    },
)
