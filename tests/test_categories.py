"""Categories: two lists have the same classes if every id means the same in both."""

import pytest

from yoso.categories import Categories, Category, check_same_classes
from yoso.errors import ConfigError

CAT, DOG, SKY = (
    Category(1, "cat", True, (1, 1, 1)),
    Category(2, "dog", True, (2, 2, 2)),
    Category(3, "sky", False, (3, 3, 3)),
)


def test_order_and_color_do_not_matter():
    green = Category(3, "sky", False, (0, 255, 0))
    check_same_classes(Categories([CAT, DOG, SKY]), Categories([green, CAT, DOG]), "a.json", "b.json")


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (
            [Category(1, "dog", True, (1, 1, 1)), DOG, SKY],
            "id 1 is 'cat' (thing) in the first and 'dog' (thing) in the",
        ),
        ([Category(1, "cat", False, (1, 1, 1)), DOG, SKY], "id 1 is 'cat' (thing) in the first and 'cat' (stuff) in"),
        ([CAT, SKY], "id 2 is 'dog' (thing) in the first and missing in the second"),
        ([CAT, DOG, SKY, Category(9, "cow", True, (9, 9, 9))], "id 9 is missing in the first and 'cow' (thing) in the"),
    ],
)
def test_a_class_that_differs_is_named(other, words):
    with pytest.raises(ConfigError) as error:
        check_same_classes(Categories([CAT, DOG, SKY]), Categories(other), "train.json", "val.json")
    assert str(error.value).startswith("train.json and val.json have different classes: ")
    assert words in str(error.value)
    assert "\n" not in str(error.value)
