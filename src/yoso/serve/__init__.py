"""HTTP server: panoptic segmentation as an API, the Open Inference Protocol, and the web page."""
