import numpy as np
import pytest

from yoso.errors import DatasetError
from yoso.values import fault_in, flag, image_id, mismatched_type, number_within, read_iscrowd, whole


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


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({"a": 1, "b": [{"c": "x"}], "more": 1}, None),
        ({"a": 1, "b": []}, None),
        ([], "it is not an object"),
        ({"b": []}, "it has no 'a'"),
        ({"a": "1", "b": []}, "it: a has a value of the wrong type"),
        ({"a": 1, "b": {}}, "it: b is not a list"),
        ({"a": 1, "b": [{"c": "x"}, {"c": 2}]}, "it: b, entry 1: c has a value of the wrong type"),
        ({"a": 1, "b": [], "d": 0}, "it: d has a value of the wrong type"),
        ({"a": 1, "b": [], "d": 5}, None),
    ],
)
def test_the_first_place_where_a_document_has_another_shape(value, fault):
    shape = {"a": int, "b": [{"c": str}], "d?": lambda number: number > 3}
    assert fault_in(value, shape, "it") == fault


def test_numbers_within_a_bound():
    good, bad = (0, -5, 5.0, 4.9), (6, -5.1, float("nan"), float("inf"), 10**400, True, "1", None)
    assert all(number_within(value, 5.0) for value in good)
    assert not any(number_within(value, 5.0) for value in bad)
