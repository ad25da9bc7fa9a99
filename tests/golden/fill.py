"""Deterministic weights for the golden figures: numpy only, the same on every numpy version and machine.

`fill(key, shape)` returns the tensor of that official name, float32 (int64 for `num_batches_tracked`). The gains keep
activations of a random network near unit variance, so that every landmark carries information; see README.md.
"""

import json
import math
import zlib
from pathlib import Path

import numpy as np

GAINS = {  # part of the key -> gain; the first match counts; only for tensors of two or more dimensions
    "shortcut.": 1.0,
    "conv3.weight": 1.0,
    "backbone.": math.sqrt(2),
    "dcn_offset.": 1.5,
    ".dcn.": 1.5,
    "up_sample.": 1.5,
    "lateral_conv": 0.7,
    "conv_a": 0.7,
    "output_conv": 1.0,
    "loc_conv": 0.2,
    "kernels.": 10.0,
    "weight_linear": 1.0,
    "f_linear": 1.0,
    "fc_cls.": 0.6,
    "fc_mask.": 3.0,
    "in_proj": 2.0,
    "out_proj": 0.5,
}


def uniform(key: str, count: int) -> np.ndarray:
    """Return `count` float64 numbers in [-1, 1): SplitMix64's finaliser over crc32(key) * 2^32 + (i + 1) * step."""
    with np.errstate(over="ignore"):
        x = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x += np.uint64(zlib.crc32(key.encode()) << 32)
        x ^= x >> np.uint64(30)
        x *= np.uint64(0xBF58476D1CE4E5B9)
        x ^= x >> np.uint64(27)
        x *= np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return (x >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0


def fill(key: str, shape: tuple[int, ...] | list[int]) -> np.ndarray:
    """Return the tensor of an official name."""
    shape = tuple(shape)
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if key.endswith("empty_weight"):
        return np.array([1.0] * (shape[0] - 1) + [0.1], np.float32)
    if key == "yoso_neck.loc_conv.bias":  # the one stored tensor: it centres the neck's output
        return np.array(json.loads((Path(__file__).parent / "loc_conv_bias.json").read_text()), np.float32)
    u = uniform(key, math.prod(shape)).reshape(shape)
    values = _vector(key, u) if len(shape) < 2 or key.endswith("deconv.bias") else _weight(key, u)
    return values.astype(np.float32)


def _vector(key: str, u: np.ndarray) -> np.ndarray:
    """Biases, norms and their statistics."""
    z = math.sqrt(3.0) * u  # zero mean, unit variance
    if key.endswith("running_var"):
        return 1.0 + 0.3 * u
    if key.endswith("dcn_offset.bias"):
        return 1.5 * z
    if key.endswith(".weight"):
        gain = 0.25 if key.endswith("conv3.norm.weight") else 2.0 if "_atten.norm." in key else 1.0
        return gain * (1.0 + 0.1 * u)
    values = 0.1 * z
    if key.endswith("fc_cls.bias"):
        values[-1] += 0.45 + 0.0075 * u.size  # makes many queries "no object"
    return values


def _weight(key: str, u: np.ndarray) -> np.ndarray:
    """Convolutions and linear layers."""
    fan_in = u.shape[0] * 4 if "up_sample." in key else math.prod(u.shape[1:])
    gain = next((gain for part, gain in GAINS.items() if part in key), 1.0)
    values = gain / math.sqrt(fan_in) * (math.sqrt(3.0) * u)
    if "yoso_neck." in key and "up_sample" not in key:  # zero-sum rows: no common mode through what ReLU let pass
        values = values - values.mean(axis=tuple(range(1, values.ndim)), keepdims=True)
    return values
