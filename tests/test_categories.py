import time

import pytest

from yoso.categories import Categories, Category, check_same_classes
from yoso.errors import ConfigError, DatasetError

RED = (255, 0, 0)


def listed(**changes):
    """Return a list of two categories, the second with changes; a value of ... takes its field away."""
    second = {"id": 7, "name": "sky", "isthing": 0} | changes
    return [{"id": 1, "name": "cat", "isthing": 1}, {k: v for k, v in second.items() if v is not ...}]


@pytest.mark.parametrize("value", [1, True, 1.0, "1", "true", "True", "TRUE"])
def test_things(value):
    assert Categories.from_json(listed(isthing=value)).is_thing == (True, True)


@pytest.mark.parametrize("value", [0, False, 0.0, "0", "false", "False"])
def test_stuff(value):
    assert Categories.from_json(listed(isthing=value)).is_thing == (True, False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"isthing": None}, "category number 1 ('sky') has isthing None; 1 (thing) or 0 (stuff) is needed"),
        ({"isthing": "no"}, "category number 1 ('sky') has isthing 'no'"),
        ({"isthing": 2}, "category number 1 ('sky') has isthing 2"),
        ({"isthing": []}, "category number 1 ('sky') has isthing []"),
        ({"isthing": ...}, "category number 1 has no 'isthing'; COCO panoptic needs id, name and isthing"),
        ({"id": ...}, "category number 1 has no 'id'"),
        ({"id": "7"}, "category number 1 has id '7'; a whole number from 0 to 2147483647 is needed"),
        ({"id": True}, "category number 1 has id True"),
        ({"id": -1}, "category number 1 has id -1"),
        ({"id": 2**31}, "category number 1 has id 2147483648"),
        ({"id": 1}, "two categories have one id: [1]"),
        ({"name": None}, "category number 1 has name None; a text is needed"),
        ({"name": " "}, "category number 1 has name ' '"),
        ({"name": True}, "category number 1 has name True"),
        ({"color": [1, 2]}, "category number 1 ('sky') has color [1, 2]; three numbers from 0 to 255 are needed"),
        ({"color": [1, 2, 256]}, "category number 1 ('sky') has color [1, 2, 256]"),
        ({"color": "red"}, "category number 1 ('sky') has color 'red'"),
    ],
)
def test_the_error_names_file_category_and_value(changes, words):
    with pytest.raises(DatasetError) as caught:
        Categories.from_json(listed(**changes), "data.json")
    assert str(caught.value).startswith(f"data.json: {words}")


@pytest.mark.parametrize("entries", [None, {}, [7], []])
def test_lists_that_are_none(entries):
    with pytest.raises(DatasetError, match=r"^data\.json: "):
        Categories.from_json(entries, "data.json")


def test_categories_come_back_from_json():
    categories = Categories([Category(3, "cat", True, RED), Category(0, "7", False, (1, 2, 3))])
    assert Categories.from_json(categories.to_json()) == categories
    assert Categories.from_json(listed(name=7, id=7.0))[1] == Categories.from_json(listed(name="7"))[1]


CATS = Categories([Category(1, "cat", True, RED), Category(2, "dog", True, RED), Category(3, "sky", False, RED)])
SEA = Category(4, "sea", False, RED)


def test_order_and_colors_do_not_matter():
    check_same_classes(CATS, Categories(Category(c.id, c.name, c.is_thing, (0, 0, 9)) for c in CATS[::-1]), "a", "b")


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (CATS[1:], "category 1 is 'cat' (thing) in A and missing in B; both need the same ids, names and isthing"),
        ([*CATS, SEA], "category 4 is missing in A and 'sea' (stuff) in B"),
        ([*CATS[:2], Category(3, "sky", True, RED)], "category 3 is 'sky' (stuff) in A and 'sky' (thing) in B"),
        ([*CATS[:2], Category(3, "Sky", False, RED)], "category 3 is 'sky' (stuff) in A and 'Sky' (stuff) in B"),
        ([*CATS[:2], SEA], "category 3, one of 2 that differ, is 'sky' (stuff) in A and missing in B"),
    ],
)
def test_other_classes_are_refused(other, words):
    with pytest.raises(ConfigError) as caught:
        check_same_classes(CATS, Categories(other), "A", "B")
    assert str(caught.value).startswith("A and B have different classes: category ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_list_may_have_more_if_the_caller_says_so():
    more = Categories([*CATS, SEA])
    check_same_classes(CATS, more, "A", "B", b_may_have_more=True)
    with pytest.raises(ConfigError, match=r"category 4 is 'sea' \(stuff\) in B and missing in A"):
        check_same_classes(more, CATS, "B", "A", b_may_have_more=True)


class TestBounds:
    """Lists of any length are refused in little time, in a message of one line."""

    def test_many_categories_of_one_id(self):
        entries = [{"id": number % 5000, "name": "a", "isthing": 1} for number in range(10_000)]
        start = time.process_time()
        with pytest.raises(DatasetError, match=r"two categories have one id: \[0, 1, .*19\] and more") as caught:
            Categories.from_json(entries)
        assert time.process_time() - start < 2
        assert len(str(caught.value)) < 300

    def test_more_categories_than_confusion_matrices_have_room_for(self):
        entries = [{"id": number, "name": "a", "isthing": 1} for number in range(10_001)]
        with pytest.raises(DatasetError, match="has 10,001 categories; at most 10,000"):
            Categories.from_json(entries)
        Categories.from_json(entries[:-1])
