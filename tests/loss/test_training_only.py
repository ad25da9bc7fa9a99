"""Losses that exist only in training: the second run of the stages, and the semantic loss."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from yoso.errors import NonFiniteError
from yoso.loss.config import LossConfig
from yoso.loss.criterion import Criterion
from yoso.loss.forcing import Forced, masks_given
from yoso.loss.matcher import Match
from yoso.loss.semantic import semantic_loss
from yoso.structures import StageOutputs, Target

CLASSES = 3


def target(*boxes, labels, size=16):
    """A target whose masks are boxes of (top, bottom, left, right) pixels."""
    masks = torch.zeros(len(boxes), size, size, dtype=torch.bool)
    for mask, (top, bottom, left, right) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = True
    return Target(torch.tensor(labels), masks)


def match(queries, targets):
    return Match(torch.tensor(queries), torch.tensor(targets))


def test_matched_queries_are_given_their_target_and_the_others_keep_their_mask():
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    truth = [target((0, 4, 0, 8), (8, 16, 8, 16), labels=[0, 1]), target((0, 16, 0, 4), labels=[2])]
    given = masks_given(logits, truth, [match([0, 2], [1, 0]), match([1], [0])])
    assert not given.requires_grad
    expected = torch.zeros(4, 4, dtype=torch.bool)
    expected[2:, 2:] = True
    assert torch.equal(given[0, 0] > 0, expected)
    assert torch.equal(given[0, 2] > 0, F.pad(torch.ones(1, 2, dtype=torch.bool), (0, 2, 0, 3)))
    assert torch.equal(given[1, 1] > 0, F.pad(torch.ones(4, 1, dtype=torch.bool), (0, 3)))
    for image, query in ((0, 1), (1, 0), (1, 2)):
        assert torch.equal(given[image, query], logits[image, query])
    assert given[0, 0].sigmoid().sub(0.5).abs().min() > 0.49


def test_terms_of_the_second_run_are_those_of_a_stage_with_the_given_matches():
    torch.manual_seed(0)
    truth = [target((0, 8, 0, 8), (8, 16, 8, 16), labels=[0, 1])]
    stages = [StageOutputs(None if i == 0 else torch.randn(1, 4, CLASSES + 1), torch.randn(1, 4, 4, 4)) for i in (0, 1)]
    criterion = Criterion(LossConfig(mask_sampling="dense", forced_weight=0.5), CLASSES)
    matches = criterion._match(1, stages[1], truth, criterion._comparer(stages[1], truth))
    terms = criterion(stages, truth, forced=Forced([stages[1]], matches))
    for name in ("class", "mask", "dice"):
        assert terms[f"forced1/{name}"].item() == pytest.approx(terms[f"stage1/{name}"].item() / 2)
    swapped = [Match(matches[0].queries, matches[0].targets.flip(0))]
    others = criterion(stages, truth, forced=Forced([stages[1]], swapped))
    assert others["forced1/mask"] > terms["forced1/mask"]
    assert others["stage1/mask"] == terms["stage1/mask"]


def test_semantic_loss_is_zero_for_certain_answers_and_log_k_for_none():
    truth = [target((0, 16, 0, 8), (0, 16, 8, 16), labels=[2, 0])]
    right = torch.full((1, CLASSES, 4, 4), -20.0)
    right[0, 2, :, :2] = right[0, 0, :, 2:] = 20
    assert semantic_loss(right, truth) < 1e-6
    assert semantic_loss(-right, truth) > 20
    assert semantic_loss(torch.zeros(1, CLASSES, 4, 4), truth).item() == pytest.approx(torch.log(torch.tensor(3.0)))


def test_a_small_class_weighs_as_the_root_of_its_area():
    """Four positions of 16 are class 1; the network is sure of class 0 everywhere, by 4 of logit."""
    truth = [target((0, 8, 0, 16), (8, 16, 0, 8), labels=[0, 1])]
    logits = torch.zeros(1, CLASSES, 4, 4)
    logits[:, 0] = 4
    right, wrong = F.cross_entropy(torch.tensor([[4.0, 0, 0]] * 2), torch.tensor([0, 1]), reduction="none").tolist()
    expected = (8**0.5 * right + 4**0.5 * wrong) / (8**0.5 + 4**0.5)
    assert semantic_loss(logits, truth).item() == pytest.approx(expected, rel=1e-5)


def test_without_targets_the_gradient_is_zero():
    classes = torch.randn(1, CLASSES, 4, 4, requires_grad=True)
    nothing = [Target(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 16, 16, dtype=torch.bool))]
    emptied = [Target(torch.tensor([0]), torch.zeros(1, 16, 16, dtype=torch.bool))]
    for truth in (nothing, emptied):
        loss = semantic_loss(classes, truth)
        assert loss == 0
        assert torch.autograd.grad(loss, [classes])[0].count_nonzero() == 0


def pair():
    """Two named images with one target each, and the outputs of two stages for them."""
    images = [replace(target((0, 8, 0, 8), labels=[0]), name=name) for name in ("a.jpg", "b.jpg")]
    masks = torch.zeros(2, 4, 4, 4)
    return images, [StageOutputs(None, masks), StageOutputs(torch.zeros(2, 4, CLASSES + 1), masks)]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_semantic_loss_that_is_not_finite_names_its_image(value):
    truth, stages = pair()
    classes = torch.zeros(2, CLASSES, 4, 4)
    classes[1, 0, 0, 0] = value
    criterion = Criterion(LossConfig(mask_sampling="dense", semantic_weight=1.0), CLASSES)
    with pytest.raises(NonFiniteError, match=r"^b\.jpg: the loss term semantic is nan"):
        criterion(stages, truth, semantic_logits=classes)


def test_logits_that_are_finite_with_a_loss_that_is_not_name_all_images():
    truth, stages = pair()
    classes = torch.full((2, CLASSES, 4, 4), -3e38)
    classes[:, 1] = 3e38
    criterion = Criterion(LossConfig(mask_sampling="dense", semantic_weight=1.0), CLASSES)
    with pytest.raises(NonFiniteError, match=r"^a\.jpg, b\.jpg: the loss term semantic is nan"):
        criterion(stages, truth, semantic_logits=classes)


def test_the_weighted_semantic_loss_is_a_term():
    truth, stages = pair()
    classes = torch.randn(2, CLASSES, 4, 4)
    criterion = Criterion(LossConfig(mask_sampling="dense", semantic_weight=3.0), CLASSES)
    terms = criterion(stages, truth, semantic_logits=classes)
    assert list(terms)[-1] == "semantic"
    assert terms["semantic"].item() == pytest.approx(3 * semantic_loss(classes, truth).item())
    assert "semantic" not in criterion(stages, truth)


@pytest.mark.parametrize(("stage", "term"), [(1, "forced1/mask"), (11, "forced11/mask")])
def test_a_term_of_the_second_run_that_is_not_finite_is_named(stage, term):
    truth = [target((0, 8, 0, 8), labels=[0])]
    sound = StageOutputs(torch.zeros(1, 4, CLASSES + 1), torch.zeros(1, 4, 4, 4))
    broken = sound._replace(mask_logits=torch.full((1, 4, 4, 4), torch.nan))
    criterion = Criterion(LossConfig(mask_sampling="dense", forced_weight=0.5), CLASSES)
    forced = Forced([*[sound] * (stage - 1), broken], [match([0], [0])])
    with pytest.raises(NonFiniteError, match=f"the loss term {term} is nan"):
        criterion([sound._replace(class_logits=None), sound], truth, forced=forced)
