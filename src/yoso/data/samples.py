"""From a split's images to training samples."""

import numpy as np
import torch

from yoso.data.dataset import PanopticDataset
from yoso.data.id_maps import renumbered
from yoso.structures import Sample


def training_sample(dataset: PanopticDataset, index: int) -> Sample:
    """Read an image and its truth as a training sample.

    Ids become 1..M in the order of the JSON; void, crowd and unknown ids become void. A segment that the PNG lacks
    stays as an empty target.

    Args:
        dataset: the split.
        index: 0 to `len(dataset) - 1`.

    Raises:
        ImageError: see `PanopticDataset.example`.
        DatasetError: see there.
    """
    example = dataset.example(index)
    targets = [segment for segment in example.segments if not segment["iscrowd"]]
    ids = np.array([segment["id"] for segment in targets], np.int32)
    labels = [dataset.categories.index_of(segment["category_id"]) for segment in targets]
    return Sample(
        torch.from_numpy(example.image).permute(2, 0, 1),
        torch.from_numpy(renumbered(example.id_map, ids)),
        torch.tensor(labels, dtype=torch.int64),
        example.record.file_name,
    )
