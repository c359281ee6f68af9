"""Settings as types in signatures, checked when the function is called."""

import dataclasses
import functools
import inspect
import math
import numbers
import types
import typing
from collections.abc import Callable
from typing import Annotated, Literal

from absl import logging


@dataclasses.dataclass(frozen=True)
class AtLeast:
    """Annotates the smallest value of an integer."""

    least: int


@dataclasses.dataclass(frozen=True)
class Range:
    """Annotates the values of a number: from `least` to below `below`."""

    least: float
    below: float = math.inf


class Needs:
    """Annotates a setting that has no effect unless another one is on.

    Args:
        *names: Parameters of the same function; one that is true suffices.
    """

    def __init__(self, *names: str):
        self.names = names


Count = Annotated[int, AtLeast(1)]
Natural = Annotated[int, AtLeast(0)]
Channels = Literal[1, 3]  # Grey or RGB.
Fraction = Annotated[float, Range(0, 1)]
NonNegative = Annotated[float, Range(0)]


def checked(function: Callable) -> Callable:
    """Decorates a function whose arguments are checked by their annotations.

    Those are `bool`, `Literal`, `Annotated` integers and numbers as above, and
    each of them `| None`; what has another annotation is not checked. Warns of
    settings that have no effect because those they need are off. Apply it below
    `gin.configurable`; it leaves the signature as it is.

    Raises:
        ValueError: At a call, if an argument is not what its annotation asks
            for, naming the parameter, the value and what was expected.
    """
    signature = inspect.signature(function)
    hints = typing.get_type_hints(function, include_extras=True)

    @functools.wraps(function)
    def call(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            expected = mismatch(value, hints.get(name))
            if expected:
                raise ValueError(
                    f"{function.__name__}.{name} is {value!r}: expected "
                    f"{expected}."
                )
        _warn_of_idle(function.__name__, signature, bound, hints)
        return function(*args, **kwargs)

    call.__signature__ = signature
    return call


def _warn_of_idle(function, signature, bound, hints):
    """Warns of arguments that have no effect without others."""
    values = {
        name: bound.arguments.get(name, parameter.default)
        for name, parameter in signature.parameters.items()
    }
    for name, value in values.items():
        for need in typing.get_args(hints.get(name))[1:]:
            if not isinstance(need, Needs):
                continue
            idle = not any(values[other] for other in need.names)
            if idle and value != signature.parameters[name].default:
                logging.warning(
                    "%s.%s = %r has no effect without %s.",
                    *(function, name, value, " or ".join(need.names)),
                )


def mismatch(value, hint):
    """Returns what was expected, or None if a value fits its annotation.

    Any value fits an annotation that `checked` does not know.

    Args:
        value: Any value.
        hint: An annotation, see `checked`.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        kinds = [kind for kind in arguments if kind is not types.NoneType]
        if value is None and len(kinds) < len(arguments):
            return None
        return mismatch(value, kinds[0]) if len(kinds) == 1 else None
    if hint is bool:
        return None if isinstance(value, bool) else "True or False"
    if origin is Literal:
        fits = any(value == x and type(value) is type(x) for x in arguments)
        return None if fits else f"one of {', '.join(map(str, arguments))}"
    if origin is not Annotated:
        return None
    limit = arguments[1]
    if isinstance(limit, Needs):
        return mismatch(value, arguments[0])
    if isinstance(limit, AtLeast):
        fits = isinstance(value, numbers.Integral) and value >= limit.least
        expected = f"an integer of at least {limit.least}"
    else:
        fits = (
            isinstance(value, numbers.Real)
            and limit.least <= value < limit.below
        )
        expected = f"a number of at least {limit.least}"
        if limit.below < math.inf:
            expected = f"a number from {limit.least} to below {limit.below}"
    return expected if isinstance(value, bool) or not fits else None


def check_size(sizes, image_size, attention_resolutions) -> None:
    """Checks the size of a network's images and where it has attention.

    Raises:
        ValueError: If the size is not among `sizes`, or the resolutions are
            no tuple.
    """
    if image_size not in sizes:
        raise ValueError(
            f"image_size is {image_size!r}: expected one of {sorted(sizes)}."
        )
    if not isinstance(attention_resolutions, (tuple, list)):
        raise ValueError(
            f"attention_resolutions is {attention_resolutions!r}: expected a "
            "tuple such as (32,), or () for none."
        )
