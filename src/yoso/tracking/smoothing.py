"""Boundaries that do not flicker: pixels at a boundary stay with the segment that had them in the frame before.

A network decides about pixels between two segments almost by chance, anew in every frame. So a pixel that changes hands
goes back to its previous owner if that one is at most `radius` pixels away in the new frame: a near-tie. What moves
further moves at once, so no frame waits for another, and no boundary is ever further than `radius` from where the
network puts it. The previous owners move along with their objects.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from yoso.errors import ConfigError
from yoso.tracking.masks import CroppedMask
from yoso.tracking.segments import Result, read_segmentation, read_things

MIN_COMMON = 3
"""Fewer objects do not tell how the camera moved."""


class Smoother:
    """Smooths the boundaries in results that a `Tracker` gave identities; see the top of this file.

    Attributes:
        radius: maximum distance in pixels from a previous owner, at least 1.
    """

    def __init__(self, radius: int = 1) -> None:
        """Begin without a previous frame.

        Raises:
            ConfigError: the radius is below 1.
        """
        if radius < 1:
            raise ConfigError(f"radius is {radius}; give at least 1 pixel")
        self.radius = radius
        self._steps = [
            (y, x)
            for y in range(-radius, radius + 1)
            for x in range(-radius, radius + 1)
            if 0 < abs(y) + abs(x) <= radius
        ]
        self.reset()

    def reset(self) -> None:
        """Forget the previous frame: the next one is the first of another video."""
        self._before: np.ndarray | None = None
        self._tracks: dict[int, int] = {}
        self._masks: dict[int, CroppedMask] = {}

    def update(self, result: Result) -> dict[str, Any]:
        """Smooth the next frame.

        Args:
            result: as `Tracker.update` returns it.

        Returns:
            A new dictionary with another `segmentation`, and `area` and `bbox` of the segments to match. A segment that
            has lost all its pixels is left out. A frame of another size than the one before is returned as it is.

        Raises:
            ConfigError: the result is not in this form, or a segment has no `track_id`.
        """
        segmentation, infos = read_segmentation(result), list(result["segments_info"])
        if any("track_id" not in info for info in infos):
            raise ConfigError("a segment has no track_id; give the result to Tracker.update first")
        masks = {thing.info["track_id"]: thing.mask for thing in read_things(segmentation, infos)}
        smooth, touched = segmentation, np.zeros(0, segmentation.dtype)
        if self._before is not None and self._before.shape == segmentation.shape:
            owners = self._previous_owners(segmentation, infos, masks)
            smooth, touched = self._smoothed(segmentation, owners)
        self._before, self._masks = smooth, masks
        self._tracks = {info["id"]: info["track_id"] for info in infos}
        changed = set(touched.tolist())
        described = [
            self._described(info, smooth, masks.get(info["track_id"])) if info["id"] in changed else info
            for info in infos
        ]
        return {**result, "segmentation": smooth, "segments_info": [info for info in described if info is not None]}

    def _previous_owners(
        self, segmentation: np.ndarray, infos: list[Mapping[str, Any]], masks: dict[int, CroppedMask]
    ) -> np.ndarray:
        """Return which segment of this frame had each pixel in the frame before, moved along; 0 for none."""
        assert self._before is not None
        own = {info["track_id"]: info["id"] for info in infos}
        before = _renamed(self._before, {old: own.get(track, 0) for old, track in self._tracks.items()})
        both = self._masks.keys() & masks.keys()
        moves = {track: np.rint(masks[track].centre - self._masks[track].centre).astype(int) for track in both}
        camera = np.zeros(2, int)
        if len(moves) >= MIN_COMMON:
            camera = np.rint(np.median(np.array(list(moves.values())), 0)).astype(int)
        owners = _shifted(before, camera)
        moving = [track for track in both if (moves[track] != camera).any()]
        for track in moving:
            _paint(owners, self._masks[track], camera, own[track], 0)
        for track in moving:
            _paint(owners, self._masks[track], moves[track], 0, own[track])
        return owners

    def _smoothed(self, segmentation: np.ndarray, owners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the smoothed id map, and the ids (n,) of the segments that it changed."""
        height, width = segmentation.shape
        places = np.flatnonzero((owners != segmentation) & (owners != 0))
        rows, columns = np.divmod(places, width)
        owner = owners.reshape(-1)[places]
        is_near = np.zeros(len(places), bool)
        for y, x in self._steps:
            neighbour = (rows + y).clip(0, height - 1) * width + (columns + x).clip(0, width - 1)
            is_near |= segmentation.reshape(-1)[neighbour] == owner
        places, owner = places[is_near], owner[is_near]
        smooth = segmentation.copy()
        smooth.reshape(-1)[places] = owner
        return smooth, np.union1d(owner, segmentation.reshape(-1)[places])

    def _described(
        self, info: Mapping[str, Any], smooth: np.ndarray, mask: CroppedMask | None
    ) -> dict[str, Any] | None:
        """Return the entry of a segment with its area and box as they are now; None if it has no pixels."""
        left, top, right, bottom = mask.box if mask else (0, 0, *smooth.shape[::-1])
        x, y = max(left - self.radius, 0), max(top - self.radius, 0)  # further away, nothing comes back to it
        pixels = smooth[y : bottom + self.radius, x : right + self.radius] == info["id"]
        rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
        if not len(rows):
            return None
        width, height = int(columns[-1] - columns[0]) + 1, int(rows[-1] - rows[0]) + 1
        box = [x + int(columns[0]), y + int(rows[0]), width, height]
        known = {"area": int(np.count_nonzero(pixels)), "bbox": box}
        return {**info, **{key: value for key, value in known.items() if key in info}}


def _renamed(id_map: np.ndarray, names: Mapping[int, int]) -> np.ndarray:
    """Return an id map with other ids; 0 for those without a name."""
    if id_map.max(initial=0) >= 1 << 16:
        values, inverse = np.unique(id_map, return_inverse=True)
        return np.array([names.get(value, 0) for value in values.tolist()], id_map.dtype)[inverse].reshape(id_map.shape)
    table = np.zeros(int(id_map.max(initial=0)) + 1, id_map.dtype)
    for old, new in names.items():
        if 0 < old < len(table):
            table[old] = new
    return table.take(id_map, mode="clip")  # three times as fast as with its check


def _shifted(owners: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return a map moved by whole pixels (x, y); 0 where it ends."""
    x, y = shift.tolist()
    if not x and not y:
        return owners
    moved = np.zeros_like(owners)
    height, width = owners.shape
    if abs(x) < width and abs(y) < height:
        rows, columns = height - abs(y), width - abs(x)
        part = owners[max(-y, 0) : max(-y, 0) + rows, max(-x, 0) : max(-x, 0) + columns]
        moved[max(y, 0) : max(y, 0) + rows, max(x, 0) : max(x, 0) + columns] = part
    return moved


def _paint(owners: np.ndarray, mask: CroppedMask, shift: np.ndarray, erased: int, painted: int) -> None:
    """Give the pixels of a mask, moved by (x, y), another owner; only those of `erased`, unless it is 0."""
    left, top, right, bottom = (side + move for side, move in zip(mask.box, (*shift.tolist(),) * 2, strict=True))
    x, y = max(left, 0), max(top, 0)
    part = owners[y : max(bottom, 0), x : max(right, 0)]
    pixels = mask.pixels[y - top :, x - left :][: part.shape[0], : part.shape[1]]
    part[pixels & (part == erased) if erased else pixels] = painted
