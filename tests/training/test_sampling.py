"""The order of images depends on the seed and the position in the run alone."""

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from yoso.training.sampling import EndlessSampler, seed_for


@given(length=st.integers(1, 40), seed=st.integers(0, 2**31), world=st.integers(1, 4), seen=st.integers(0, 60))
def test_resuming_and_sharing_change_nothing(length, seed, world, seen):
    whole = list(islice(EndlessSampler(length, seed), (seen + 10) * world))
    for rank in range(world):
        part = list(islice(EndlessSampler(length, seed, seen, rank, world), 10))
        assert part == whole[seen * world + rank :: world][:10]


@given(length=st.integers(1, 40), seed=st.integers(0, 2**31))
def test_every_epoch_shows_every_image_once(length, seed):
    drawn = list(islice(EndlessSampler(length, seed), 3 * length))
    for epoch in range(3):
        assert sorted(index for index, _ in drawn[epoch * length : (epoch + 1) * length]) == list(range(length))
    assert len({draw_seed for _, draw_seed in drawn}) == 3 * length


def test_seeds_depend_on_every_number():
    assert len({seed_for(0), seed_for(1), seed_for(0, 0), seed_for(0, 1), seed_for(0, 0, 1), seed_for(0, 1, 0)}) == 6
