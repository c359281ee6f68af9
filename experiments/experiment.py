"""Experiments on disk, and the runs of a sweep over arms and seeds."""

import dataclasses
import difflib
import hashlib
import itertools
import math
import os
import pathlib
import re
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import gin

from sagan.config import parse_config
from sagan.runs.resume import flatten

ROOT = pathlib.Path(__file__).parent
# An arm of this name repeats the one before the suffix, setting for setting.
REPEAT_SUFFIX = "_again"


class Primary(NamedTuple):
    """The one number that an experiment decides on, named before its sweep.

    Attributes:
        name: Name of the number in a report, such as `score/agreement_ema`.
        bound: Differences smaller than this do not matter, and the question is
            whether the arms are equivalent; None where it is whether they
            differ.
    """

    name: str
    bound: float | None


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A folder with `base.gin`, `baseline.txt`, `primary.txt`, `arms/ARM.gin`.

    Attributes:
        folder: Its path, relative to the current folder if below it.
        baseline: The arm that the others are compared with.
        arms: All arms, the baseline first, then by name.
        primary: What `primary.txt` holds.
    """

    folder: pathlib.Path
    baseline: str
    arms: tuple[str, ...]
    primary: Primary

    @property
    def name(self) -> str:
        return self.folder.name

    def config_files(self, arm: str, extra: Sequence[str] = ()) -> list[str]:
        """Returns the config files of an arm, in the order they are read.

        `base.gin` comes first, then `extra`, then the arm. A whole config in
        `extra` takes the place of `base.gin`: gin cannot unbind, so what the
        base binds and the other leaves at its default would stay.
        """
        base = [str(self.folder / "base.gin")]
        if any(_is_whole(path) for path in extra):
            base = []
        return [*base, *extra, str(self.folder / "arms" / f"{arm}.gin")]


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a sweep: an arm with a seed, in a folder of its own."""

    arm: str
    seed: int
    num_steps: int
    folder: pathlib.Path
    command: tuple[str, ...]

    def __str__(self):
        return f"{self.arm}, seed {self.seed}"


def find_experiment(name: str) -> Experiment:
    """Returns the experiment of a name, or of a folder if there is a slash.

    Raises:
        ValueError: If there is none, naming the nearest, or it has no valid
            baseline or primary score.
    """
    folder = pathlib.Path(name) if "/" in name else ROOT / name
    arms = sorted(path.stem for path in folder.glob("arms/*.gin"))
    if not name or not arms:
        known = sorted(path.parent.name for path in ROOT.glob("*/base.gin"))
        raise ValueError(_unknown("experiment", name, known))
    file = folder / "baseline.txt"
    baseline = file.read_text().strip() if file.is_file() else None
    if baseline not in arms:
        raise ValueError(
            f"{file} must hold the name of the baseline arm, one of "
            f"{', '.join(arms)}; it holds {baseline!r}."
        )
    arms.remove(baseline)
    if folder.resolve().is_relative_to(pathlib.Path.cwd()):
        folder = pathlib.Path(os.path.relpath(folder))
    primary = _read_primary(folder / "primary.txt")
    return Experiment(folder, baseline, (baseline, *arms), primary)


def choose_arms(experiment: Experiment, names: Sequence[str]) -> list[str]:
    """Returns the named arms, or all of them for no name.

    Raises:
        ValueError: If a name is unknown, with the nearest that is known.
    """
    for name in names:
        if name not in experiment.arms:
            what = f"arm of {experiment.name}"
            raise ValueError(_unknown(what, name, experiment.arms))
    return [arm for arm in experiment.arms if not names or arm in names]


def plan_runs(
    experiment: Experiment,
    arms: Iterable[str],
    seeds: int,
    workdir: str,
    gin_configs: Sequence[str] = (),
    gin_bindings: Sequence[str] = (),
    data_dir: str | None = None,
    first_seed: int = 0,
) -> list[Run]:
    """Checks the config of every arm and returns the runs of a sweep.

    All arms of one seed come before the next seed, so that a sweep which is
    stopped early has about as many seeds of each arm. Their order is drawn for
    each seed: in a fixed one, a machine that slows down or warms up would pass
    for a property of the arms.

    Args:
        experiment: What to run.
        arms: Which of its arms.
        seeds: How many seeds.
        workdir: Folder of the sweep.
        gin_configs: Files read between `base.gin` and the arm.
        gin_bindings: Settings for all arms, read last.
        data_dir: Where TFDS datasets are.
        first_seed: The first seed.

    Raises:
        ValueError: If a config cannot be read, or two arms have the same
            settings.
    """
    steps = _check_configs(experiment, arms, gin_configs, gin_bindings)
    runs = []
    for seed in range(first_seed, first_seed + seeds):
        for arm in _draw_order(experiment.name, seed, steps):
            folder = pathlib.Path(workdir) / arm / f"seed_{seed}"
            files = experiment.config_files(arm, gin_configs)
            bindings = [*gin_bindings, f"SEED = {seed}"]
            command = (
                sys.executable,
                "-m",
                "sagan.train",
                *(f"--gin_config={file}" for file in files),
                *(f"--gin_bindings={binding}" for binding in bindings),
                f"--workdir={folder}",
                *([f"--data_dir={data_dir}"] if data_dir else []),
            )
            runs.append(Run(arm, seed, steps[arm], folder, command))
    return runs


def _draw_order(name, seed, arms):
    """Orders arms at random, but reproducibly.

    Two arms keep their order whichever others run: a sweep that is resumed, of
    fewer arms or of more, keeps the same order.
    """

    def draw(arm):
        return hashlib.sha256(f"{name}/{seed}/{arm}".encode()).digest()

    return sorted(arms, key=draw)


def _read_primary(file):
    words = file.read_text().split() if file.is_file() else []
    try:
        name, bound = words[0], float(words[1]) if words[1:] else None
        if len(words) > 2 or (bound is not None and not 0 < bound < math.inf):
            raise ValueError
    except (IndexError, ValueError):
        raise ValueError(
            f"{file} must hold one line, SCORE or SCORE BOUND: the name of the "
            "number that decides, and a positive bound if the question is "
            f"whether arms are equivalent; it holds {' '.join(words)!r}."
        ) from None
    return Primary(name, bound)


def _check_configs(experiment, arms, gin_configs, gin_bindings):
    """Parses the config of each arm; returns its number of steps by arm."""
    settings = {}
    for arm in arms:
        files = experiment.config_files(arm, gin_configs)
        try:
            parse_config(files, [*gin_bindings, "SEED = 0"])
        except (OSError, ValueError) as error:
            raise ValueError(f"Arm {arm} does not parse. {error}") from error
        settings[arm] = flatten(gin.config_str())
    for one, other in itertools.combinations(settings, 2):
        repeat = one.removesuffix(REPEAT_SUFFIX) == other.removesuffix(
            REPEAT_SUFFIX
        )
        if settings[one] == settings[other] and not repeat:
            raise ValueError(
                f"Arms {one} and {other} have the same settings: a config or "
                "binding on the command line overrides what they vary."
            )
    return {arm: values["train.num_steps"] for arm, values in settings.items()}


def _is_whole(path):
    """Whether a config defines a whole run, rather than changes to one.

    Such a config imports what it binds, or includes one that does.
    """
    path = pathlib.Path(path)
    return path.is_file() and bool(
        re.search(r"^\s*(import|include)\s", path.read_text(), re.MULTILINE)
    )


def _unknown(what, name, known):
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return f"Unknown {what} {name!r}.{hint} There are {', '.join(known)}."
