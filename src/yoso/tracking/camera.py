"""How far the camera moved between two frames, from the segmentations alone.

Phase correlation of the segments' boundaries on a small map gives a shift. Among equal objects it may be off by one of
them, so it competes with two other guesses, the camera's last motion and no motion: the guess wins that best maps the
classes of the frame before onto those of this frame.
"""

import numpy as np

from yoso.installation import optional_packages

CELLS = 96
"""Longer side of the small map."""

WHITENING = 0.7
"""Power of the spectrum that is divided out: 0 is plain correlation, 1 keeps the phase alone."""

STILL_BONUS = 0.02
"""What a camera at rest has ahead of other guesses, in share of the map."""

CHANGE_PENALTY = 0.2
"""What a guess loses for each length of the map by which it differs from the last motion."""

MIN_OVERLAP = 0.4
"""A guess that leaves less of a side than this in view is not compared."""

MIN_TRACKS = 4
MIN_CONSENSUS = 0.6
MAX_DEVIATION = 1.5
"""If at least 60% of at least 4 tracks moved alike within 1.5 pixels, the camera did."""


class CameraShift:
    """Estimates the shift of each frame against the one before.

    Attributes:
        motion: (2,) the last shift in pixels to the right and down, corrected by what the tracks did.
    """

    def __init__(self) -> None:
        """Begin with a camera at rest."""
        with optional_packages("tracking", "video"):
            from scipy import fft

        self._fft = fft
        self._spectrum: np.ndarray | None = None
        self._classes = np.zeros((0, 0))
        self.motion = np.zeros(2)

    def shift(self, segmentation: np.ndarray, label_ids: dict[int, int]) -> np.ndarray:
        """Return how far the content of the frame moved since the last call.

        Args:
            segmentation: (H, W) integers; the size is the same in every call.
            label_ids: class index per segment id.

        Returns:
            (2,) pixels to the right and down.
        """
        stride = -(-max(segmentation.shape) // CELLS)
        small = segmentation[::stride, ::stride]
        edges = ((small[1:, :-1] != small[:-1, :-1]) | (small[:-1, 1:] != small[:-1, :-1])).astype(np.float32)
        classes = _classes(small, label_ids)
        before, self._spectrum = self._spectrum, self._fft.rfft2(edges) if edges.size else np.zeros(0)
        classes_before, self._classes = self._classes, classes
        if before is not None and edges.size:
            last = self.motion / stride
            measured = self._correlated(before, edges.shape)
            guesses = [(last, 0.0), (np.zeros(2), STILL_BONUS), (measured, 0.0)]
            scores = [
                _agreement(classes_before, classes, guess)
                + bonus
                - CHANGE_PENALTY * float(np.linalg.norm(guess - last)) / max(classes.shape)
                for guess, bonus in guesses
            ]
            self.motion = guesses[int(np.argmax(scores))][0] * stride
        return self.motion

    def correct(self, unexplained: np.ndarray) -> None:
        """Correct the last shift by what most tracks did beyond it.

        Args:
            unexplained: (n, 2) displacement of each track that was seen in both frames, minus the camera's, in pixels.
        """
        if len(unexplained) < MIN_TRACKS:
            return
        common = np.median(unexplained, 0)
        if (np.linalg.norm(unexplained - common, axis=1) < MAX_DEVIATION).mean() >= MIN_CONSENSUS:
            self.motion = self.motion + common

    def _correlated(self, before: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Return the shift of the small map by phase correlation, to a fraction of a cell."""
        cross = self._spectrum * before.conj()
        cross = cross / np.maximum(np.abs(cross), 1e-6) ** WHITENING
        peaks = self._fft.irfft2(cross, shape)
        y, x = divmod(int(peaks.argmax()), shape[1])
        place = np.array([x + _vertex(peaks[y], x), y + _vertex(peaks[:, x], y)])
        size = np.array(shape[::-1])
        return np.where(place > size / 2, place - size, place)


def _classes(small: np.ndarray, label_ids: dict[int, int]) -> np.ndarray:
    """Return the class index plus 1 of each cell; 0 for void."""
    ids = np.array(sorted(label_ids), np.int64)
    if not len(ids):
        return np.zeros(small.shape, np.int32)
    labels = np.array([label_ids[i] + 1 for i in ids.tolist()], np.int32)
    place = np.minimum(np.searchsorted(ids, small), len(ids) - 1)
    return np.where(ids[place] == small, labels[place], 0)


def _agreement(before: np.ndarray, now: np.ndarray, shift: np.ndarray) -> float:
    """Return the share of cells that have one class in both maps, after a shift (2,) of the first; 0 to 1."""
    (height, width), (x, y) = now.shape, (round(side) for side in shift.tolist())
    rows, columns = height - abs(y), width - abs(x)
    if rows < MIN_OVERLAP * height or columns < MIN_OVERLAP * width:
        return 0.0
    moved = before[max(-y, 0) : max(-y, 0) + rows, max(-x, 0) : max(-x, 0) + columns]
    return float((moved == now[max(y, 0) : max(y, 0) + rows, max(x, 0) : max(x, 0) + columns]).mean())


def _vertex(row: np.ndarray, place: int) -> float:
    """Return how far the top of the parabola through three neighbours is from the middle one."""
    before, here, after = row[place - 1], row[place], row[(place + 1) % len(row)]
    curve = before - 2 * here + after
    return float((before - after) / (2 * curve)) if curve < 0 else 0.0
