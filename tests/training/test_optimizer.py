"""Parameter groups and learning rates against the official implementation."""

import json

import pytest
import torch

from yoso.model.config import ModelConfig
from yoso.model.yoso import YOSO
from yoso.training.config import OptimizerConfig, ScheduleConfig
from yoso.training.optimizer import build_optimizer, lr_factor, parameter_rules
from yoso.weights.official import our_name

NETWORKS = {
    "coco": (ModelConfig(), 133),
    "ade20k": (ModelConfig(temperature=0.5), 150),
    "cityscapes": (ModelConfig(backbone_norm="trainable", branch_depth=3), 19),
    "mapillary": (ModelConfig(num_queries=150, branch_depth=3, temperature=0.1), 65),
}
SCHEDULES = {
    "coco": ScheduleConfig(kind="step", steps=(327778, 355092)),
    "ade20k": ScheduleConfig(),
    "cityscapes": ScheduleConfig(),
    "mapillary": ScheduleConfig(),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_parameter_groups_are_the_official_ones(name, golden):
    official = json.loads((golden / f"optimizer_{name}.json").read_text())
    config, classes = NETWORKS[name]
    with torch.device("meta"):
        network = YOSO(config, classes)
    parameters = dict(network.named_parameters())
    rules = parameter_rules(network, OptimizerConfig())
    depth = config.branch_depth
    expected = {our_name(key, depth): (multiplier, decay) for key, multiplier, decay, _ in official["groups"]}
    assert rules == expected
    for key, _, _, shape in official["groups"]:
        assert list(parameters[our_name(key, depth)].shape) == shape


def test_optimizer_holds_every_trainable_parameter_once():
    network = YOSO(ModelConfig(backbone="mobilenetv2_100", num_queries=5), 3)
    optimizer = build_optimizer(network, OptimizerConfig(lr=2e-4, backbone_multiplier=0.5))
    held = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(p) for p in network.parameters() if p.requires_grad)
    assert {group["lr"] for group in optimizer.param_groups} == {2e-4, 1e-4}


@pytest.mark.parametrize("name", SCHEDULES)
def test_learning_rates_are_the_official_ones(name, golden):
    official = json.loads((golden / "lr_schedule.json").read_text())[name]
    factor = lr_factor(SCHEDULES[name], official["max_iter"])
    for iteration, lr, backbone_lr in official["values_iter_lr_backbonelr"]:
        assert 1e-4 * factor(iteration) == pytest.approx(lr, rel=1e-9)
        assert 1e-5 * factor(iteration) == pytest.approx(backbone_lr, rel=1e-9)


def test_warmup_rises_to_the_full_rate():
    factor = lr_factor(ScheduleConfig(kind="step", warmup_iterations=4), 100)
    assert [factor(i) for i in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])
