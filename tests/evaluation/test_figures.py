"""What the number of samples does to scores, drawn."""

import numpy as np
from PIL import Image

from sagan.evaluation.figures import draw_by_samples


def test_fid_falls_with_the_number_of_samples_and_kid_does_not(tmp_path):
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 400, 16)).astype(np.float32)
    path = tmp_path / "by_samples.png"
    rows = draw_by_samples(path, first, second, (25, 100, 400))
    assert [size for size, _, _ in rows] == [25, 100, 400]
    fids = [fid for _, fid, _ in rows]
    assert fids[0] > 2 * fids[1] > 4 * fids[2] > 0
    assert max(abs(kid) for _, _, kid in rows) < 0.1
    assert Image.open(path).size[0] > 400
