"""Config files of any encoding and place, and bindings that do nothing."""

import gin
import pytest

import sagan.training  # noqa: F401  Registers what the configs bind.
from sagan.config import parse_config
from sagan.runs.record import parse_recorded_config, record_config

TEXT = "NUM_STEPS = 3\ntrain.num_steps = %NUM_STEPS\n"


def _write(path, text=TEXT, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return str(path)


def _num_steps():
    return gin.get_bindings("train")["num_steps"]


@pytest.mark.parametrize(
    ("encoding", "newline"),
    [
        ("utf-8", "\n"),
        ("utf-8-sig", "\n"),
        ("utf-16", "\n"),
        ("utf-8", "\r\n"),
        ("utf-8", "\r"),
    ],
)
def test_encodings_and_line_ends(tmp_path, encoding, newline):
    text = f"# é\n{TEXT}".replace("\n", newline)
    parse_config([_write(tmp_path / "a.gin", text, encoding)])
    assert _num_steps() == 3


def test_what_is_no_utf_8_is_named(tmp_path):
    path = _write(tmp_path / "a.gin", f"# é\n{TEXT}", "latin-1")
    with pytest.raises(ValueError, match=r"a\.gin' is not UTF-8 .*byte 3"):
        parse_config([path])


def test_an_include_is_sought_beside_the_file_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _write(tmp_path / "base.gin", "train.num_steps = 1\n")
    _write(tmp_path / "far/base.gin", "train.num_steps = 2\n")
    _write(tmp_path / "elsewhere.gin", "train.seed = 7\n")
    include = "include 'base.gin'\ninclude 'elsewhere.gin'\n"
    path = _write(tmp_path / "far/a.gin", f"{include}train.d_steps = 5\n")
    parse_config([path])
    assert gin.get_bindings("train") == {
        "num_steps": 2,
        "seed": 7,
        "d_steps": 5,
    }


@pytest.mark.parametrize(
    ("included", "problem"),
    [("gone.gin", "'gone.gin' does not exist"), ("a.gin", "includes itself")],
)
def test_a_wrong_include_is_named_with_its_place(tmp_path, included, problem):
    path = _write(tmp_path / "a.gin", f"\ninclude '{included}'\n")
    with pytest.raises(ValueError, match=rf"{problem}.*a\.gin, line 2"):
        parse_config([path])


def test_errors_behind_an_include_name_the_right_line(tmp_path):
    _write(tmp_path / "base.gin")
    path = _write(tmp_path / "a.gin", "include 'base.gin'\n\ntrain.sede = 1\n")
    with pytest.raises(ValueError, match=r'a\.gin", line 3'):
        parse_config([path])


def test_a_missing_import_is_one_line(tmp_path):
    path = _write(tmp_path / "a.gin", f"{TEXT}import mine.deep\n")
    with pytest.raises(ValueError, match="No module named 'mine'") as error:
        parse_config([path])
    assert "a.gin, line 3 ('import mine.deep')" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_binding_overrides_what_a_macro_sets(tmp_path):
    path = _write(tmp_path / "a.gin")
    parse_config([path], ["train.num_steps = 10"])
    assert _num_steps() == 10
    record_config(tmp_path)
    parse_recorded_config(tmp_path)
    assert _num_steps() == 10
    # The macro has lost its use.
    with pytest.raises(ValueError, match="Nothing uses the macro 'NUM_STEPS'"):
        parse_recorded_config(tmp_path, ["NUM_STEPS = 5"])


def test_a_scope_that_nothing_uses_is_refused(tmp_path):
    path = _write(tmp_path / "a.gin")
    with pytest.raises(ValueError, match="scope 'mine' .*bind train.seed with"):
        parse_config([path], ["mine/train.seed = 5"])


def test_near_names_ignore_case(tmp_path):
    path = _write(tmp_path / "a.gin")
    with pytest.raises(ValueError, match="mean 'NUM_STEPS'"):
        parse_config([path], ["num_steps = 5"])
    parse_config([path], [" NUM_STEPS = 5\r\n"])
    assert _num_steps() == 5
