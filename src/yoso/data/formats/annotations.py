"""The annotation of one image as a map of segment ids."""

from typing import NamedTuple

import numpy as np

from yoso.data.formats.counts import AnnotationCounts

Size = tuple[int, int]
"""Height and width in pixels."""

Segments = list[dict[str, int]]


class ImageAnnotation(NamedTuple):
    """The segments of one image.

    Attributes:
        id_map: int32 (H, W), 0 is void.
        segments: `id`, `category_id`, `iscrowd` each.
        counts: what became of the source's annotations; None if the source is a map of segments already.
    """

    id_map: np.ndarray
    segments: Segments
    counts: AnnotationCounts | None = None
