"""Overlays: filled segments with outlines and names; and contact sheets of many pictures."""

import colorsys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from yoso.categories import Color, default_color
from yoso.drawing.labels import COARSE_SIDE, Name, draw_names, font, shortened
from yoso.files import PathLike, read_image, to_rgb

STRIP_PIXELS = 2**20
"""Pixels painted at a time, which bounds the memory needed beyond the picture itself."""

OUTLINE_ALPHA = 0.9
SMALL_IDS = 2**16
"""Segment ids below this are looked up in a table, larger ones (COCO's go up to 2^24) by bisection."""

Picture = PathLike | Image.Image | np.ndarray


def render(image: Picture, result: Mapping[str, Any], *, alpha: float = 0.5, labels: bool = True) -> np.ndarray:
    """Draw a panoptic result over its image.

    Segments are outlined and filled with the color of their category, things of one category in different shades.
    Names are written where they fit without overlapping. Void pixels are left unchanged.

    Args:
        image: a path, a PIL image, or a uint8 RGB array (H, W, 3); it is not changed. If its size differs from the
            result's, it is resized to that.
        result: `segmentation`, an integer array or tensor (H, W), and `segments_info`, a list of dictionaries with
            `id`, `label_id`, and optionally `label`, `is_thing`, `color` (R, G, B) and `shade`, the number of a
            thing's variant of the color. Ids of the segmentation that are not in the list count as void.
        alpha: opacity of the color, 0 (image alone) to 1 (color alone).
        labels: write the names.

    Returns:
        uint8 array (H, W, 3), RGB.

    Raises:
        ImageError: the image cannot be read.
        ValueError: `alpha` is not between 0 and 1, or an array has the wrong shape or type.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}; it must be between 0 and 1")
    segmentation = _id_map(result["segmentation"])
    canvas = _canvas(image, (segmentation.shape[0], segmentation.shape[1]))
    entries = [entry for entry in result["segments_info"] if entry["id"] > 0]
    colors = _shades(entries)
    slots = _Slots.of([entry["id"] for entry in entries])
    if entries:
        paint = _Paint.of(colors, alpha)
        thickness = max(1, round(min(segmentation.shape) / 640))
        for rows, strip, outline in _strips(segmentation, slots, thickness):
            paint.fill(canvas[rows], strip, outline)
    if labels and entries:
        step = max(1, -(-max(segmentation.shape) // COARSE_SIDE))
        start = min(step // 2, min(segmentation.shape) - 1)
        coarse = slots.look_up(segmentation[start::step, start::step])
        names = [
            Name(slot, shortened(str(entry.get("label") or entry["label_id"])), color)
            for slot, (entry, color) in enumerate(zip(entries, colors, strict=True), start=1)
        ]
        draw_names(canvas, coarse, step, names)
    return canvas


def _id_map(segmentation: Any) -> np.ndarray:
    # Tensors are recognized by a method, so that drawing works without torch.
    segmentation = np.asarray(segmentation.cpu() if hasattr(segmentation, "cpu") else segmentation)
    if segmentation.ndim != 2 or segmentation.size == 0 or segmentation.dtype.kind not in "iu":
        raise ValueError(
            f"a segmentation is an integer map (H, W); this one is {segmentation.dtype} {segmentation.shape}"
        )
    return segmentation.astype(np.int64) if segmentation.dtype == np.uint64 else segmentation


def _canvas(image: Picture, size: tuple[int, int]) -> np.ndarray:
    """Return a new RGB array of the wanted size (H, W) to draw on."""
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"an image is a uint8 RGB array (H, W, 3); this one is {image.dtype} {image.shape}")
        array = image
    else:
        array = to_rgb(image) if isinstance(image, Image.Image) else read_image(image)
    if array.shape[:2] != size:
        resized = Image.fromarray(array).resize((size[1], size[0]), Image.Resampling.BICUBIC)
        return np.array(resized)
    return array.copy() if array is image else array


def _shades(entries: Sequence[Mapping[str, Any]]) -> list[Color]:
    """Return a color per segment: that of the category, varied from thing to thing."""
    seen: Counter[Any] = Counter()
    colors = []
    for entry in entries:
        label_id = entry["label_id"]
        red, green, blue = entry.get("color") or default_color(label_id)
        color = (int(red), int(green), int(blue))
        if entry.get("is_thing"):
            color = _shade(color, int(entry.get("shade", seen[label_id])))
            seen[label_id] += 1
        colors.append(color)
    return colors


def _shade(color: Color, rank: int) -> Color:
    """Return the color itself for rank 0, and well-spread lightness and slightly turned hues for the next ranks."""
    if rank == 0:
        return color
    hue, lightness, saturation = colorsys.rgb_to_hls(*(value / 255 for value in color))
    spread = ((lightness - 0.3) / 0.45 + rank * 0.61803398875) % 1.0
    turn = ((rank * 0.75487766625) % 1.0 - 0.5) * 0.12
    rgb = colorsys.hls_to_rgb((hue + turn) % 1.0, 0.3 + 0.45 * spread, saturation)
    return round(rgb[0] * 255), round(rgb[1] * 255), round(rgb[2] * 255)


@dataclass(frozen=True)
class _Slots:
    """Maps segment ids, which may be any numbers, to slots 1..S in the order of the segments; 0 is void.

    Attributes:
        ids: the ids, ascending.
        slots: the slot of each.
        table: slot per id, and one more entry for all larger ids; None if ids are too large for a table.
    """

    ids: np.ndarray
    slots: np.ndarray
    table: np.ndarray | None

    @classmethod
    def of(cls, ids: Sequence[int]) -> "_Slots":
        """Number the ids 1, 2, ... in the given order; all other ids get 0."""
        values = np.array(ids, np.int64)
        order = np.argsort(values, kind="stable")
        slots = (order + 1).astype(np.int32)
        table = None
        if max(ids, default=0) < SMALL_IDS:
            table = np.zeros(max(ids, default=0) + 2, np.int32)
            table[values] = np.arange(1, len(values) + 1)
        return cls(values[order], slots, table)

    def look_up(self, segmentation: np.ndarray) -> np.ndarray:
        """Return int32 slots of the same shape."""
        if self.table is not None:
            return np.take(self.table, segmentation, mode="clip")
        position = np.searchsorted(self.ids, segmentation).clip(max=len(self.ids) - 1)
        return np.where(self.ids[position] == segmentation, self.slots[position], 0).astype(np.int32)


def _strips(segmentation: np.ndarray, slots: _Slots, thickness: int) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield strips of rows: their rows, their slots, and a bool mask of their outlines."""
    height, width = segmentation.shape
    step = max(1, STRIP_PIXELS // width)
    for start in range(0, height, step):
        stop = min(start + step, height)
        first, last = max(0, start - thickness), min(height, stop + thickness)
        around = slots.look_up(segmentation[first:last])
        outline = _widened(_edges(around), thickness - 1)
        own = slice(start - first, stop - first)
        yield slice(start, stop), around[own], outline[own]


def _edges(slots: np.ndarray) -> np.ndarray:
    """Mark the pixels with a right, left, lower or upper neighbor of another slot."""
    edges = np.zeros(slots.shape, bool)
    for differs, here, there in (
        (slots[:, 1:] != slots[:, :-1], edges[:, 1:], edges[:, :-1]),
        (slots[1:] != slots[:-1], edges[1:], edges[:-1]),
    ):
        here |= differs
        there |= differs
    return edges


def _widened(edges: np.ndarray, reach: int) -> np.ndarray:
    """Mark, in place, every pixel within `reach` rows and columns of a marked one, in log(reach) steps."""
    for turned in (edges, edges.T):
        done = 0
        while done < reach:
            shift = min(done + 1, reach - done)
            before = turned.copy()
            turned[shift:] |= before[:-shift]
            turned[:-shift] |= before[shift:]
            done += shift
    return edges


@dataclass(frozen=True)
class _Paint:
    """Blending tables, indexed by 2 x slot + outline: pixel x `keep` + `add`, in 256ths.

    Attributes:
        keep: uint16 (2 S + 2, 1) share of the image; 256 for void.
        add: uint16 (2 S + 2, 3) color times its share, plus one half for rounding.
    """

    keep: np.ndarray
    add: np.ndarray

    @classmethod
    def of(cls, colors: Sequence[Color], alpha: float) -> "_Paint":
        share = np.zeros((len(colors) + 1, 2, 1))
        share[1:, 0] = round(alpha * 256)
        share[1:, 1] = round(max(alpha, OUTLINE_ALPHA if alpha else 0) * 256)
        rgb = np.zeros((len(colors) + 1, 2, 3))
        rgb[1:, 0] = colors
        rgb[1:, 1] = [_outline_color(color) for color in colors]
        add = share * rgb + 128
        return cls((256 - share).reshape(-1, 1).astype(np.uint16), add.reshape(-1, 3).astype(np.uint16))

    def fill(self, canvas: np.ndarray, slots: np.ndarray, outline: np.ndarray) -> None:
        """Paint a strip in place."""
        code = 2 * slots + outline
        blended = self.keep.take(code, axis=0, mode="clip")
        blended = blended * canvas
        blended += self.add.take(code, axis=0, mode="clip")
        blended >>= 8
        canvas[:] = blended


def _outline_color(color: Color) -> Color:
    red, green, blue = color
    return red // 2, green // 2, blue // 2


def contact_sheet(tiles: Sequence[tuple[np.ndarray, str]], columns: int = 4, *, tile_side: int = 360) -> np.ndarray:
    """Put pictures with titles on one sheet, row by row.

    Args:
        tiles: uint8 RGB arrays (H, W, 3) of any sizes, and their titles, which are cut if they are too long.
        columns: pictures per row.
        tile_side: longer side of the resized pictures, in pixels.

    Returns:
        uint8 array (H, W, 3), RGB.

    Raises:
        ValueError: no picture, or fewer than one column.
    """
    if not tiles or columns < 1:
        raise ValueError(f"a contact sheet needs a picture and a column; there are {len(tiles)} and {columns}")
    columns = min(columns, len(tiles))
    gap, size = max(4, tile_side // 40), max(11, tile_side // 24)
    small = [(_fitted(image, tile_side), title) for image, title in tiles]
    widest = max(picture.width for picture, _ in small)
    rows = [small[start : start + columns] for start in range(0, len(small), columns)]
    heights = [max(picture.height for picture, _ in row) + 2 * size for row in rows]
    sheet = Image.new("RGB", (columns * (widest + gap) + gap, sum(heights) + gap * (len(rows) + 1)), (250, 250, 250))
    writer = ImageDraw.Draw(sheet)
    top = gap
    for row, height in zip(rows, heights, strict=True):
        for place, (picture, title) in enumerate(row):
            left = gap + place * (widest + gap)
            writer.text((left, top + size), _cut(title, size, widest), (30, 32, 36), font(size), anchor="lm")
            sheet.paste(picture, (left + (widest - picture.width) // 2, top + 2 * size))
        top += height + gap
    return np.array(sheet)


def _fitted(image: np.ndarray, side: int) -> Image.Image:
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return Image.fromarray(image).resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST)


def _cut(title: str, size: int, width: int) -> str:
    """Shorten a title from its end until it is at most `width` pixels wide."""
    title = shortened(title, limit=200)
    limit = len(title)
    while limit > 1 and font(size).getlength(shortened(title, limit)) > width:
        limit -= 1
    return shortened(title, limit)
