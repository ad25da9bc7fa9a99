"""What a pixel can be: categories, and the one mapping between a data set's ids and class indices."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from yoso.errors import ConfigError, DatasetError

Color = tuple[int, int, int]

VOID = 0
"""Segment id of a pixel without a label; also the crowd pixels of a training sample."""


@dataclass(frozen=True)
class Category:
    """One class of a data set.

    Attributes:
        id: the data set's `category_id`, any positive integer; gaps are fine.
        name: what a person calls it.
        is_thing: countable (each object is its own segment), as against stuff.
        color: RGB, 0 to 255, for drawing.
    """

    id: int
    name: str
    is_thing: bool
    color: Color


def default_color(index: int) -> Color:
    """Return a colour that differs well from its neighbours' (golden-angle hues, three levels of lightness)."""
    import colorsys

    hue = (index * 0.61803398875) % 1.0
    red, green, blue = colorsys.hls_to_rgb(hue, (0.45, 0.6, 0.35)[index % 3], 0.75)
    return round(red * 255), round(green * 255), round(blue * 255)


class Categories(Sequence[Category]):
    """The categories of a data set in class-index order: `categories[class_index]`.

    The class index is the position in the data set's own list, 0 to K-1.
    """

    def __init__(self, categories: Iterable[Category]) -> None:
        """Keep the categories in the order given.

        Raises:
            DatasetError: no category at all, or an id that occurs twice.
        """
        self._categories = tuple(categories)
        if not self._categories:
            raise DatasetError("a data set needs at least one category; its list of categories is empty")
        self._index = {category.id: index for index, category in enumerate(self._categories)}
        if len(self._index) != len(self._categories):
            ids = [category.id for category in self._categories]
            double = sorted({i for i in ids if ids.count(i) > 1})
            raise DatasetError(f"category ids must be unique; these occur twice: {double}")

    def __getitem__(self, class_index):
        return self._categories[class_index]

    def __len__(self) -> int:
        return len(self._categories)

    def __iter__(self) -> Iterator[Category]:
        return iter(self._categories)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Categories) and self._categories == other._categories

    def __hash__(self) -> int:
        return hash(self._categories)

    def __repr__(self) -> str:
        things = sum(self.is_thing)
        return f"Categories({len(self)}: {things} things, {len(self) - things} stuff)"

    @property
    def is_thing(self) -> tuple[bool, ...]:
        """Thing (True) or stuff, per class index."""
        return tuple(category.is_thing for category in self._categories)

    @property
    def names(self) -> tuple[str, ...]:
        """Names per class index."""
        return tuple(category.name for category in self._categories)

    def has_id(self, category_id: int) -> bool:
        """Tell whether the data set has this `category_id`."""
        return category_id in self._index

    def index_of(self, category_id: int) -> int:
        """Return the class index of a `category_id`.

        Raises:
            DatasetError: the data set has no such category.
        """
        try:
            return self._index[category_id]
        except KeyError:
            raise DatasetError(f"unknown category_id {category_id}; known ids: {sorted(self._index)}") from None

    @classmethod
    def from_json(cls, entries: Any, where: str = "categories") -> "Categories":
        """Read the `categories` list of a COCO panoptic file.

        Args:
            entries: list of `{"id", "name", "isthing", "color"?}`.
            where: what to call the source in an error.

        Raises:
            DatasetError: an entry lacks a field or is of the wrong type.
        """
        if not isinstance(entries, list):
            raise DatasetError(f"{where}: 'categories' must be a list of categories")
        categories = [_category_from_json(entry, index, where) for index, entry in enumerate(entries)]
        try:
            return cls(categories)
        except DatasetError as error:
            raise DatasetError(f"{where}: {error}") from None

    def to_json(self) -> list[dict[str, Any]]:
        """Return the `categories` list of a COCO panoptic file."""
        return [
            {"id": c.id, "name": c.name, "isthing": int(c.is_thing), "color": list(c.color)} for c in self._categories
        ]


def check_same_classes(a: Categories, b: Categories, name_a: str, name_b: str) -> None:
    """Check that two lists of categories have the same classes: for every id the same name and kind, in any order.

    Args:
        a: one list.
        b: the other list.
        name_a: where `a` is from, for the error message.
        name_b: where `b` is from.

    Raises:
        ConfigError: they differ; names the first id that does.
    """
    first, second = ({each.id: _described(each) for each in categories} for categories in (a, b))
    for category_id in (*first, *second):
        here, there = first.get(category_id, "missing"), second.get(category_id, "missing")
        if here != there:
            raise ConfigError(
                f"{name_a} and {name_b} have different classes: id {category_id} is {here} in the first and {there} in "
                "the second; use files with the same categories"
            )


def _described(category: Category) -> str:
    return f"{category.name!r} ({'thing' if category.is_thing else 'stuff'})"


def _category_from_json(entry: Any, index: int, where: str) -> Category:
    if not isinstance(entry, dict):
        raise DatasetError(f"{where}: category number {index} is not an object")
    for key in ("id", "name", "isthing"):
        if key not in entry:
            raise DatasetError(
                f"{where}: category number {index} has no '{key}'; COCO panoptic needs id, name and isthing"
            )
    if not isinstance(entry["id"], int) or entry["id"] < 0:
        raise DatasetError(f"{where}: category number {index} has id {entry['id']!r}; a whole number is needed")
    color = entry.get("color") or default_color(index)
    if (
        not isinstance(color, list | tuple)
        or len(color) != 3
        or not all(isinstance(c, int) and 0 <= c <= 255 for c in color)
    ):
        raise DatasetError(f"{where}: category {entry['name']!r} has color {color!r}; three numbers 0-255 are needed")
    return Category(entry["id"], str(entry["name"]), bool(entry["isthing"]), (color[0], color[1], color[2]))
