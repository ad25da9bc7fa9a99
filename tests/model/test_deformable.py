"""The deformable convolution as gather and matrix product equals torchvision's kernel, values and gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import deform_conv2d

from yoso.model.deformable import TAPS, DeformableConv, deform_conv_by_columns

sizes = st.integers(1, 9)


def inputs(batch, channels, outputs, height, width, reach, seed=0):
    """Return map, offsets of this reach in pixels, tap weights and the convolution's weight, all float64."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    offset = reach * random(batch, 2 * TAPS, height, width)
    mask = random(batch, TAPS, height, width).sigmoid()
    tensors = random(batch, channels, height, width), offset, mask, random(outputs, channels, 3, 3)
    return [tensor.requires_grad_() for tensor in tensors]


def both(tensors):
    x, offset, mask, weight = tensors
    theirs = deform_conv2d(x, offset, weight, padding=1, mask=mask)
    ours = deform_conv_by_columns(x, offset, mask, weight)
    return ours, theirs


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), sizes, sizes, st.sampled_from([0.0, 0.4, 2.0, 50.0]), st.integers(0, 1000))
def test_equals_torchvision(batch, height, width, reach, seed):
    tensors = inputs(batch, 3, 4, height, width, reach, seed)
    ours, theirs = both(tensors)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    if reach == 0.0:
        return  # at whole pixels the interpolation has a kink, and either side's slope is right
    probe = torch.randn_like(ours)
    for mine, official in zip(
        torch.autograd.grad(ours, tensors, probe), torch.autograd.grad(theirs, tensors, probe), strict=True
    ):
        torch.testing.assert_close(mine, official, rtol=1e-9, atol=1e-9)


def test_single_precision_is_as_exact_as_torchvision():
    tensors = inputs(2, 16, 8, 25, 38, reach=3.0)
    with torch.no_grad():
        exact = both(tensors)[1]
        ours, theirs = (result.double() for result in both([tensor.float() for tensor in tensors]))
    scale = exact.abs().max()
    assert (theirs - exact).abs().max() / scale < 2e-6
    assert (ours - exact).abs().max() / scale < 1e-5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_positions_are_exact_in_half_precision(dtype):
    """A map of hundreds of pixels a side: half-precision numbers cannot count that far."""
    tensors = [tensor.detach().to(dtype) for tensor in inputs(1, 4, 3, 4, 600, reach=1.0)]
    exact = deform_conv_by_columns(*(tensor.float() for tensor in tensors))
    rounded = deform_conv_by_columns(*tensors)
    assert rounded.dtype == dtype
    assert (rounded.float() - exact).abs().mean() < 0.01 * exact.abs().mean()


def test_positions_far_outside_read_zero():
    x, offset, mask, weight = inputs(1, 2, 3, 4, 5, reach=0.0)
    with torch.no_grad():
        for far in (1e3, -1e3, 1e6):
            assert torch.count_nonzero(deform_conv_by_columns(x, offset + far, mask, weight)) == 0


def test_without_offsets_it_is_a_plain_convolution():
    x, offset, mask, weight = inputs(2, 3, 4, 5, 7, reach=0.0)
    result = deform_conv_by_columns(x, offset, torch.ones_like(mask), weight)
    torch.testing.assert_close(result, torch.nn.functional.conv2d(x, weight, padding=1))


@pytest.mark.parametrize(("height", "width"), [(3, 4), (1, 1)])
def test_gradients_are_those_of_finite_differences(height, width):
    x, offset, mask, weight = inputs(1, 2, 2, height, width, reach=0.7, seed=3)
    # Finite differences need every position well between two pixels.
    offset = (offset.detach().floor() + 0.3).requires_grad_()
    assert torch.autograd.gradcheck(deform_conv_by_columns, (x, offset, mask, weight))


def test_the_module_takes_offsets_as_row_and_column_per_tap():
    """All taps steered one pixel to the right and none down: what a convolution says of the map moved left."""
    torch.manual_seed(0)
    conv = DeformableConv(2, 3)
    with torch.no_grad():
        conv.weight.normal_()
        conv.offset.weight.zero_()
        conv.offset.bias[: 2 * TAPS] = torch.tensor([0.0, 1.0]).repeat(TAPS)
        conv.offset.bias[2 * TAPS :] = 100.0
        x = torch.randn(1, 2, 6, 7)
        moved = torch.nn.functional.pad(x[..., 1:], (0, 1))
        expected = torch.nn.functional.conv2d(moved, conv.weight, padding=1)
        # In the first column the leftmost taps see a pixel that the moved map has lost.
        torch.testing.assert_close(conv(x)[..., 1:], expected[..., 1:], rtol=1e-5, atol=1e-5)
