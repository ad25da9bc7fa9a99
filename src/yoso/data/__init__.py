"""Data sets in COCO panoptic format: reading, writing, augmentation, checks, statistics."""
