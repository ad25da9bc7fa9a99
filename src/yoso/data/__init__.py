"""Data sets in COCO panoptic format: reading, writing, augmenting, checking."""
