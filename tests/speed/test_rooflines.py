import pytest
import torch

from yoso.model.config import ModelConfig
from yoso.speed.rooflines import copy_peak, count_work, deform_conv_flops, matrix_peak

CPU = torch.device("cpu")


def test_operations_of_a_deformable_convolution_are_those_of_a_convolution():
    assert deform_conv_flops((2, 8, 5, 6), (16, 8, 3, 3), out_shape=(2, 16, 5, 6)) == 2 * 2 * 16 * 8 * 9 * 5 * 6


def test_work_of_the_paper_s_network():
    """REFERENCE: 114.3 GFLOP at 512x800, a multiply-add counted as two."""
    work = count_work(ModelConfig(), 133, (512, 800))
    assert list(work) == ["backbone", "aggregator", "decoder", "network"]
    assert work["network"].flops / 1e9 == pytest.approx(114.3, abs=0.1)
    parts = [work[stage] for stage in ("backbone", "aggregator", "decoder")]
    assert work["network"].flops == sum(stage.flops for stage in parts)
    assert 0 < work["network"].elements < sum(stage.elements for stage in parts)


def test_work_grows_with_the_photograph():
    config = ModelConfig(backbone="test_resnet", pyramid_channels=(8, 8, 8, 8))
    small, large = (count_work(config, 3, size) for size in ((64, 64), (128, 64)))
    assert large["backbone"].flops == 2 * small["backbone"].flops
    assert small["decoder"].elements < large["decoder"].elements


def test_peaks():
    assert matrix_peak(CPU, side=64) > 0
    assert matrix_peak(CPU, torch.bfloat16, side=64) > 0
    assert copy_peak(CPU, 2**16) > 0
