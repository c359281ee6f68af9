"""Checks of the values that a config binds."""

import numbers


def check_integers(function: str, least: int, **values) -> None:
    """Checks that values are integers of at least `least`.

    Args:
        function: Name of the configurable function, for the message.
        least: The smallest allowed value.
        **values: By parameter name.

    Raises:
        ValueError: If one is not, naming it.
    """
    for name, value in values.items():
        is_integer = isinstance(value, numbers.Integral)
        if not is_integer or isinstance(value, bool) or value < least:
            raise ValueError(
                f"{function}.{name} is {value!r}: expected an integer of at "
                f"least {least}."
            )


def check_numbers(function: str, least: float, below: float, **values) -> None:
    """Checks that values are numbers from `least` to below `below`.

    Arguments and errors as those of `check_integers`.
    """
    for name, value in values.items():
        if not isinstance(value, numbers.Real) or not least <= value < below:
            raise ValueError(
                f"{function}.{name} is {value!r}: expected a number from "
                f"{least} to below {below}."
            )


def check_booleans(function: str, **values) -> None:
    """Checks that values are True or False.

    Arguments and errors as those of `check_integers`.
    """
    for name, value in values.items():
        if not isinstance(value, bool):
            raise ValueError(
                f"{function}.{name} is {value!r}: expected True or False."
            )


def check_multiples(function: str, unit: str, size: int, **values) -> None:
    """Checks that values are multiples of `size`, the parameter `unit`.

    Other arguments and errors as those of `check_integers`.
    """
    for name, value in values.items():
        if value % size:
            raise ValueError(
                f"{function}.{name} is {value}: expected a multiple of "
                f"{function}.{unit}, which is {size}."
            )


def check_choices(name: str, values, known) -> None:
    """Checks that `values` are some of `known`, each once.

    Raises:
        ValueError: If there is none, or one is not, naming it.
    """
    if not values or len(set(values)) < len(values):
        raise ValueError(
            f"{name} is {','.join(values)!r}: expected some of "
            f"{', '.join(known)}, each once."
        )
    for value in values:
        if value not in known:
            raise ValueError(
                f"{name} has {value!r}: expected one of {', '.join(known)}."
            )
