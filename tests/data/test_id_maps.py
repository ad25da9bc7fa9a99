import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from yoso.data import id_maps
from yoso.data.id_maps import first_few, measure, renumbered

IDS = st.sampled_from([0, 1, 2, 300, 70000, 2**24 - 1])
MAPS = arrays(np.int32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=IDS)


def measured_plainly(id_map):
    found = {}
    for segment_id in np.unique(id_map[id_map != 0]).tolist():
        rows, columns = np.nonzero(id_map == segment_id)
        x, y = int(columns.min()), int(rows.min())
        found[segment_id] = (len(rows), [x, y, int(columns.max()) - x + 1, int(rows.max()) - y + 1])
    return found


@given(MAPS, st.integers(1, 30))
def test_measure_equals_the_plain_count_in_strips_of_any_height(id_map, strip):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(id_maps, "STRIP_PIXELS", strip)
        assert measure(id_map) == measured_plainly(id_map)


def test_measure_of_nothing():
    assert measure(np.zeros((0, 5), np.int32)) == {}
    assert measure(np.zeros((5, 0), np.int32)) == {}
    assert measure(np.zeros((5, 5), np.int32)) == {}


def test_measure_of_a_view():
    id_map = np.arange(24, dtype=np.int32).reshape(4, 6) // 5
    assert measure(id_map[::-1, ::2]) == measured_plainly(id_map[::-1, ::2])


def test_measure_needs_little_memory_whatever_the_size():
    id_map = (np.arange(12_000_000, dtype=np.int32) // 977 % 50).reshape(3000, 4000)
    tracemalloc.start()
    measured = measure(id_map)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(area for area, _ in measured.values()) == (id_map != 0).sum()
    assert peak < 0.5 * id_map.nbytes


@given(MAPS, st.lists(IDS.filter(bool), unique=True))
def test_renumbered_equals_the_plain_loop(id_map, ids):
    expected = np.zeros_like(id_map)
    for place, segment_id in enumerate(ids):
        expected[id_map == segment_id] = place + 1
    result = renumbered(id_map, np.array(ids, np.int32))
    assert result.dtype == np.int32
    np.testing.assert_array_equal(result, expected)


def test_shown():
    assert first_few([1, 2]) == "1, 2"
    assert first_few(list(range(7)), most=3) == "0, 1, 2 and 4 more"
