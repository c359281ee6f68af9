"""The training loop and what watches it.

Importing the package registers `train` and all that a config binds.
"""

import sagan.training.train  # noqa: F401
