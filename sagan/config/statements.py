"""Gin files as statements, read without importing what they import."""

import codecs
import difflib
import io
import os
import pathlib
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from gin import config_parser

_MOST_INCLUDES = 20


class Statement(NamedTuple):
    """A statement of a config.

    Attributes:
        place: Where it is: file and line, or number of the binding.
        content: The statement as gin's parser returns it.
    """

    place: str
    content: object

    @property
    def bound(self) -> str | None:
        """What it binds: "function.parameter" or the name of a macro."""
        if not isinstance(self.content, config_parser.BindingStatement):
            return None
        scope, selector, parameter = self.content[:3]
        if selector == "macro":
            return scope
        name = f"{scope}/{selector}" if scope else selector
        return f"{name}.{parameter}" if parameter else name

    @property
    def is_macro(self) -> bool:
        """Whether it binds a macro."""
        return bool(self.bound) and (
            not self.content.arg_name or self.content.selector == "macro"
        )

    def references(self) -> Iterator[str]:
        """Yields the macros "%NAME" and functions "@name" in its value."""
        waiting = [getattr(self.content, "value", None)]
        while waiting:
            value = waiting.pop()
            if isinstance(value, Macro):
                yield f"%{value.name}"
            elif isinstance(value, dict):
                waiting += [*value.keys(), *value.values()]
            elif isinstance(value, (tuple, list)):
                waiting += value
            elif isinstance(value, str) and value.startswith("@"):
                yield value


class Macro(NamedTuple):
    """A reference to a macro."""

    name: str


class Literals(config_parser.ParserDelegate):
    """Reads values without resolving what they refer to."""

    def configurable_reference(self, scoped_name, evaluate):
        return f"@{scoped_name}{'()' if evaluate else ''}"

    def macro(self, scoped_name):
        return Macro(scoped_name)


class Piece(io.StringIO):
    """A part of a config file between two includes, as gin takes it.

    Lines before it are blank, so that line numbers are those of the file.
    """

    def __init__(self, text: str, name: str | None = None):
        super().__init__(text)
        self.name = name

    def copy(self):
        return Piece(self.getvalue(), self.name)


def read_pieces(
    path: pathlib.Path, includers: Sequence[Statement] = ()
) -> Iterator[Piece]:
    """Yields the text of a config file and, in their places, of its includes.

    Args:
        path: The file.
        includers: Statements that include it, the outermost first.

    Raises:
        ValueError: If a file is missing, is not text or includes itself.
    """
    place = f" It is included by {includers[-1].place}." if includers else ""
    if not path.is_file():
        raise ValueError(_explain_file(str(path)) + place)
    if len(includers) > _MOST_INCLUDES:
        raise ValueError(f"Config file {str(path)!r} includes itself.{place}")
    text = _decode(path)
    lines = text.splitlines(keepends=True)
    start = 0
    for statement in read_statements([Piece(text, str(path))]):
        if not isinstance(statement.content, config_parser.IncludeStatement):
            continue
        end = statement.content.location.line_num - 1
        yield Piece("\n" * start + "".join(lines[start:end]), str(path))
        included = pathlib.Path(os.path.expanduser(statement.content.filename))
        beside = path.parent / included
        yield from read_pieces(
            beside if beside.is_file() else included, (*includers, statement)
        )
        start = end + 1
    yield Piece("\n" * start + "".join(lines[start:]), str(path))


def _decode(path: pathlib.Path) -> str:
    content = path.read_bytes()
    utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if utf_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Config file {str(path)!r} is not UTF-8 text (byte "
            f"{error.start + 1}): save it as UTF-8."
        ) from error
    return "\n".join(text.splitlines()) + "\n"


def read_statements(pieces: Iterable[Piece]) -> list[Statement]:
    """Parses pieces of configs without a look at what they refer to.

    Raises:
        ValueError: If a line is not gin.
    """
    found = []
    for piece in pieces:
        try:
            for content in config_parser.ConfigParser(piece.copy(), Literals()):
                line = content.location.line_content.strip()
                place = f"{piece.name}, line {content.location.line_num}"
                found.append(Statement(f"{place} ({line!r})", content))
        except (SyntaxError, tokenize.TokenError) as error:
            raise ValueError(_explain_syntax(error, piece)) from error
    return found


def _explain_syntax(error: Exception, piece: Piece) -> str:
    number = getattr(error, "lineno", None) or error.args[1][0]
    lines = piece.getvalue().splitlines()
    line = lines[min(number, len(lines)) - 1].strip() if lines else ""
    line = line if line.isprintable() else repr(line)
    return (
        f"Cannot read the config ({piece.name or 'bindings'}, line {number}): "
        f"{line or error}\nStrings need quotes (POINTWISE='matmul'), and "
        "booleans are True and False."
    )


def _explain_file(file: str) -> str:
    """Says that a config is missing, and what its folder has instead."""
    path = pathlib.Path(file)
    folder = path if path.is_dir() else path.parent
    known = sorted(map(str, folder.iterdir())) if folder.is_dir() else []
    known = [other for other in known if other.endswith(".gin")]
    nearest = difflib.get_close_matches(file, known, n=1, cutoff=0.5)
    return f"Config file {file!r} does not exist. " + (
        f"Did you mean {nearest[0]!r}?"
        if nearest
        else f"{folder} has {', '.join(known) or 'no .gin file'}."
    )
