"""onnxruntime for browsers, from its npm package, kept in a cache.

Version and hashes are pinned: what the package holds is checked before it is
put into a page.
"""

import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile

from sagan.runs.files import file_sha256, whole_file

VERSION = "1.30.0"
# SHA-256 of the files that a page needs: the API, and WebAssembly for the CPU.
FILES = {
    "ort.wasm.bundle.min.mjs": (
        "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90"
    ),
    "ort-wasm-simd-threaded.wasm": (
        "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"
    ),
}
_SECONDS = 300  # That npm may take for 33 MB.


def cache_folder() -> pathlib.Path:
    """Returns where the files are kept."""
    caches = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(caches) / f"sagan/onnxruntime-web-{VERSION}"


def open_runtime() -> tuple[bytes, bytes]:
    """Returns the runtime's JavaScript and its WebAssembly.

    Raises:
        ValueError: If it is not in the cache, and npm does not bring it; or if
            a file is not the one that was pinned.
    """
    folder = cache_folder()
    if not all((folder / name).is_file() for name in FILES):
        _download(folder)
    for name, sha256 in FILES.items():
        if file_sha256(folder / name) != sha256:
            raise ValueError(
                f"{folder / name} is not that of onnxruntime-web {VERSION}: "
                "delete it, and run the same command again."
            )
    script, wasm = ((folder / name).read_bytes() for name in FILES)
    return script, wasm


def _download(folder):
    if shutil.which("npm") is None:
        raise ValueError("npm, which brings onnxruntime-web, is not installed.")
    with tempfile.TemporaryDirectory() as place:
        package = f"onnxruntime-web@{VERSION}"
        try:
            subprocess.run(
                ["npm", "pack", "--silent", package],
                cwd=place,
                check=True,
                capture_output=True,
                timeout=_SECONDS,
            )
            (archive,) = pathlib.Path(place).glob("*.tgz")
            with tarfile.open(archive) as files:
                for name in FILES:
                    content = files.extractfile(f"package/dist/{name}").read()
                    with whole_file(folder / name) as partial:
                        partial.write_bytes(content)
        except (subprocess.SubprocessError, tarfile.TarError, KeyError) as e:
            raise ValueError(f"npm brought no {package} ({e}).") from e
