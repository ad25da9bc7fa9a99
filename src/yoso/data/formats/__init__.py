"""Data sets of other formats, turned into COCO panoptic: tools' exports and the paper's four benchmarks."""
