"""Paths of users: expanded, local, and never patterns."""

import pathlib

import pytest

from sagan.config.paths import local_path, plain_path


def test_the_home_folder_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/somebody")
    assert local_path("~/x", "--out") == "/somebody/x"


@pytest.mark.parametrize("path", ["gs://a/b", "s3:/a", "hdfs://x", "file:///x"])
def test_a_scheme_is_refused(path):
    with pytest.raises(ValueError, match=f"--out is '{path}'.*local file"):
        local_path(path, "--out")


@pytest.mark.parametrize("path", ["", "  ", "a\0b", "n" * 256, "é" * 128])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(ValueError, match="--out (is|has a name of 256 bytes)"):
        local_path(path, "--out")


@pytest.mark.parametrize(
    "path", ["a b", "a:b", "lr[1e-4]", "é", "-x", "a'b\"", "n" * 255]
)
def test_other_names_are_left_alone(path):
    assert local_path(path, "--out") == path


@pytest.mark.parametrize("name", ["run[1]", "a*b", "a?b", "a\\b", "{a,b}"])
def test_a_plain_path_leads_to_the_same_folder(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / "run1").mkdir()  # What the pattern would match.
    with plain_path(tmp_path / name) as path:
        (path / "file").write_text("here")
        assert not set("[]*?\\{}") & set(str(path))
    assert (tmp_path / name / "file").read_text() == "here"
    assert not pathlib.Path(path).exists()


def test_a_plain_path_needs_no_link(tmp_path):
    with plain_path(tmp_path) as path:
        assert path == tmp_path
