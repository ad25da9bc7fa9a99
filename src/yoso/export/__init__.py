"""Exported networks: ONNX, OpenVINO, TensorRT and torch.export files, each compared with PyTorch before it is kept."""
