"""The classes of a data set or a model: categories, and the one mapping between category ids and class indices."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from yoso.errors import ConfigError, DatasetError
from yoso.values import flag, whole

Color = tuple[int, int, int]

VOID = 0
"""Segment id of a pixel without a label; also the crowd pixels of a training sample."""

MAX_CATEGORY_ID = 2**31 - 1

MAX_CATEGORIES = 10_000
"""Of a data set or a model. Confusion matrices take 16 bytes for every two of them: 1.6 GB for this many."""

MAX_SHOWN = 20
"""Ids in a message."""


@dataclass(frozen=True)
class Category:
    """One class of a data set.

    Attributes:
        id: the data set's `category_id`, 0 to `MAX_CATEGORY_ID`; gaps are fine.
        name: for people.
        is_thing: True for things (every object is a segment), False for stuff (one segment per image).
        color: RGB, 0 to 255, for drawing.
    """

    id: int
    name: str
    is_thing: bool
    color: Color

    @property
    def kind(self) -> str:
        """`thing` or `stuff`, for messages."""
        return "thing" if self.is_thing else "stuff"


def default_color(index: int) -> Color:
    """Return a color that differs well from its neighbors: hues by the golden angle, three levels of lightness."""
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
            DatasetError: there is no category, there are more than `MAX_CATEGORIES`, or two have one id.
        """
        self._categories = tuple(categories)
        if not self._categories:
            raise DatasetError("the list of categories is empty; at least one category is needed")
        if len(self._categories) > MAX_CATEGORIES:
            raise DatasetError(
                f"there are {len(self._categories):,} categories; at most {MAX_CATEGORIES:,} are supported"
            )
        self._index = {category.id: index for index, category in enumerate(self._categories)}
        if len(self._index) != len(self._categories):
            counts = Counter(category.id for category in self._categories)
            double = [category_id for category_id, count in sorted(counts.items()) if count > 1]
            shown = f"{double[:MAX_SHOWN]}{' and more' * (len(double) > MAX_SHOWN)}"
            raise DatasetError(f"two categories have one id: {shown}; give each its own")

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
        """Say whether there is a category with this id."""
        return category_id in self._index

    def index_of(self, category_id: int) -> int:
        """Return the class index of a `category_id`.

        Raises:
            DatasetError: there is no such category.
        """
        try:
            return self._index[category_id]
        except KeyError:
            raise DatasetError(
                f"unknown category_id {category_id}; known ids: {sorted(self._index)[:MAX_SHOWN]}"
            ) from None

    @classmethod
    def from_json(cls, entries: Any, where: str = "categories") -> "Categories":
        """Read the `categories` list of a COCO panoptic file.

        Args:
            entries: list of `{"id", "name", "isthing", "color"?}`.
            where: the file, for messages.

        Raises:
            DatasetError: an entry lacks a field, or has a value that is not what the format asks for.
        """
        if not isinstance(entries, list):
            raise DatasetError(f"{where}: 'categories' must be a list of categories")
        if len(entries) > MAX_CATEGORIES:
            raise DatasetError(f"{where}: has {len(entries):,} categories; at most {MAX_CATEGORIES:,} are supported")
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


def check_same_classes(
    a: Categories, b: Categories, name_a: str, name_b: str, *, b_may_have_more: bool = False
) -> None:
    """Check that two lists of categories have the same ids, with the same names and kinds; order and colors may differ.

    Args:
        a: one list.
        b: the other.
        name_a: where the one comes from, for messages.
        name_b: where the other comes from.
        b_may_have_more: accept categories of `b` that `a` lacks.

    Raises:
        ConfigError: they differ; names the first category that does.
    """
    ours, theirs = ({category.id: category for category in categories} for categories in (a, b))
    ids = list(ours) if b_may_have_more else list(ours | theirs)
    differing = [i for i in ids if _meaning(ours.get(i)) != _meaning(theirs.get(i))]
    if differing:
        first = differing[0]
        one = f"category {first}, one of {len(differing)} that differ," if differing[1:] else f"category {first}"
        raise ConfigError(
            f"{name_a} and {name_b} have different classes: {one} is {_meaning(ours.get(first))} in {name_a} and "
            f"{_meaning(theirs.get(first))} in {name_b}; both need the same ids, names and isthing"
        )


def _meaning(category: Category | None) -> str:
    """Return what a category id stands for, for messages."""
    if category is None:
        return "missing"
    return f"{category.name!r} ({category.kind})"


def _category_from_json(entry: Any, index: int, where: str) -> Category:
    where = f"{where}: category number {index}"
    if not isinstance(entry, dict):
        raise DatasetError(f"{where} is not an object; each category needs id, name and isthing")
    for key in ("id", "name", "isthing"):
        if key not in entry:
            raise DatasetError(f"{where} has no {key!r}; COCO panoptic needs id, name and isthing")
    category_id, name, is_thing = whole(entry["id"]), entry["name"], flag(entry["isthing"])
    if category_id is None or not 0 <= category_id <= MAX_CATEGORY_ID:
        raise DatasetError(f"{where} has id {entry['id']!r}; a whole number from 0 to {MAX_CATEGORY_ID} is needed")
    if isinstance(name, bool) or not isinstance(name, str | int | float) or not str(name).strip():
        raise DatasetError(f"{where} has name {name!r}; a text is needed")
    if is_thing is None:
        raise DatasetError(f"{where} ({name!r}) has isthing {entry['isthing']!r}; 1 (thing) or 0 (stuff) is needed")
    return Category(
        category_id, str(name), is_thing, _color(entry.get("color") or default_color(index), f"{where} ({name!r})")
    )


def _color(values: Any, where: str) -> Color:
    numbers = [whole(value) for value in values] if isinstance(values, list | tuple) else []
    red, green, blue = numbers if len(numbers) == 3 else (None, None, None)
    if red is None or green is None or blue is None or not 0 <= min(red, green, blue) <= max(red, green, blue) <= 255:
        raise DatasetError(f"{where} has color {values!r}; three numbers from 0 to 255 are needed")
    return red, green, blue
