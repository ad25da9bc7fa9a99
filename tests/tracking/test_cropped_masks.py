"""Cropped masks: what they hold, where they are, and that comparing two is comparing the whole maps."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from yoso.tracking.masks import CroppedMask, shared_pixels


def whole(mask, size=(30, 30)):
    """The mask on a canvas with a margin of ten pixels."""
    canvas = np.zeros(size, bool)
    left, top, right, bottom = (side + 10 for side in mask.box)
    canvas[top:bottom, left:right] = mask.pixels
    return canvas


def mask_of(id_map, segment_id):
    rows, columns = np.nonzero(id_map == segment_id)
    box = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
    return CroppedMask.of(id_map, segment_id, tuple(int(side) for side in box))


MAPS = hnp.arrays(np.int32, (10, 10), elements=st.integers(1, 3)).filter(lambda one: set(one.ravel()) == {1, 2, 3})
SHIFTS = st.tuples(*[st.integers(-9, 9)] * 2)


@settings(max_examples=40, deadline=None)
@given(MAPS, MAPS, SHIFTS)
def test_shared_pixels_are_those_of_whole_maps(one, other, shift):
    ones = [mask_of(one, i).moved(np.array(shift)) for i in (1, 2, 3)]
    others = [mask_of(other, i) for i in (1, 2, 3)]
    expected = [[(whole(a) & whole(b)).sum() for b in others] for a in ones]
    np.testing.assert_array_equal(shared_pixels(ones, others), expected)


@settings(max_examples=20, deadline=None)
@given(MAPS)
def test_area_and_centre(id_map):
    for segment_id in (1, 2, 3):
        mask = mask_of(id_map, segment_id)
        rows, columns = np.nonzero(id_map == segment_id)
        assert mask.area == len(rows)
        np.testing.assert_allclose(mask.centre, [columns.mean() + 0.5, rows.mean() + 0.5], atol=1e-5)


def test_small_shifts_add_up():
    mask = mask_of(np.array([[1, 1, 2, 3]], np.int32), 1)
    for _ in range(4):
        mask = mask.moved(np.array([0.4, -0.4]))
    assert mask.box[:2] == (2, -2)


def test_no_masks_share_nothing():
    assert shared_pixels([], []).shape == (0, 0)
