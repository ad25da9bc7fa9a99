"""Zones and lines: how many different objects of each class were inside, or crossed."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from yoso.errors import ConfigError

Point = tuple[float, float]

_NAME = re.compile(r"[^:\s][^:]*")


@dataclass(frozen=True)
class Place:
    """A zone (polygon) or a line.

    Attributes:
        name: of one's own choice.
        points: corners (x, y), in pixels or in shares of the frame.
        in_shares: all coordinates are between 0 and 1, so they are shares.
        is_line: a line from one point to another.
    """

    name: str
    points: tuple[Point, ...]
    in_shares: bool
    is_line: bool

    def in_pixels(self, width: int, height: int) -> list[Point]:
        """Return the points in pixels of a frame.

        Raises:
            ConfigError: a point is outside the frame.
        """
        scale = (width, height) if self.in_shares else (1, 1)
        points = [(x * scale[0], y * scale[1]) for x, y in self.points]
        for x, y in points:
            if not (0 <= x <= width and 0 <= y <= height):
                raise ConfigError(
                    f"--{self._kind} {self.name}: the point {x:g},{y:g} is outside the frame of {width} x {height}; "
                    "give pixels of the frame, or shares from 0 to 1"
                )
        return points

    @property
    def _kind(self) -> str:
        return "line" if self.is_line else "zone"


def parse_zone(text: str) -> Place:
    """Read `NAME:x1,y1,x2,y2,x3,y3,...`.

    Raises:
        ConfigError: it is something else, has fewer than three points, or no area.
    """
    place = _parse(text, "zone")
    if len(place.points) < 3:
        raise ConfigError(f"--zone {text}: a zone needs at least 3 points, this one has {len(place.points)}")
    if _area(place.points) == 0:
        raise ConfigError(f"--zone {text}: the points enclose no area; give the corners of a polygon")
    return place


def parse_line(text: str) -> Place:
    """Read `NAME:x1,y1,x2,y2`.

    Raises:
        ConfigError: it is something else, or both points are one.
    """
    place = _parse(text, "line")
    if len(place.points) != 2 or place.points[0] == place.points[1]:
        raise ConfigError(f"--line {text}: a line needs 2 different points; give NAME:x1,y1,x2,y2")
    return place


def _parse(text: str, kind: str) -> Place:
    name, _, numbers = text.partition(":")
    try:
        values = [float(number) for number in numbers.split(",")]
    except ValueError:
        values = []
    if not _NAME.fullmatch(name) or not values or len(values) % 2 or not all(abs(value) < 1e6 for value in values):
        raise ConfigError(f"--{kind} {text}: give NAME:x1,y1,x2,y2,... in pixels, or in shares from 0 to 1")
    points = tuple(zip(values[::2], values[1::2], strict=True))
    return Place(name, points, all(0 <= value <= 1 for value in values), kind == "line")


def _area(points: Iterable[Point]) -> float:
    corners = list(points)
    return sum(a[0] * b[1] - a[1] * b[0] for a, b in pairwise([*corners, corners[0]])) / 2


def check_names(places: Iterable[Place]) -> None:
    """Refuse two places of one name.

    Raises:
        ConfigError: there are two.
    """
    for name, count in Counter(place.name for place in places).items():
        if count > 1:
            raise ConfigError(f"two zones or lines are called {name!r}; give each its own name")


class PlaceCounter:
    """Counts the tracks that were in each zone and those that crossed each line, each track once per class.

    A track is where the middle of its box is. A line is crossed "in" from its left side to its right side as one looks
    from its first point to its second, and "out" the other way.
    """

    def __init__(self, places: list[Place]) -> None:
        """Begin with no counts.

        Raises:
            ConfigError: two places have one name.
        """
        check_names(places)
        self._places = places
        self._pixels: dict[str, list[Point]] = {}
        self._seen: dict[str, dict[str, set[tuple[str, int]]]] = {
            place.name: {way: set() for way in (("in", "out") if place.is_line else ("unique",))} for place in places
        }
        self._before: dict[int, Point] = {}

    def fit(self, height: int, width: int) -> None:
        """Take the size of the frames; `update` does so too.

        Raises:
            ConfigError: a place is outside the frame.
        """
        self._pixels = {place.name: place.in_pixels(width, height) for place in self._places}

    def update(self, result: Mapping[str, Any]) -> dict[str, dict[str, int]]:
        """Count a frame, and return the things in each zone now, by class.

        Args:
            result: with a `track_id` in the segments that count; those with `is_confirmed` False do not.

        Raises:
            ConfigError: a place is outside the frame.
        """
        if not self._pixels:
            self.fit(*result["segmentation"].shape)
        now: dict[str, Counter[str]] = {place.name: Counter() for place in self._places if not place.is_line}
        middles: dict[int, Point] = {}
        for info in result["segments_info"]:
            if not info["is_thing"] or info.get("track_id") is None or not info.get("is_confirmed", True):
                continue
            x, y, w, h = info["bbox"]
            track_id, middle = info["track_id"], (x + w / 2, y + h / 2)
            middles[track_id] = middle
            for place in self._places:
                points = self._pixels[place.name]
                if place.is_line:
                    self._cross(place.name, info, points, middle)
                elif _inside(middle, points):
                    now[place.name][info["label"]] += 1
                    self._seen[place.name]["unique"].add((info["label"], track_id))
        self._before |= middles
        return {name: dict(counts) for name, counts in now.items()}

    def _cross(self, name: str, info: Mapping[str, Any], line: list[Point], middle: Point) -> None:
        before = self._before.get(info["track_id"])
        if before is None or not _meet(before, middle, line[0], line[1]):
            return
        way = "in" if _side(line[0], line[1], middle) > 0 else "out"
        self._seen[name][way].add((info["label"], info["track_id"]))

    def totals(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return the number of different tracks by place, way ("unique"; "in", "out") and class."""
        return {
            name: {way: dict(sorted(Counter(label for label, _ in seen).items())) for way, seen in ways.items()}
            for name, ways in self._seen.items()
        }


def _side(start: Point, end: Point, point: Point) -> float:
    """Return a positive number right of a directed line (y points down), a negative one left of it, 0 on it."""
    return (end[0] - start[0]) * (point[1] - start[1]) - (end[1] - start[1]) * (point[0] - start[0])


def _meet(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Say whether the way from a to b crosses the line from c to d; a point on the line counts to its left side."""
    return (_side(c, d, a) > 0) != (_side(c, d, b) > 0) and (_side(a, b, c) > 0) != (_side(a, b, d) > 0)


def _inside(point: Point, corners: list[Point]) -> bool:
    """Say whether a point is inside a polygon, by the even-odd rule."""
    x, y = point
    inside = False
    for (x1, y1), (x2, y2) in pairwise([*corners, corners[0]]):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
            inside = not inside
    return inside
