"""What comes from outside runs no code, and names no file that is written."""

import ast
import os
import pathlib

import keras
import numpy as np
import pytest
from PIL import Image

from sagan.config import CONFIG_FILE, parse_config
from sagan.data import make_dataset
from sagan.evaluation.classifier import default_folder
from sagan.evaluation.features import as_file_name, open_features
from sagan.evaluation.real_images import cache_folder
from sagan.runs.record import parse_recorded_config

ROOT = pathlib.Path(__file__).resolve().parents[1]
SOURCES = sorted(
    path
    for folder in ("sagan", "experiments", "scripts", "tests/endurance")
    for path in (ROOT / folder).rglob("*.py")
)
# Modules and functions that run what a file holds, start programs, listen on
# a port or fetch from the network, and where each may stand.
MODULES = {
    "cloudpickle": (), "dill": (), "http": (), "joblib": (),
    "ctypes": (), "marshal": (),
    # Of fixed names: versions, and whether a runtime is there.
    "importlib": (
        "sagan/config/parsing.py",
        "sagan/exporting/export.py",
        "sagan/exporting/formats.py",
        "scripts/benchmark_peer.py",
    ),
    "pickle": (),
    "runpy": (), "shelve": (), "shutil.unpack_archive": (),
    "socket": (
        "sagan/distributed/processes.py",
        "sagan/explorer/listening.py",
    ),
    "socketserver": (), "urllib": (), "xmlrpc": (), "yaml": (),
    "torch": ("scripts/benchmark_peer.py",),
    "subprocess": (
        "experiments/sweep.py",
        "sagan/distributed/processes.py",
        "sagan/explorer/runtime.py",
        "sagan/runs/record.py",
        "tests/endurance/check_memory.py",
        "tests/endurance/check_replicas.py",
        "tests/endurance/kill_runs.py",
        "tests/endurance/test_kills.py",
        "tests/endurance/test_pointwise_conformance_everywhere.py",
    ),
    "tarfile": (
        "sagan/evaluation/inception.py",
        "sagan/explorer/runtime.py",
    ),
}  # fmt: skip
CALLS = {
    "__import__": (), "compile": (), "enable_unsafe_deserialization": (),
    "eval": (), "exec": (), "execv": (), "extractall": (), "fromstring": (),
    "get_file": ("sagan/evaluation/inception.py",),
    "import_graph_def": ("sagan/evaluation/inception.py",),
    "load_model": ("sagan/evaluation/features.py",),
    "numpy_function": ("sagan/data/readers.py",),
    "open_code": (), "popen": (), "py_function": (), "read_pickle": (),
    "saved_model.load": (
        "sagan/evaluation/features.py",
        "sagan/exporting/saved_model.py",  # What it has just written.
    ),
    "serve_forever": ("sagan/explorer/listening.py",),
    "system": (), "urlopen": (),
}  # fmt: skip
# Methods of Keras and of `re` that share a name.
HARMLESS = {"network.compile", "re.compile"}


@pytest.mark.parametrize(
    "path", SOURCES, ids=lambda path: str(path.relative_to(ROOT))
)
def test_nothing_runs_what_it_reads(path):
    where = path.relative_to(ROOT).as_posix()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            for module, allowed in MODULES.items():
                if f"{name}.".startswith(f"{module}."):
                    assert where in allowed, name
        if isinstance(node, ast.Call):
            _check_call(ast.unparse(node.func), node, where)


def _check_call(called, node, where):
    values = {k.arg: ast.unparse(k.value) for k in node.keywords}
    assert values.get("shell", "False") == "False", called
    assert values.get("allow_pickle", "False") == "False", called
    assert values.get("safe_mode", "True") == "True", called
    if called in ("np.load", "numpy.load"):
        assert "allow_pickle" in values, called
    for name, allowed in CALLS.items():
        if called not in HARMLESS and f".{called}".endswith(f".{name}"):
            assert where in allowed, called


def test_a_keras_model_with_python_code_is_refused(tmp_path):
    code = keras.layers.Lambda(lambda images: images * 2.0)
    model = keras.Sequential([keras.Input((8, 8, 3)), code])
    model.save(tmp_path / "x.keras")
    with pytest.raises(ValueError, match="cannot be read: .*[Ll]ambda"):
        open_features(tmp_path / "x.keras")


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A folder of data with a config that imports a module beside it."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "payload.py").write_text("raise SystemExit('code ran')")
    (folder / "some.gin").write_text("import payload\ntrain.seed = 1\n")
    monkeypatch.syspath_prepend(folder)
    return folder


def test_a_config_among_the_data_is_refused_before_it_runs(
    data, tmp_path, monkeypatch
):
    config = str(data / "some.gin")
    with pytest.raises(SystemExit, match="code ran"):
        parse_config([config])  # As gin does: to parse it is to run it.

    def refuses(files, bindings=(), data_dir=None):
        with pytest.raises(ValueError, match=r"some\.gin' lies in the data"):
            parse_config([str(file) for file in files], bindings, data_dir)

    refuses([config], data_dir=str(data))
    refuses([config], data_dir=str(tmp_path))
    refuses([config], [f"make_dataset.name = 'folder:{data}'"])
    refuses([config], [f"NAME = 'folder:{data}'"])
    monkeypatch.chdir(data)
    refuses(["some.gin"], ["make_dataset.name = 'folder:.'"])
    monkeypatch.chdir(ROOT)

    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "link.gin").symlink_to(config)
    with pytest.raises(ValueError, match="link.gin' lies in the data"):
        parse_config([str(outside / "link.gin")], data_dir=str(data))
    (outside / "way").symlink_to(data)
    refuses([outside / "way" / "some.gin"], data_dir=str(data))
    refuses([config], data_dir=str(outside / "way"))
    (outside / "x.gin").write_text(
        f"include '{config}'\nmake_dataset.name = 'folder:{data}'\n"
    )
    refuses([outside / "x.gin"])
    (outside / "x.gin").write_text(f"include '{config}'\n")
    refuses([outside / "x.gin"], data_dir=str(data))


def test_nor_is_that_of_a_run_among_the_data(data):
    (data / "some.gin").rename(data / CONFIG_FILE)
    with pytest.raises(ValueError, match=r"config\.gin' lies in the data"):
        parse_recorded_config(data, data_dir=str(data))


def test_configs_elsewhere_are_parsed(data, tmp_path):
    config = str(ROOT / "configs/synthetic.gin")
    name = f"make_dataset.name = 'folder:{data}'"
    parse_config([config], [name], str(data))
    # A folder that holds the project too: its code runs anyway.
    parse_config([config], [name], str(ROOT.parent))


HOSTILE = [
    "../../x", "folder:../..", "folder:/", "folder:.", "/etc/x", "a/../../b",
    "folder:/data/..", "x\n../y", "a\0b", "folder:" + "/.." * 50, "~/x",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_names_of_data_lead_out_of_no_folder(name):
    folder = default_folder(name)
    assert folder.parent == pathlib.Path("runs")
    assert folder.name.startswith("classifier_")
    file = as_file_name(name)
    assert os.path.basename(file) == file
    assert not set("/\\\0\n") & set(file)


def test_names_of_classes_and_files_are_not_written(tmp_path):
    # What a class folder or an image is called decides on labels alone.
    inside = tmp_path / "a" / "b" / "images"
    for name in ("x..", "-rf", "$(touch y)", "a\nb", "`c`", "%s", "{0}"):
        (inside / name).mkdir(parents=True)
        pixels = np.random.default_rng(0).integers(0, 256, [8, 8, 3])
        image = Image.fromarray(pixels.astype(np.uint8))
        image.save(inside / name / f"{name};.png")
    before = sorted(tmp_path.rglob("*"))
    dataset = make_dataset(f"folder:{inside}", 8, 2, num_classes=7)
    list(dataset.one_pass())
    assert sorted(tmp_path.rglob("*")) == before
    assert cache_folder(dataset, None, "run") == inside.parent / (
        "sagan_features"
    )
