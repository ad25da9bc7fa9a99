"""Panoptic copy-paste: things of one training image laid over another."""

import torch

from yoso.data.transforms import Draw
from yoso.structures import PADDING, Sample


def pasted(sample: Sample, donor: Sample, is_thing: torch.Tensor, draw: Draw) -> Sample:
    """Lay about half of another image's things over an image, where both have one.

    What they cover is theirs; a target that is covered wholly stays as an empty one, as after a crop.

    Args:
        sample: the image below; left as it is.
        donor: the image whose things are taken, augmented likewise; both lie at the top left of their frames.
        is_thing: (K,) bool, by class index.
        draw: where the random numbers come from.
    """
    chosen = torch.tensor([draw.coin() for _ in donor.labels], dtype=torch.bool) & is_thing[donor.labels]
    height, width = (min(sides) for sides in zip(sample.segment_map.shape, donor.segment_map.shape, strict=True))
    above, below = donor.segment_map[:height, :width], sample.segment_map[:height, :width]
    # The last entries are where VOID and the index -1, PADDING, lead: nowhere.
    taken = torch.cat([torch.zeros(1, dtype=torch.bool), chosen, torch.zeros(1, dtype=torch.bool)])
    inside = taken[above.long()] & (below != PADDING)
    visible = torch.bincount(above[inside].flatten().long(), minlength=len(chosen) + 1)[1:] > 0
    table = torch.cat([torch.zeros(1, dtype=torch.int64), len(sample.labels) + visible.cumsum(0)])
    image, segment_map = sample.image.clone(), sample.segment_map.clone()
    image[:, :height, :width][:, inside] = donor.image[:, :height, :width][:, inside]
    segment_map[:height, :width][inside] = table[above[inside].long()].to(segment_map.dtype)
    return sample._replace(
        image=image, segment_map=segment_map, labels=torch.cat([sample.labels, donor.labels[visible]])
    )
