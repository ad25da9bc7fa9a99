"""bfloat16 as a CUDA graph gives what float32 gives, as far as bfloat16 holds; recordings do not disturb each other."""

import numpy as np
import pytest
import torch

import yoso

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a CUDA device"),
]

SIZES = [(160, 256), (224, 224), (160, 256), (96, 128), (128, 96), (192, 320), (160, 256)]
"""More sizes than recordings are kept, some again."""


def test_graphs_of_several_sizes():
    exact = yoso.load("facades-mnv2", "cuda", runtime="torch")
    graphed = yoso.load("facades-mnv2", "cuda", runtime="torch", precision="bf16")
    random = np.random.default_rng(0)
    for height, width in SIZES:
        coarse = random.integers(0, 256, (height // 16, width // 16, 3)).astype(np.uint8)
        image = np.kron(coarse, np.ones((16, 16, 1), np.uint8))
        ours, expected = (predictor.outputs(image, input_size="native") for predictor in (graphed, exact))
        assert ours[2] == expected[2]
        for a, b in zip(ours[:2], expected[:2], strict=True):
            # bfloat16 has 8 bits; a pixel of a hard mask may fall on the other side, so the bound is on the mean.
            assert ((a - b).abs().mean() / b.abs().max()).item() < 0.02
        again = graphed.outputs(image, input_size="native")
        assert all(torch.equal(a, b) for a, b in zip(ours[:2], again[:2], strict=True))
