"""Compares the settings of a resumed run with those it was started with."""

import inspect
from collections.abc import Collection

import gin
from gin import config_parser

from sagan.config import Literals, Macro

# Settings that may differ when a run resumes: its length, how it is watched,
# kept and stored, its devices, and what is held in memory. Everything else is
# the experiment itself.
RESUMABLE = frozenset(
    f"train.{name}"
    for name in (
        "num_steps",
        "log_every",
        "sample_every",
        "num_samples",
        "save_every",
        "keep_last",
        "keep_every",
        "steps_per_call",
        "attention_every",
        "evaluate_every",
        "evaluate_samples",
        "evaluate_statistics",
        "best_by",
        "strategy",
        "num_replicas",
        "on_nan",
        "max_restores",
    )
) | {
    "build_generator.recompute",
    "build_discriminator.recompute",
    "make_dataset.cache",
    "make_dataset.max_unreadable",
}


def flatten(config: str) -> dict[str, object]:
    """Parses gin text to `{"function.parameter": value}`, macros filled in."""
    values, macros = {}, {}
    parser = config_parser.ConfigParser(config, Literals())
    for statement in parser:
        if not isinstance(statement, config_parser.BindingStatement):
            continue
        name = f"{statement.scope}/" if statement.scope else ""
        name += statement.selector.rpartition(".")[2]
        if not statement.arg_name:
            macros[name] = statement.value
        elif name == "macro":
            macros[statement.scope] = statement.value
        else:
            values[f"{name}.{statement.arg_name}"] = statement.value
    return {key: _resolve(value, macros) for key, value in values.items()}


def check_resumable(
    before: str, now: str, allowed: Collection[str] = ()
) -> None:
    """Checks that a run can resume under a config.

    Args:
        before: Operative config of the run so far, gin text.
        now: Operative config of this process.
        allowed: Further settings that may differ.

    Raises:
        ValueError: If a value outside `RESUMABLE` differs, naming each.
    """
    old, new = flatten(before), flatten(now)
    # A run older than a parameter went by its default.
    old = {name: _default(name) for name in new} | old
    changed = [
        f"  {name}: {old.get(name)!r} -> {new.get(name)!r}"
        for name in sorted(old.keys() | new.keys())
        if not _is_resumable(name)
        and name not in allowed
        and old.get(name) != new.get(name)
    ]
    if changed:
        raise ValueError(
            "This run was started with other hyperparameters:\n"
            + "\n".join(changed)
            + "\nRun it with the old values, or give the new ones a workdir "
            "of their own with --workdir."
        )


def _is_resumable(name):
    # Scores leave the run as it is.
    return name in RESUMABLE or name.startswith("make_evaluation.")


def _default(name):
    """Returns the default of `function.parameter`, or None."""
    function, _, parameter = name.rpartition(".")
    try:
        function = inspect.unwrap(gin.get_configurable(function))
    except ValueError:
        return None
    parameters = inspect.signature(function).parameters
    if parameter not in parameters:
        return None
    default = parameters[parameter].default
    return None if default is inspect.Parameter.empty else default


def _resolve(value, macros):
    """Replaces macros in a value, at any depth."""
    if isinstance(value, Macro):
        return _resolve(macros.get(value.name, f"%{value.name}"), macros)
    if isinstance(value, (tuple, list)):
        # As settings, `[16]` and `(16,)` are the same.
        return tuple(_resolve(item, macros) for item in value)
    if isinstance(value, dict):
        return {k: _resolve(item, macros) for k, item in value.items()}
    return value
