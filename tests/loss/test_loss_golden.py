"""The criterion against figures of the official implementation."""

import importlib.util
import json

import numpy as np
import pytest
import torch

from yoso.loss.comparison import RandomPoints
from yoso.loss.config import LossConfig
from yoso.loss.criterion import Criterion
from yoso.loss.matcher import assign, class_cost, dice_cost, mask_cost
from yoso.loss.points import uncertain_points
from yoso.structures import StageOutputs, Target

INJECTED = ["basic", "nocls", "oneempty", "allempty"]
CASES = [*INJECTED, "seeded12544"]
TERMS = {"loss_ce": "stage0/class", "loss_mask": "stage0/mask", "loss_dice": "stage0/dice"}
CLOSE = {"rtol": 1e-5, "atol": 2e-6}


@pytest.fixture(scope="module")
def uniform(golden):
    spec = importlib.util.spec_from_file_location("golden_fill", golden / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.uniform


class Case:
    """One case of losses.npz, as the criterion takes it."""

    def __init__(self, golden, name: str) -> None:
        self.name = name
        with np.load(golden / "losses.npz") as arrays:
            self.arrays = {key.split(".", 1)[1]: arrays[key] for key in arrays.files if key.startswith(f"{name}.")}
        self.meta = json.loads((golden / "losses.json").read_text())[name]
        self.masks = torch.tensor(self.arrays["pred_masks"], requires_grad=True)
        self.classes = torch.tensor(self.arrays["pred_logits"], requires_grad=True)
        self.targets = []
        for image, labels in enumerate(self.meta["labels"]):
            shape = self.meta[f"gt_masks_{image}_shape"]
            bits = np.unpackbits(self.arrays[f"gt_masks_{image}"])[: int(np.prod(shape))].reshape(shape)
            self.targets.append(Target(torch.tensor(labels, dtype=torch.int64), torch.from_numpy(bits.astype(bool))))
        self.config = LossConfig(num_points=self.meta["num_points"])

    @property
    def stage(self) -> StageOutputs:
        return StageOutputs(self.classes if self.meta["with_logits"] else None, self.masks)

    def comparer(self) -> RandomPoints:
        return RandomPoints(self.targets, self.config.num_points, 3.0, 0.75, False)


@pytest.fixture(params=CASES)
def case(request, golden, monkeypatch, uniform) -> Case:
    case = Case(golden, request.param)
    case.shapes = []
    if case.meta["seed"] is not None:
        torch.manual_seed(case.meta["seed"])
    else:
        draw = injected(uniform, case.shapes)
        monkeypatch.setattr(torch, "rand", draw)
    return case


def injected(uniform, shapes: list):
    """A `torch.rand` whose k-th call has known values; notes the shape of each call."""

    def draw(*shape, device=None):
        values = (uniform(f"rand.{len(shapes)}", int(np.prod(shape))) + 1) / 2
        shapes.append(list(shape))
        return torch.from_numpy(values.astype(np.float32)).reshape(shape)

    return draw


def test_losses_and_gradients(case):
    terms = Criterion(case.config, case.meta["num_classes"])([case.stage], case.targets)
    want = {TERMS[name]: value for name, value in case.meta["losses_weighted"].items()}
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(want, rel=1e-5)

    sum(terms.values()).backward()
    np.testing.assert_allclose(case.masks.grad, case.arrays["grad_masks"], **CLOSE)
    if case.meta["with_logits"]:
        np.testing.assert_allclose(case.classes.grad, case.arrays["grad_logits"], **CLOSE)
    if case.meta["rand_call_shapes"] is not None:
        assert case.shapes == case.meta["rand_call_shapes"]


def test_costs_assignments_and_points(case):
    comparer, matches = case.comparer(), []
    for image, target in enumerate(case.targets):
        logits, truth, weight = comparer.for_matching(image, case.masks[image].detach())
        mask, dice = mask_cost(logits, truth, weight), dice_cost(logits, truth, weight)
        costs = {"mask": 5 * mask, "dice": 5 * dice}
        if case.meta["with_logits"]:
            costs["class"] = 2 * class_cost(case.classes[image].detach(), target.labels)
        np.testing.assert_allclose(mask, case.arrays[f"cost_mask_{image}"], **CLOSE)
        np.testing.assert_allclose(dice, case.arrays[f"cost_dice_{image}"], **CLOSE)
        np.testing.assert_allclose(sum(costs.values()), case.arrays[f"cost_{image}"], **CLOSE)
        matches.append(assign(costs, "photo.jpg", 0))
        assert [index.tolist() for index in matches[-1]] == case.meta["assignment"][image]
    if "loss_point_coords" in case.arrays:
        logits = torch.cat([masks[match.queries] for masks, match in zip(case.masks, matches, strict=True)])
        points = uncertain_points(logits, case.config.num_points, 3.0, 0.75)
        np.testing.assert_array_equal(points, case.arrays["loss_point_coords"])
