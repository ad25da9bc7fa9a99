"""Deterministic weights for the golden data: numpy only, identical on every numpy version.
fill(key, shape) -> ndarray (float32, or int64 for num_batches_tracked).  Rules: see README.md"""

import zlib, math, json, os
import numpy as np


def uniform(key, n):
    """n float64 in [-1,1): SplitMix64 finaliser over state crc32(key)*2**32 + (i+1)*GOLDEN (mod 2**64), i=0..n-1."""
    with np.errstate(over="ignore"):
        x = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x += np.uint64(zlib.crc32(key.encode()) << 32)
        x ^= x >> np.uint64(30)
        x *= np.uint64(0xBF58476D1CE4E5B9)
        x ^= x >> np.uint64(27)
        x *= np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return (x >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0


GAIN = [  # (substring of the key, gain), first match wins; only for tensors with >= 2 dims
    ("shortcut.", 1.0),
    ("conv3.weight", 1.0),
    ("backbone.", math.sqrt(2)),
    ("dcn_offset.", 1.5),
    (".dcn.", 1.5),
    ("up_sample.", 1.5),
    ("lateral_conv", 0.7),
    ("conv_a", 0.7),
    ("output_conv", 1.0),
    ("loc_conv", 0.2),
    ("kernels.", 10.0),
    ("weight_linear", 1.0),
    ("f_linear", 1.0),
    ("fc_cls.", 0.6),
    ("fc_mask.", 3.0),
    ("in_proj", 2.0),
    ("out_proj", 0.5),
]


def fill(key, shape):
    shape = tuple(shape)
    n = int(np.prod(shape)) if shape else 1
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if key.endswith("empty_weight"):
        w = np.ones(shape, np.float32)
        w[-1] = 0.1
        return w
    if key == "yoso_neck.loc_conv.bias":  # the one stored tensor: centres the neck output
        return np.array(
            json.load(open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "loc_conv_bias.json"))),
            np.float32,
        )
    u = uniform(key, n).reshape(shape)
    z = math.sqrt(3.0) * u  # zero mean, unit variance
    if key.endswith("running_var"):
        w = 1.0 + 0.3 * u
    elif key.endswith("running_mean"):
        w = 0.1 * z
    elif key.endswith("dcn_offset.bias"):
        w = 1.5 * z
    elif len(shape) == 1 and key.endswith(".weight"):  # every BN / LayerNorm scale
        w = (0.25 if key.endswith("conv3.norm.weight") else 2.0 if "_atten.norm." in key else 1.0) * (1.0 + 0.1 * u)
    elif len(shape) < 2 or key.endswith("deconv.bias"):
        w = 0.1 * z
    else:
        fan_in = shape[0] * 4 if "up_sample." in key else int(np.prod(shape[1:]))
        w = next((g for s, g in GAIN if s in key), 1.0) / math.sqrt(fan_in) * z
        if "yoso_neck." in key and "up_sample" not in key:  # zero-sum rows: no common mode through ReLU'd inputs
            w = w - w.mean(axis=tuple(range(1, w.ndim)), keepdims=True)
    if key.endswith("fc_cls.bias"):
        w[-1] += 0.45 + 0.0075 * n  # makes many proposals "no object"
    return w.astype(np.float32)
