"""The Inception network of 2015 behind published FID and IS.

A frozen graph of 96 MB, used by its tensor names, with the preprocessing of the
code that first computed these scores.
"""

import functools
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

# Operation with the class weights. Most published Inception Scores leave out
# the bias that is added to its result.
_CLASSES = "softmax/logits/MatMul"
_ADDITIONS = ("BiasAdd", "Add", "AddV2")


def load_inception(
    path, preprocessing: str = "tensorflow", biased: bool = False
) -> Callable:
    """Reads a frozen Inception graph.

    Args:
        path: Path of the `.pb` file.
        preprocessing: Key of `PREPROCESSING`.
        biased: Whether logits have the bias of the class.

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
    if biased:
        weights += [
            node.input[1]
            for node in graph.node
            if node.op in _ADDITIONS and node.input[0] == _CLASSES
        ]
    names = [_FEATURES.removesuffix(":0"), *weights]

    def run(images):
        features, *classes = tf.graph_util.import_graph_def(
            tf.compat.v1.graph_util.extract_sub_graph(graph, names),
            input_map={_IMAGES: images},
            return_elements=[f"{name}:0" for name in names],
            name="",
        )
        if len(classes) != 1 + biased:
            what = f"a bias of {_CLASSES}" if classes else _CLASSES
            raise ValueError(f"it has no {what}")
        features = tf.reshape(features, [-1, features.shape[-1]])
        logits = tf.matmul(features, classes[0])
        return features, logits + classes[1] if biased else logits

    spec = tf.TensorSpec([None, _SIZE, _SIZE, 3], tf.float32)
    try:
        network = tf.compat.v1.wrap_function(run, [spec])
    except (AssertionError, ValueError) as error:
        raise ValueError(_refusal(path, error)) from error
    _, prepare = PREPROCESSING[preprocessing]

    @functools.partial(tf.function, autograph=False)
    def embed(images):
        if images.shape[-1] == 1:
            images = tf.repeat(images, 3, axis=-1)
        return network(prepare(images))

    return embed


def _resize_tensorflow(values):
    """Bilinear, without antialiasing or half-pixel centres."""
    return tf.compat.v1.image.resize_bilinear(
        values, [_SIZE, _SIZE], half_pixel_centers=False
    )


def _tensorflow(images):
    return (_resize_tensorflow((images + 1.0) * 127.5) - 128.0) / 128.0


def _pytorch(images):
    size = [_SIZE, _SIZE]
    return tf.image.resize(images, size, "bilinear", antialias=False)


def _clean(images):
    values = tf.image.resize(
        (images + 1.0) * 127.5, [_SIZE, _SIZE], "bicubic", antialias=True
    )
    return (values - 128.0) / 128.0


# How images `[batch, height, width, 3]` in [-1, 1] become the `[batch, 299,
# 299, 3]` that the graph takes, and a description of it. The graph scales pixel
# values in 0..255 as `(value - 128) / 128`; TF-GAN and PyTorch leave them in
# [-1, 1].
PREPROCESSING = {
    "tensorflow": ("bilinear to 299x299, as TensorFlow 1 does", _tensorflow),
    "tensorflow_unit": (
        "bilinear to 299x299, as TensorFlow 1 does, in [-1, 1]",
        _resize_tensorflow,
    ),
    "pytorch": (
        "bilinear to 299x299, as PyTorch does, in [-1, 1]",
        _pytorch,
    ),
    "clean": ("bicubic to 299x299 with antialiasing, as Pillow does", _clean),
}


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
