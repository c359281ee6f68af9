"""FID and KID by the number of samples, as the script plots them."""

import json
import pathlib
import subprocess
import sys

from PIL import Image

SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"
# In a process of its own, as a script defines flags.
PLOT = """
import json, sys
import numpy as np
import plot_fid_by_samples as script
rng = np.random.default_rng(0)
first, second = rng.normal(size=(2, 400, 16)).astype(np.float32)
rows = script.score_parts(first, second, (25, 100, 400))
script.draw(sys.argv[1], rows)
print(json.dumps(rows))
"""


def test_fid_falls_with_the_number_of_samples_and_kid_does_not(tmp_path):
    path = tmp_path / "by_samples.png"
    command = [sys.executable, "-c", PLOT, str(path)]
    rows = json.loads(subprocess.check_output(command, cwd=SCRIPTS))
    assert [size for size, _, _ in rows] == [25, 100, 400]
    fids = [fid for _, fid, _ in rows]
    assert fids[0] > 2 * fids[1] > 4 * fids[2] > 0
    assert max(abs(kid) for _, _, kid in rows) < 0.1
    assert Image.open(path).size[0] > 400
