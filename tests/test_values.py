import numpy as np
import pytest

from yoso.errors import DatasetError
from yoso.values import flag, image_id, mismatched_type, read_iscrowd, whole


def test_whole_numbers():
    assert [whole(value) for value in (3, 3.0, np.int64(3))] == [3, 3, 3]
    assert {whole(value) for value in (3.5, "3", True, None, float("inf"), [3])} == {None}


def test_flags():
    assert {flag(value) for value in (True, 1, 1.0, np.bool_(True), np.int64(1), "1", "true", "True", " TRUE ")} == {
        True
    }
    assert {flag(value) for value in (False, 0, 0.0, np.bool_(False), np.uint8(0), "0", "false", "FALSE")} == {False}
    assert {flag(value) for value in (None, "", "yes", "2", 2, -1, 0.5, float("nan"))} == {None}
    assert [flag(value) for value in ([], [1], {}, np.zeros(2))] == [None] * 4


def test_image_ids():
    assert [image_id(value) for value in (7, 7.0, "7", "a")] == [7, 7, "7", "a"]
    assert {image_id(value) for value in (True, None, 1.5)} == {None}


def test_a_segment_without_iscrowd_is_none_and_one_with_nonsense_is_an_error():
    assert not read_iscrowd({"id": 1}, "a.png")
    assert read_iscrowd({"id": 1, "iscrowd": "1"}, "a.png")
    with pytest.raises(DatasetError, match=r"a\.png: segment 1 has iscrowd None, neither 0 nor 1; write 0 or 1"):
        read_iscrowd({"id": 1, "iscrowd": None}, "a.png")


def test_an_id_of_the_other_type_is_pointed_out():
    assert mismatched_type("5", {5: None}) == " (there is 5; write both as numbers or both as text)"
    assert mismatched_type(5, {"5": None}) == " (there is '5'; write both as numbers or both as text)"
    assert mismatched_type("a", {5: None}) == mismatched_type(6, {5: None}) == ""
