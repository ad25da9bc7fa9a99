"""A picture of the confusion matrices."""

from collections.abc import Sequence

import numpy as np

from yoso.drawing.confusion import ConfusionMatrix, draw_confusion
from yoso.evaluation.breakdown import Confusion
from yoso.evaluation.report import NOTHING, VOID_ROW


def confusion_picture(confusion: Confusion, names: Sequence[str]) -> np.ndarray:
    """Draw the matrices of segments and of pixels side by side.

    Args:
        confusion: the counts.
        names: of the classes.

    Returns:
        uint8 array (H, W, 3), RGB.
    """
    matrices = (
        ConfusionMatrix("segments: ground truth by row, prediction by column, % of the row", confusion.segments),
        ConfusionMatrix("pixels: ground truth by row, prediction by column, % of the row", confusion.pixels),
    )
    return draw_confusion(matrices, [*names, NOTHING, VOID_ROW], [*names, NOTHING])
