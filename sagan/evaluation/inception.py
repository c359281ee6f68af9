"""The Inception network of 2015 behind published FID and IS.

A frozen graph of 96 MB, used by its tensor names, with the preprocessing of the
code that first computed these scores.
"""

import pathlib
import tarfile
from collections.abc import Callable

import keras
import tensorflow as tf

from sagan.runs.files import file_sha256

URL = (
    "http://download.tensorflow.org/models/image/imagenet/"
    "inception-2015-12-05.tgz"
)
GRAPH_FILE = "classify_image_graph_def.pb"
_SIZE = 299

# Input: resized and scaled images.
_IMAGES = "Mul:0"

# Output: features `[batch, 1, 1, 2048]`.
_FEATURES = "pool_3:0"

# Operation with the class weights. Published Inception Scores leave out the
# bias, and so does this.
_CLASSES = "softmax/logits/MatMul"


def load_inception(path) -> Callable:
    """Reads a frozen Inception graph.

    Args:
        path: Path of the `.pb` file.

    Returns:
        A function from images `[batch, height, width, 3 or 1]`, float32 in
        [-1, 1], to features `[batch, 2048]` and logits `[batch, 1008]`.

    Raises:
        ValueError: If the file is not such a graph.
    """
    graph = tf.compat.v1.GraphDef()
    try:
        graph.ParseFromString(pathlib.Path(path).read_bytes())
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(_refusal(path, error)) from error
    except Exception as error:  # protobuf has an error class of its own.
        if "DecodeError" not in type(error).__name__:
            raise
        raise ValueError(_refusal(path, error)) from error

    # Of the operation that computes logits only the weights are usable: in the
    # graph its batch size is one.
    weights = [n.input[1] for n in graph.node if n.name == _CLASSES]
    names = [_FEATURES.removesuffix(":0"), *weights]

    def run(images):
        features, *classes = tf.graph_util.import_graph_def(
            tf.compat.v1.graph_util.extract_sub_graph(graph, names),
            input_map={_IMAGES: images},
            return_elements=[f"{name}:0" for name in names],
            name="",
        )
        if not classes:
            raise ValueError(f"it has no {_CLASSES}")
        features = tf.reshape(features, [-1, features.shape[-1]])
        return features, tf.matmul(features, classes[0])

    spec = tf.TensorSpec([None, _SIZE, _SIZE, 3], tf.float32)
    try:
        network = tf.compat.v1.wrap_function(run, [spec])
    except (AssertionError, ValueError) as error:
        raise ValueError(_refusal(path, error)) from error
    return tf.function(lambda images: network(preprocess(images)))


def preprocess(images: tf.Tensor) -> tf.Tensor:
    """Resizes and scales images as the graph expects.

    Bilinear as in TensorFlow 1: without antialiasing or half-pixel centres.
    Pixel values in 0..255 become `(value - 128) / 128`.

    Args:
        images: `[batch, height, width, 3 or 1]`, float32 in [-1, 1]; grey
            images are repeated over the colours.

    Returns:
        `[batch, 299, 299, 3]`, float32.
    """
    if images.shape[-1] == 1:
        images = tf.repeat(images, 3, axis=-1)
    images = tf.compat.v1.image.resize_bilinear(
        (images + 1.0) * 127.5, [_SIZE, _SIZE], half_pixel_centers=False
    )
    return (images - 128.0) / 128.0


def fetch_inception(folder) -> pathlib.Path:
    """Returns the path of the graph in a folder, downloading it at first use.

    Its SHA-256 is then written beside it and verified from then on.

    Raises:
        ValueError: If it cannot be downloaded, or has changed.
    """
    path = pathlib.Path(folder) / GRAPH_FILE
    hash_file = path.with_suffix(".sha256")
    if not path.is_file():
        _fetch(path)
        hash_file.write_text(file_sha256(path))
    expected = hash_file.read_text().strip() if hash_file.is_file() else "none"
    if file_sha256(path) != expected:
        raise ValueError(
            f"{path} has not the SHA-256 in {hash_file}: delete both to fetch "
            "it again."
        )
    return path


def _fetch(path):
    try:
        archive = keras.utils.get_file(
            origin=URL, cache_dir=path.parent, cache_subdir="."
        )
    except Exception as error:  # Network errors have no common class.
        raise ValueError(
            f"The Inception graph cannot be fetched from {URL} ({error}). "
            f"Fetch it elsewhere and give the path of its {GRAPH_FILE}."
        ) from error
    with tarfile.open(archive) as files:
        partial = path.with_suffix(".partial")
        partial.write_bytes(files.extractfile(GRAPH_FILE).read())
    partial.replace(path)
    pathlib.Path(archive).unlink()


def _refusal(path, error):
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return (
        f"{path} is no frozen Inception graph of 2015 ({reason}): expected one "
        f"with {_IMAGES}, {_FEATURES} and {_CLASSES}, such as {GRAPH_FILE} in "
        f"{URL}."
    )
