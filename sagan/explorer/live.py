"""The generator as what the page runs in the browser."""

import base64
import gzip
import pathlib
import tempfile

import numpy as np
import tensorflow as tf

from sagan.explorer.runtime import open_runtime
from sagan.exporting.formats import find_format
from sagan.exporting.generators import fold_spectral_norm
from sagan.exporting.program import Program
from sagan.exporting.proof import compare
from sagan.layers.recorder import call_with_attention, self_attentions

_EXAMPLES = 8


def browser_program(generator) -> Program:
    """Returns a generator as the function that the page calls.

    From latents and class weights, so that it also draws between classes, to
    images and attention maps. Its spectral norm is folded.

    Args:
        generator: A `Generator` that computes in float32.
    """
    latents = np.random.default_rng(0).normal(
        size=(_EXAMPLES, generator.latent_dim)
    )
    examples = {"latents": latents.astype(np.float32)}
    if count := generator.num_classes:
        numbers = np.arange(_EXAMPLES) % count
        examples["classes"] = np.eye(count, dtype=np.float32)[numbers]
    names = [layer.name for layer in self_attentions(generator)]

    def compute(latents, classes=None):
        if classes is None:
            classes = tf.zeros([tf.shape(latents)[0]], tf.int32)
        images, attended = call_with_attention(generator, latents, classes)
        return {"images": images} | {name: attended[name].map for name in names}

    fold_spectral_norm(generator)
    expected = {name: x.numpy() for name, x in compute(**examples).items()}
    return Program(compute, None, examples, expected, {}, {}, {})


def pack_generator(generator, most: int) -> dict[str, str]:
    """Returns what runs a generator in the browser, as text by name.

    In float32, or where that takes too much, with weights in float16.

    Args:
        generator: A `Generator` that computes in float32.
        most: Bytes that the text may have.

    Raises:
        ValueError: If a package is missing, or it takes more.
    """
    script, wasm = open_runtime()
    packed = {"runtime": _text(script), "wasm": _text(gzip.compress(wasm))}
    program = browser_program(generator)
    for precision in ("float32", "float16"):
        model = _convert(program, precision)
        packed |= {"model": _text(gzip.compress(model)), "precision": precision}
        size = sum(map(len, packed.values()))
        if size <= most:
            return packed
    raise ValueError(
        f"it would take {size / 1e6:.0f} MB, also with weights in float16, and "
        f"{most / 1e6:.0f} MB are allowed."
    )


def _convert(program, precision):
    """Returns the model, proved to compute what the checkpoint does."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "generator.onnx"
        kind = find_format("onnx", precision, path)
        kind.write(program, path, precision)
        compare(program, kind.load(path, 1), precision)
        return path.read_bytes()


def _text(data):
    return base64.b64encode(data).decode()
