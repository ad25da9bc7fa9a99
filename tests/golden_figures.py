"""Reading the figures of tests/golden, whole or sampled, and comparing tensors with them."""

import json
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from yoso.model.config import ModelConfig
from yoso.model.yoso import YOSO
from yoso.weights.official import load_official

GOLDEN = Path(__file__).parent / "golden"
sys.path.append(str(GOLDEN))

from fill import fill, uniform  # noqa: E402

__all__ = ["CONFIGS", "FORWARDS", "GOLDEN", "TOLERANCE", "Figures", "fill", "network_of", "official_tensors", "uniform"]

TOLERANCE = 2e-5
"""Relative to the largest absolute value of each tensor; the official float32 figures are off by up to 1.1e-5."""

CONFIGS = {
    "coco": (ModelConfig(backbone="resnet50"), 133),
    "cityscapes": (ModelConfig(backbone="resnet50", backbone_norm="trainable", branch_depth=3), 19),
    "ade20k": (ModelConfig(backbone="resnet50", temperature=0.5), 150),
    "mapillary": (ModelConfig(backbone="resnet50", num_queries=150, branch_depth=3, temperature=0.1), 65),
}
"""Configuration and number of classes of the four official networks."""

FORWARDS = ("coco_a", "coco_c", "cityscapes_c", "ade20k_a")
"""Names of the recorded passes: a configuration and an input."""


@dataclass(frozen=True)
class Figures:
    """One file of official figures.

    Attributes:
        entries: arrays by `name`, or a strided sample of the flattened array by `name@stride`.
        reduced: shape and largest absolute value of the arrays of which `entries` has a sample only.
    """

    entries: dict[str, np.ndarray]
    reduced: dict[str, dict]

    @classmethod
    def read(cls, path: Path) -> "Figures":
        """Read a full or a reduced file."""
        with np.load(path) as file:
            entries = dict(file)
        return cls(entries, json.loads(str(entries.pop("reduced", "{}"))))

    @property
    def names(self) -> list[str]:
        """The arrays' names, whichever form they have."""
        return [name.partition("@")[0] for name in self.entries]

    @property
    def images(self) -> list[Tensor]:
        """The photographs (3, H, W), uint8."""
        return [torch.from_numpy(array) for name, array in self.entries.items() if name.startswith("image_")]

    def check(self, name: str, tensor: Tensor, tolerance: float = TOLERANCE) -> None:
        """Assert that a tensor has the official shape and values."""
        actual = tensor.detach().numpy()
        key = next(key for key in self.entries if key.partition("@")[0] == name)
        expected = self.entries[key]
        if name in self.reduced:
            assert actual.shape == tuple(self.reduced[name]["shape"])
            actual = actual.reshape(-1)[:: int(key.partition("@")[2])]
            largest = self.reduced[name]["absmax"]
        else:
            largest = np.abs(expected).max()
        assert actual.shape == expected.shape
        error = np.abs(actual - expected).max() / largest
        assert error <= tolerance, f"{name}: differs by {error:.1e} of its largest absolute value"


@cache
def _tensor(key: str, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(fill(key, shape))


def official_tensors(name: str) -> dict[str, Tensor]:
    """Return an official state dict with the synthetic weights; the tensors are shared, so do not change them."""
    shapes = json.loads((GOLDEN / f"state_dict_{name}_r50.json").read_text())
    return {key: _tensor(key, tuple(shape)) for key, shape, _ in shapes}


def network_of(name: str) -> YOSO:
    """Return one of the four official networks with the synthetic weights, in evaluation mode."""
    config, num_classes = CONFIGS[name]
    with torch.device("meta"):  # fresh weights would only be overwritten
        network = YOSO(config, num_classes)
    network = network.to_empty(device="cpu").eval()
    for key, value in network.state_dict().items():
        if key.endswith("num_batches_tracked"):
            value.zero_()
    for buffer, values in (("pixel_mean", config.pixel_mean), ("pixel_std", config.pixel_std)):
        getattr(network, buffer).copy_(torch.tensor(values).view(3, 1, 1))
    load_official(network, official_tensors(name))
    return network
