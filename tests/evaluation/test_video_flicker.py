"""Flicker: what changes and changes back counts, what moves on does not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from yoso.errors import ConfigError, DatasetError
from yoso.evaluation.flicker import flicker


def rows(*texts):
    return [np.array([[int(digit) for digit in text]]) for text in texts]


def test_a_pixel_that_changes_and_changes_back_counts_once():
    assert flicker(rows("1122", "1112", "1122"), num_frames=1) == 0.25
    assert flicker(rows("1122", "1112", "1112", "1122"), num_frames=1) == 0
    assert flicker(rows("1122", "1112", "1112", "1122"), num_frames=2) == 0.25


def test_a_boundary_that_moves_on_does_not_count():
    assert flicker(rows("1222", "1122", "1112", "1111"), num_frames=1) == 0


def test_a_still_video_does_not_flicker_and_a_short_one_has_no_figure():
    assert flicker(rows("1122", "1122", "1122"), num_frames=1) == 0
    assert np.isnan(flicker(rows("1122", "1122"), num_frames=1))
    assert np.isnan(flicker([]))


@given(hnp.arrays(np.int64, st.tuples(st.integers(3, 8), st.just(2), st.just(3)), elements=st.integers(0, 2)))
@settings(deadline=None, max_examples=50)
def test_equals_its_definition(maps):
    n = 2
    shares = [
        np.mean([
            maps[t][p] != maps[t - 1][p] and any(maps[s][p] == maps[t - 1][p] for s in range(t + 1, t + n + 1))
            for p in np.ndindex(2, 3)
        ])
        for t in range(1, len(maps) - n)
    ]  # fmt: skip
    np.testing.assert_allclose(flicker(maps, n), np.mean(shares) if shares else np.nan, rtol=0, atol=1e-12)


def test_faults_are_named():
    with pytest.raises(ConfigError, match="num_frames is 0; give at least 1"):
        flicker([], 0)
    with pytest.raises(DatasetError, match=r"frame 1 is of shape \(1, 2\), the one before of \(1, 3\)"):
        flicker(rows("111", "11"))
