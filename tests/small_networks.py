"""Networks of which every part is there and none is large; their weights are random, and always the same."""

import torch

from yoso.model.config import ModelConfig
from yoso.model.yoso import YOSO


def small_config(**changes) -> ModelConfig:
    """Return the configuration of a network that runs in milliseconds."""
    small = {
        "backbone": "test_resnet",
        "backbone_norm": "trainable",
        "aggregation_channels": 16,
        "hidden_channels": 32,
        "feedforward_channels": 64,
        "num_queries": 7,
        "num_heads": 4,
    }
    return ModelConfig(**(small | changes))


def small_network(num_classes: int = 5, seed: int = 0, **changes) -> YOSO:
    """Return a network that runs in milliseconds, in training mode."""
    torch.manual_seed(seed)
    return YOSO(small_config(**changes), num_classes)
