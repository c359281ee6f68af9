"""What a run's folder records of its sessions."""

import pytest

from sagan.runs.record import check_data, check_images, record_session


def test_images_that_differ_in_number_are_noticed(tmp_path, caplog):
    check_images(tmp_path, 1000)
    record_session(tmp_path, 0, 1000)
    with (tmp_path / "sessions.jsonl").open("a") as file:
        file.write('{"step": 1}\n{"step": 2, "ima')
    check_images(tmp_path, 1000)
    record_session(tmp_path, 2, 999)  # Not glued to the torn line.
    check_images(tmp_path, 999)
    assert not caplog.records
    record_session(tmp_path, 2, 1000)
    check_images(tmp_path, 990)
    assert "has 990 images, and had 1000" in caplog.text
    for number in (989, 1011):
        with pytest.raises(ValueError, match=f"has {number} images.*--workdir"):
            check_images(tmp_path, number)


def test_another_order_of_the_same_data_is_warned_of(tmp_path, caplog):
    data = {
        "name": "cifar10/3.0.2",
        "fingerprint": "f",
        "images": 9,
        "modified": "",
        "order": "shuffled",
    }
    record_session(tmp_path, 0, 9, data=data)
    check_data(tmp_path, data)
    assert not caplog.text
    check_data(tmp_path, data | {"order": "streamed"})
    assert "cifar10/3.0.2 is read in another order" in caplog.text
