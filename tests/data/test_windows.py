"""Windows and quarter turns, the augmentations for images without an upper side."""

import numpy as np
import pytest
import torch

from yoso.data.augmentation import Augmentation
from yoso.data.transforms import RandomSource, build_transform, cut_out, turned
from yoso.errors import ConfigError
from yoso.structures import PADDING, Sample


def grid_sample(height, width, cell):
    """Return an image of numbered cells, each a target whose label is its number and whose color is its number."""
    rows, columns = -(-height // cell), -(-width // cell)
    numbers = np.arange(1, rows * columns + 1, dtype=np.int32).reshape(rows, columns)
    segments = np.kron(numbers, np.ones((cell, cell), np.int32))[:height, :width].copy()
    image = torch.from_numpy(np.stack([segments.astype(np.uint8)] * 3))
    return Sample(image, torch.from_numpy(segments), torch.arange(1, rows * columns + 1), "x.png")


@pytest.mark.parametrize(("height", "width"), [(32, 48), (8, 64), (64, 8), (16, 16), (5, 5)])
def test_a_window_keeps_the_targets_inside_it_and_their_labels(height, width):
    sample = grid_sample(height, width, 4)
    for seed in range(5):
        cut = cut_out(sample, 16, RandomSource(torch.Generator().manual_seed(seed)))
        assert cut.segment_map.shape == (min(height, 16), min(width, 16)) == cut.image.shape[1:]
        assert cut.segment_map.unique().tolist() == list(range(1, len(cut.labels) + 1))
        assert torch.equal(cut.labels[cut.segment_map.long() - 1], cut.image[0].long())


def test_void_and_padding_stay_in_a_window():
    segments = torch.tensor([[0, PADDING], [2, 0]], dtype=torch.int32)
    sample = Sample(torch.zeros(3, 2, 2, dtype=torch.uint8), segments, torch.tensor([5, 6]), "x.png")
    cut = cut_out(sample, 2, RandomSource(torch.Generator()))
    assert cut.segment_map.tolist() == [[0, PADDING], [1, 0]]
    assert cut.labels.tolist() == [6]


def test_a_window_without_any_target_has_none():
    sample = Sample(
        torch.zeros(3, 4, 4, dtype=torch.uint8), torch.zeros(4, 4, dtype=torch.int32), torch.tensor([1]), "x.png"
    )
    assert len(cut_out(sample, 2, RandomSource(torch.Generator())).labels) == 0


def test_quarter_turns_move_image_and_map_together():
    sample = grid_sample(8, 12, 4)
    image, segments = turned(sample.image.permute(1, 2, 0).numpy(), sample.segment_map.numpy(), 1)
    assert segments.shape == (12, 8)
    assert (image[..., 0] == segments).all()
    assert segments[-1, 0] == sample.segment_map[0, 0]


def test_windows_and_turns_pass_through_the_whole_transform():
    augmentation = Augmentation(size=(32, 32), scale=(1.0, 1.0), window=16, turn=True)
    transform = build_transform(augmentation)
    seen = set()
    for seed in range(8):
        moved = transform(grid_sample(32, 48, 4), torch.Generator().manual_seed(seed))
        assert moved.image.shape == (3, 32, 32)
        assert set(moved.segment_map.unique().tolist()) == set(range(1, len(moved.labels) + 1))
        seen.add(tuple(moved.labels.tolist()))
    assert len(seen) > 4


def test_without_window_and_turn_the_random_numbers_are_as_before():
    sample = grid_sample(32, 48, 4)
    plain = build_transform(Augmentation(size=(32, 32)))(sample, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    again = build_transform(Augmentation(size=(32, 32), window=0, turn=False))(sample, generator)
    assert torch.equal(plain.image, again.image)
    assert torch.equal(plain.segment_map, again.segment_map)


def test_a_negative_window_is_refused():
    with pytest.raises(ConfigError, match=r"augmentation\.window is -1; give a number of pixels, or 0 for none"):
        Augmentation(window=-1)
