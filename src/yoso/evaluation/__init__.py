"""How good predictions are: panoptic quality, per class and per image, from arrays or from files."""
