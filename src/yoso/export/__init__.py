"""Exported networks: ONNX, OpenVINO, TensorRT and torch archives, each checked against PyTorch before it is kept."""
