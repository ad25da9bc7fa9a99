"""Names on segments: where each fits best, and the dark plates that they are written on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]

COARSE_SIDE = 256
"""Places are searched on a map with at most this many pixels per side; a finer map makes no visible difference."""

PLATE_COLOR: Color = (18, 20, 24)
PLATE_OPACITY = 0.78
TEXT_COLOR: Color = (255, 255, 255)
SUPERSAMPLING = 4
MAX_CHARACTERS = 28


@dataclass(frozen=True)
class Name:
    """The name of a segment.

    Attributes:
        slot: the segment's value in the map of slots, from 1.
        text: one line.
        color: of the segment, repeated on the plate.
    """

    slot: int
    text: str
    color: Color


@dataclass(frozen=True)
class _Plate:
    """A name with its place: corner and size of the plate, and size of the text, all in pixels."""

    name: Name
    left: int
    top: int
    width: int
    height: int
    font_size: int

    def touches(self, other: "_Plate") -> bool:
        """Return whether the two overlap."""
        return (
            self.left < other.left + other.width
            and other.left < self.left + self.width
            and self.top < other.top + other.height
            and other.top < self.top + self.height
        )


def draw_names(canvas: np.ndarray, coarse_slots: np.ndarray, step: int, names: Sequence[Name]) -> None:
    """Write names on a picture, in place.

    Each name is placed where its segment has the most room for the text. The largest segments come first. A name that
    does not fit its segment, or would overlap another name, is left out.

    Args:
        canvas: uint8 (H, W, 3), RGB.
        coarse_slots: (h, w) slot at the middle of every `step` x `step` square of the canvas, 0 is void.
        step: pixels per coarse pixel.
        names: at most one per slot.
    """
    areas = np.bincount(coarse_slots.ravel(), minlength=1)
    boxes = _boxes(coarse_slots)
    placed: list[_Plate] = []
    for name in sorted((name for name in names if name.slot in boxes), key=lambda name: -areas[name.slot]):
        rows, columns = boxes[name.slot]
        mask = coarse_slots[rows, columns] == name.slot
        corner = (rows.start, columns.start)
        for font_size in _font_sizes(canvas.shape[:2]):
            plate = _place(name, mask, corner, step, font_size)
            if plate is not None and _free(plate, placed, canvas.shape[:2]):
                placed.append(plate)
                _draw(canvas, plate)
                break


def _boxes(slots: np.ndarray) -> dict[int, tuple[slice, slice]]:
    """Return the rows and columns of the box around each slot of a map (h, w); 0 is void and has none."""
    places = np.nonzero(slots)
    values, count = slots[places], int(slots.max(initial=0)) + 1
    first, last = np.full((2, count), max(slots.shape)), np.full((2, count), -1)
    for axis in (0, 1):
        np.minimum.at(first[axis], values, places[axis])
        np.maximum.at(last[axis], values, places[axis])
    return {
        slot: (slice(top, bottom + 1), slice(left, right + 1))
        for slot, (top, left, bottom, right) in enumerate(np.concatenate([first, last]).T.tolist())
        if bottom >= 0
    }


def _font_sizes(size: tuple[int, int]) -> tuple[int, ...]:
    """Return the text sizes to try, in pixels; they grow with the picture and stay readable on small ones."""
    usual = max(12, round(min(size) * 0.025))
    smaller = max(11, round(usual * 0.75))
    return (usual, smaller) if smaller < usual else (usual,)


def _free(plate: _Plate, placed: Sequence[_Plate], size: tuple[int, int]) -> bool:
    inside = plate.left >= 0 and plate.top >= 0
    inside = inside and plate.left + plate.width <= size[1] and plate.top + plate.height <= size[0]
    return inside and not any(plate.touches(other) for other in placed)


def _place(name: Name, mask: np.ndarray, corner: tuple[int, int], step: int, font_size: int) -> _Plate | None:
    """Find the place of a name: as far as possible from the border of the segment, where the text has room.

    Args:
        name: see `Name`.
        mask: (h, w) the segment in its box on the coarse map.
        corner: row and column of the box on the coarse map.
        step: pixels per coarse pixel.
        font_size: pixels.

    Returns:
        The plate, or None if the segment is too small for it.
    """
    width, height = _plate_size(name.text, font_size)
    if mask.sum() * step * step < 0.6 * width * height:
        return None
    mask = np.pad(mask, 1)
    # Half the height of the largest ellipse inside the segment around a pixel, with the proportions of the plate.
    room = _distance(mask, height / width)
    if room.max() * step < 0.5 * height:
        return None
    roomy = room >= min(room.max(), 0.75 * height / step)
    row, column = _middle(np.where(roomy, _distance(mask), 0))
    middle_x = (column - 1 + corner[1] + 0.5) * step
    middle_y = (row - 1 + corner[0] + 0.5) * step
    return _Plate(name, round(middle_x - width / 2), round(middle_y - height / 2), width, height, font_size)


def _distance(mask: np.ndarray, column_width: float = 1.0) -> np.ndarray:
    """Return each pixel's Euclidean distance to the nearest pixel outside the mask, in rows.

    SciPy's `distance_transform_edt` gives the same, but loading it takes longer than drawing many pictures.

    Args:
        mask: (h, w) of bool; False all along the edge.
        column_width: of a column, in rows.
    """
    rows = np.arange(mask.shape[0])[:, None]
    above = rows - np.maximum.accumulate(np.where(mask, -1, rows), axis=0)
    below = np.minimum.accumulate(np.where(mask, 2 * mask.shape[0], rows)[::-1], axis=0)[::-1] - rows
    # Transposed, so that neighboring columns are whole rows of memory.
    in_column = np.ascontiguousarray((np.minimum(above, below) ** 2).T, np.float64)
    squared = in_column.copy()
    for shift in range(1, len(in_column)):
        across = (shift * column_width) ** 2
        if shift % 8 == 1 and across >= squared.max():
            break
        moved = in_column + across
        np.minimum(squared[shift:], moved[:-shift], out=squared[shift:])
        np.minimum(squared[:-shift], moved[shift:], out=squared[:-shift])
    return np.sqrt(squared.T)


def _middle(distance: np.ndarray) -> tuple[int, int]:
    """Return row and column of the largest distance; on a ridge, its middle."""
    rows, columns = np.nonzero(distance >= 0.98 * distance.max())
    nearest = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    return int(rows[nearest]), int(columns[nearest])


@lru_cache(maxsize=16)
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's built-in typeface at a size in pixels."""
    return ImageFont.load_default(size=size)


def shortened(text: str, limit: int = MAX_CHARACTERS) -> str:
    """Return the text on one line, cut with an ellipsis if it has more than `limit` characters."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


@lru_cache(maxsize=512)
def _text_width(text: str, size: int) -> float:
    return font(size).getlength(text)


def _plate_size(text: str, font_size: int) -> tuple[int, int]:
    """Return width and height: padding, a dot of the segment's color, a gap, the text, padding."""
    return round(_text_width(text, font_size) + 1.75 * font_size), round(1.5 * font_size)


def _draw(canvas: np.ndarray, plate: _Plate) -> None:
    part = canvas[plate.top : plate.top + plate.height, plate.left : plate.left + plate.width]
    picture = Image.fromarray(part)
    size = plate.font_size
    outline = _smooth_mask(
        plate.width, plate.height, (0.0, 0.0, float(plate.width), float(plate.height)), 0.32 * plate.height
    )
    picture.paste(PLATE_COLOR, mask=outline.point(lambda value: round(value * PLATE_OPACITY)))
    dot, middle = 0.27 * size, plate.height / 2
    left = 0.5 * size
    for color, radius in ((TEXT_COLOR, dot), (plate.name.color, 0.8 * dot)):
        box = (left + dot - radius, middle - radius, left + dot + radius, middle + radius)
        picture.paste(color, mask=_smooth_mask(plate.width, plate.height, box, radius))
    writer = ImageDraw.Draw(picture)
    writer.text((left + 2 * dot + 0.3 * size, middle), plate.name.text, TEXT_COLOR, font(size), anchor="lm")
    part[:] = np.asarray(picture)


def _smooth_mask(width: int, height: int, box: tuple[float, float, float, float], radius: float) -> Image.Image:
    """Draw a rounded rectangle with smooth edges; Pillow's own are jagged."""
    large = Image.new("L", (width * SUPERSAMPLING, height * SUPERSAMPLING))
    left, top, right, bottom = (value * SUPERSAMPLING for value in box)
    ImageDraw.Draw(large).rounded_rectangle((left, top, right - 1, bottom - 1), radius * SUPERSAMPLING, fill=255)
    return large.reduce(SUPERSAMPLING)
