"""How far the camera moved between two frames, from the segmentations alone."""

import numpy as np

CELLS = 96
"""The longer side of the small map on which the shift is estimated."""


class Camera:
    """Estimates the global shift of each frame against the one before, by phase correlation of segment boundaries."""

    def __init__(self) -> None:
        from scipy import fft
        self._fft = fft
        self._before: np.ndarray | None = None

    def shift(self, segmentation: np.ndarray, power: float = 1.0) -> tuple[float, float, float]:
        stride = -(-max(segmentation.shape) // CELLS)
        small = segmentation[::stride, ::stride]
        edges = ((small[1:, :-1] != small[:-1, :-1]) | (small[:-1, 1:] != small[:-1, :-1])).astype(np.float32)
        shape = edges.shape
        now = self._fft.rfft2(edges)
        before, self._before = self._before, now
        if before is None:
            return 0.0, 0.0, 0.0
        cross = now * before.conj()
        if power:
            cross = cross / np.maximum(np.abs(cross), 1e-6) ** power
        peak = self._fft.irfft2(cross, shape)
        place = int(peak.argmax())
        y, x = divmod(place, shape[1])
        dy, dx = (y + _vertex(peak[:, x], y)), (x + _vertex(peak[y], x))
        dy = dy - shape[0] if dy > shape[0] / 2 else dy
        dx = dx - shape[1] if dx > shape[1] / 2 else dx
        return dx * stride, dy * stride, float(peak.flat[place])


def _vertex(row: np.ndarray, place: int) -> float:
    before, here, after = row[place - 1], row[place], row[(place + 1) % len(row)]
    curve = before - 2 * here + after
    return float((before - after) / (2 * curve)) if curve < 0 else 0.0
