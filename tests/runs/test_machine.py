"""The name of the machine in records and tables."""

import pathlib

import pytest

from sagan.runs import machine


@pytest.mark.parametrize(
    ("flags", "amx"), [("sse avx512f", ""), ("amx_bf16 sse", " with AMX")]
)
def test_a_processor_with_amx_is_told_from_one_without(monkeypatch, flags, amx):
    text = f"processor\t: 0\nmodel name\t: Some Xeon \nflags\t\t: {flags}\n"
    monkeypatch.setattr(pathlib.Path, "read_text", lambda path: 2 * text)
    assert machine._processor() == "Some Xeon" + amx
