"""YOSO: real-time panoptic segmentation, from photographs to segments."""
