import pytest
import torch

from yoso.model.config import ModelConfig
from yoso.speed.entry import EntrySpec
from yoso.speed.rooflines import copy_peak, entry_work, matrix_peak
from yoso.speed.work import count_work, deform_conv_flops

CPU = torch.device("cpu")
SMALL = ModelConfig(backbone="test_resnet", pyramid_channels=(8, 8, 8, 8))


def test_a_deformable_convolution_has_the_operations_of_a_convolution():
    assert deform_conv_flops((2, 8, 5, 6), (16, 8, 3, 3), out_shape=(2, 16, 5, 6)) == 2 * 2 * 16 * 8 * 9 * 5 * 6


def testentry_work_the_paper_s_network():
    """114.3 GFLOP at 512x800, a multiply-add counted as two."""
    work = count_work(ModelConfig(), 133, (512, 800))
    assert list(work) == ["backbone", "aggregator", "decoder", "network"]
    assert work["network"].flops / 1e9 == pytest.approx(114.3, abs=0.1)
    parts = [work[stage] for stage in ("backbone", "aggregator", "decoder")]
    assert work["network"].flops == sum(stage.flops for stage in parts)
    assert 0 < work["network"].elements < sum(stage.elements for stage in parts)


def test_the_deployment_form_has_less_work():
    """It skips the aggregator's last 1x1 convolution, and the decoder works on F, x, y and 1 instead of S."""
    size, config = (64, 96), SMALL
    trained, deployed = (count_work(config, 3, size, deployed=form) for form in (False, True))
    positions, hidden = size[0] // 4 * size[1] // 4, config.hidden_channels
    inputs = config.aggregation_channels + 2
    assert trained["aggregator"].flops - deployed["aggregator"].flops == 2 * positions * inputs * hidden
    products = 1 + 2 * config.num_stages
    saved = 2 * positions * config.num_queries * products * (hidden - inputs - 1)
    assert trained["decoder"].flops - deployed["decoder"].flops == pytest.approx(saved, rel=0.3)
    assert deployed["backbone"].flops == trained["backbone"].flops
    assert deployed["network"].flops == sum(deployed[stage].flops for stage in ("backbone", "aggregator", "decoder"))


@pytest.mark.parametrize(
    ("runtime", "deployed"),
    [("official", False), ("eager", False), ("torch", True), ("onnxruntime", True), ("openvino", True)],
)
def test_the_counted_network_is_the_one_that_runs(runtime, deployed, tiny_model):
    from yoso.weights.load import load_model

    model = load_model(tiny_model)
    counted = entry_work(EntrySpec("tiny", str(tiny_model), runtime, (64, 96)))
    assert counted == count_work(model.network.config, len(model.categories), (64, 96), deployed)


def test_a_recipe_is_counted_without_building_weights(monkeypatch):
    monkeypatch.setattr("yoso.speed.rooflines.load_model", lambda name: pytest.fail("loaded"))
    counted = entry_work(EntrySpec("coco_r50", "coco_r50", "eager", (64, 64)))
    assert counted == count_work(ModelConfig(), 133, (64, 64))


def test_work_grows_with_the_image():
    small, large = (count_work(SMALL, 3, size) for size in ((64, 64), (128, 64)))
    assert large["backbone"].flops == 2 * small["backbone"].flops
    assert small["decoder"].elements < large["decoder"].elements


def test_peaks_are_positive():
    assert matrix_peak(CPU, side=64) > 0
    assert matrix_peak(CPU, torch.bfloat16, side=64) > 0
    assert copy_peak(CPU, 2**16) > 0
