"""Things of one image over another."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from yoso.data.copy_paste import pasted
from yoso.data.transforms import Draw
from yoso.structures import PADDING, Sample

IS_THING = torch.tensor([True, True, False])


def sample(height, width, count, generator, shade):
    """A picture of one shade with random segments; some positions are void, some padding."""
    segments = torch.randint(PADDING, count + 1, (height, width), generator=generator)
    labels = torch.randint(0, 3, (count,), generator=generator)
    return Sample(torch.full((3, height, width), shade, dtype=torch.uint8), segments, labels, str(shade))


SIDES, COUNTS = st.tuples(*[st.integers(2, 12)] * 4), st.tuples(*[st.integers(0, 6)] * 2)


@given(seed=st.integers(0, 1000), sides=SIDES, counts=COUNTS)
def test_what_is_pasted_is_the_donor_s_and_the_rest_is_as_before(seed, sides, counts):
    generator = torch.Generator().manual_seed(seed)
    below, donor = sample(*sides[:2], counts[0], generator, 10), sample(*sides[2:], counts[1], generator, 200)
    kept = below.image.clone(), below.segment_map.clone()
    result = pasted(below, donor, IS_THING, Draw(generator))
    assert torch.equal(below.image, kept[0])
    assert torch.equal(below.segment_map, kept[1])
    changed = result.image[0] == 200
    assert torch.equal(result.image[:, ~changed], below.image[:, ~changed])
    assert torch.equal(result.segment_map[~changed], below.segment_map[~changed])
    assert not (below.segment_map[changed] == PADDING).any()
    assert torch.equal(result.labels[: len(below.labels)], below.labels)
    added = range(len(below.labels) + 1, len(result.labels) + 1)
    assert sorted(result.segment_map[changed].unique().tolist()) == list(added)
    donors = torch.nonzero(changed)
    for target in added:
        places = donors[result.segment_map[changed] == target]
        origin = donor.segment_map[places[:, 0], places[:, 1]].unique()
        assert len(origin) == 1
        label = donor.labels[int(origin) - 1]
        assert IS_THING[label]
        assert result.labels[target - 1] == label


def test_about_half_of_the_things_are_taken():
    generator = torch.Generator().manual_seed(0)
    ids = torch.arange(1, 401).reshape(20, 20)
    donor = Sample(torch.full((3, 20, 20), 9, dtype=torch.uint8), ids, torch.arange(400) % 2, "donor")
    empty = Sample(torch.zeros(3, 20, 20, dtype=torch.uint8), torch.zeros_like(ids), torch.zeros(0).long(), "below")
    taken = pasted(empty, donor, torch.tensor([True, False]), Draw(generator))
    assert len(taken.labels) == pytest.approx(100, abs=25)
    assert not taken.labels.any()
