"""AdamW's parameter groups and the learning rate by iteration, as in the official implementation."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from yoso.training.config import OptimizerConfig, ScheduleConfig

NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm)


def parameter_rules(network: nn.Module, config: OptimizerConfig) -> dict[str, tuple[float, float]]:
    """Return (learning-rate multiplier, weight decay) of every trainable parameter, by name.

    Parameters of normalisation layers do not decay; biases do. Parameters under `backbone` learn more slowly.
    """
    rules = {}
    for module_name, module in network.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                multiplier = config.backbone_multiplier if module_name.startswith("backbone") else 1.0
                decay = 0.0 if isinstance(module, NORMS) else config.weight_decay
                rules[f"{module_name}.{name}" if module_name else name] = (multiplier, decay)
    return rules


def build_optimizer(network: nn.Module, config: OptimizerConfig, head: nn.Module | None = None) -> torch.optim.AdamW:
    """Return AdamW over the network's trainable parameters, grouped by rule.

    Args:
        network: the network to train.
        config: learning rate and weight decay.
        head: layers that exist only in training.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    parameters = dict(network.named_parameters())
    for name, rule in parameter_rules(network, config).items():
        groups.setdefault(rule, []).append(parameters[name])
    settings: list[dict[str, Any]] = [
        {"params": members, "lr": config.lr * multiplier, "weight_decay": decay}
        for (multiplier, decay), members in groups.items()
    ]
    if head is not None:
        settings.append({"params": list(head.parameters()), "lr": config.lr, "weight_decay": config.weight_decay})
    return torch.optim.AdamW(settings, lr=config.lr)


def lr_factor(config: ScheduleConfig, iterations: int) -> Callable[[int], float]:
    """Return the factor on the learning rate as a function of the iteration, counted from 0."""

    def factor(iteration: int) -> float:
        warmup = min(1.0, (iteration + 1) / (config.warmup_iterations + 1))
        if config.kind == "step":
            return warmup * config.gamma ** sum(iteration >= step for step in config.steps)
        return warmup * max(0.0, 1 - iteration / iterations) ** config.power

    return factor
