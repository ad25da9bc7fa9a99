"""Properties of the matching and the criterion that need no reference."""

import re

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from yoso.errors import ConfigError, NonFiniteError
from yoso.loss.comparison import Comparison, EveryPosition, RandomPoints, covered_share
from yoso.loss.config import LossConfig
from yoso.loss.criterion import Criterion, dice_loss, mask_loss, mean_num_targets
from yoso.loss.matcher import Match, assign, class_cost, dice_cost, mask_cost
from yoso.loss.points import ValidPixels, look_up, sample_points, uncertain_points
from yoso.structures import StageOutputs, Target

CLASSES, QUERIES, SIZE = 4, 6, 32
MODES = ["points", "dense"]
DENSE = LossConfig(mask_sampling="dense")


def blobs(count: int, generator: torch.Generator, size: int = SIZE) -> torch.Tensor:
    """Rectangles, as boolean masks."""
    masks = torch.zeros(count, size, size, dtype=torch.bool)
    for mask in masks:
        top, left = (int(torch.randint(0, size - 10, (), generator=generator)) for _ in range(2))
        mask[top : top + 10, left : left + 14] = True
    return masks


def batch(counts: list[int], seed: int = 0, stages: int = 3, valid: bool = False):
    """Smooth random predictions of `stages` stages, and targets."""
    generator = torch.Generator().manual_seed(seed)
    targets = [
        Target(
            torch.randint(0, CLASSES, (count,), generator=generator),
            blobs(count, generator),
            ~blobs(1, generator)[0] if valid else None,
            f"photo{image}.jpg",
        )
        for image, count in enumerate(counts)
    ]
    outputs = []
    for stage in range(stages):
        rough = 4 * torch.randn(len(counts), QUERIES, SIZE // 8, SIZE // 8, generator=generator)
        masks = F.interpolate(rough, scale_factor=2, mode="bilinear").requires_grad_()
        classes = torch.randn(len(counts), QUERIES, CLASSES + 1, generator=generator).requires_grad_()
        outputs.append(StageOutputs(classes if stage else None, masks))
    return outputs, targets


def config(mode: str, **changes) -> LossConfig:
    return LossConfig(**{"mask_sampling": mode, "num_points": 256, **changes})


def losses(settings_: LossConfig, outputs, targets) -> dict[str, float]:
    torch.manual_seed(0)
    return {name: value.item() for name, value in Criterion(settings_, CLASSES)(outputs, targets).items()}


# What the numbers are


def test_costs_of_a_pair_are_its_losses():
    generator = torch.Generator().manual_seed(0)
    logits, truth = 3 * torch.randn(5, 40, generator=generator), torch.rand(3, 40, generator=generator)
    weight = torch.rand(40, generator=generator)
    for given_weight in (None, weight):
        for cost, loss in ((mask_cost, mask_loss), (dice_cost, dice_loss)):
            pairs = cost(logits, truth, given_weight)
            for target in range(3):
                rows = None if given_weight is None else weight.expand(5, -1)
                compared = Comparison(logits, truth[target].expand(5, -1), rows)
                torch.testing.assert_close(pairs[:, target], loss(compared))


def test_terms_and_their_weights():
    outputs, targets = batch([2, 3])
    once = losses(DENSE, outputs, targets)
    assert list(once) == ["stage0/mask", "stage0/dice"] + [
        f"stage{stage}/{term}" for stage in (1, 2) for term in ("class", "mask", "dice")
    ]
    # All three doubled, the matching stays the same.
    twice = losses(LossConfig(4.0, 10.0, 10.0, mask_sampling="dense"), outputs, targets)
    assert twice == pytest.approx({name: 2 * value for name, value in once.items()}, rel=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_perfect_prediction_costs_almost_nothing(mode):
    size = 2 * SIZE
    masks = torch.zeros(3, size, size, dtype=torch.bool)
    masks[0, :16, :16] = masks[1, 24:40, 24:48] = masks[2, 48:, :40] = True
    labels = torch.tensor([2, 0, 2])
    order = torch.tensor([4, 1, 3])
    mask_logits = torch.full((1, QUERIES, size // 4, size // 4), -50.0)
    mask_logits[0, order] = covered_share(masks, (size // 4, size // 4)) * 100 - 50
    class_logits = 50 * F.one_hot(torch.full((1, QUERIES), CLASSES), CLASSES + 1).float()
    class_logits[0, order] = 50 * F.one_hot(labels, CLASSES + 1).float()
    outputs = [StageOutputs(class_logits, mask_logits)]
    terms = losses(config(mode, importance_ratio=0.0, num_points=4000), outputs, [Target(labels, masks)])
    assert terms["stage0/class"] < 1e-6
    # Between two positions of the logits lies the border, where the interpolated prediction is soft.
    assert terms["stage0/mask"] < {"dense": 1e-6, "points": 3}[mode]
    assert terms["stage0/dice"] < {"dense": 1e-6, "points": 0.3}[mode]


def test_many_points_agree_with_every_position():
    outputs, targets = batch([3, 2])
    # At four times the size neighbouring positions are alike, and the border is a small part.
    outputs = [
        StageOutputs(stage.class_logits, F.interpolate(stage.mask_logits, scale_factor=4.0, mode="bilinear"))
        for stage in outputs
    ]
    targets = [
        Target(target.labels, target.masks.repeat_interleave(4, 1).repeat_interleave(4, 2)) for target in targets
    ]
    dense = losses(DENSE, outputs, targets)
    points = losses(LossConfig(num_points=20000, oversample_ratio=1.0, importance_ratio=0.0), outputs, targets)
    # Dice is a sum over positions plus one, so it differs a little with their number.
    assert points == pytest.approx(dense, rel=0.03)


def test_coarse_matching_costs_are_close_to_the_full_ones():
    outputs, targets = batch([4], seed=3)
    logits = outputs[0].mask_logits[0].detach()
    compare = EveryPosition(targets, (SIZE // 4, SIZE // 4), False)
    coarse = compare.for_matching(0, logits)
    truth = covered_share(targets[0].masks, (SIZE // 4, SIZE // 4)).flatten(1)
    assert coarse.logits.shape[1] == truth.shape[1] // 4
    torch.testing.assert_close(
        mask_cost(coarse.logits, coarse.truth), mask_cost(logits.flatten(1), truth), rtol=0.2, atol=0.1
    )
    full = dice_cost(logits.flatten(1), truth)
    torch.testing.assert_close(dice_cost(coarse.logits, coarse.truth), full, rtol=0.2, atol=0.1)


def test_odd_logits_are_matched_at_every_position():
    target = Target(torch.tensor([0]), torch.ones(1, 12, 20, dtype=torch.bool))
    compare = EveryPosition([target], (3, 5), False)
    assert compare.for_matching(0, torch.zeros(2, 3, 5)).logits.shape == (2, 15)


def test_covered_share():
    masks = torch.rand(3, 24, 40, generator=torch.Generator().manual_seed(0)) < 0.5
    torch.testing.assert_close(covered_share(masks, (6, 10)), F.avg_pool2d(masks.float(), 4))
    assert covered_share(torch.ones(1, 30, 15, dtype=torch.bool), (2, 1)).eq(1).all()
    with pytest.raises(ValueError, match="24x40 pixels do not fit mask logits of 7x10"):
        covered_share(masks, (7, 10))


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(1, QUERIES))
def test_order_of_the_targets_does_not_matter(mode, seed, count):
    outputs, targets = batch([count, 2], seed)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    first = targets[0]
    shuffled = [Target(first.labels[order], first.masks[order], None, first.name), targets[1]]
    terms = losses(config(mode), outputs, targets)
    assert losses(config(mode), outputs, shuffled) == pytest.approx(terms, rel=1e-5)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(0, QUERIES))
def test_order_of_the_queries_does_not_matter(seed, count):
    outputs, targets = batch([count], seed, stages=2)
    order = torch.randperm(QUERIES, generator=torch.Generator().manual_seed(seed))
    shuffled = [
        StageOutputs(None if stage.class_logits is None else stage.class_logits[:, order], stage.mask_logits[:, order])
        for stage in outputs
    ]
    assert losses(DENSE, shuffled, targets) == pytest.approx(losses(DENSE, outputs, targets), rel=1e-5)


def test_stages_are_matched_independently():
    outputs, targets = batch([3, 1])
    together = losses(DENSE, outputs, targets)
    for stage, output in enumerate(outputs):
        alone = losses(DENSE, [output], targets)
        assert alone == {
            name.replace(f"stage{stage}", "stage0"): together[name] for name in together if str(stage) in name
        }


@pytest.mark.parametrize("mode", MODES)
def test_float32_under_autocast(mode):
    outputs, targets = batch([3, 1])
    half = [
        StageOutputs(*(None if logits is None else logits.detach().bfloat16() for logits in stage)) for stage in outputs
    ]
    full = [StageOutputs(*(None if logits is None else logits.float() for logits in stage)) for stage in half]
    want = losses(config(mode), full, targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert losses(config(mode), half, targets) == want


# Targets of every number


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ignore_void", [False, True])
@pytest.mark.parametrize("counts", [[0, 0], [0, 3], [QUERIES + 3, 1], [QUERIES, 0]])
def test_any_number_of_targets_reaches_every_gradient(mode, ignore_void, counts):
    outputs, targets = batch(counts, valid=True)
    terms = Criterion(config(mode, ignore_void=ignore_void), CLASSES)(outputs, targets)
    sum(terms.values()).backward()
    for stage in outputs:
        assert stage.mask_logits.grad.isfinite().all()
        for image, count in enumerate(counts):
            touched = (stage.mask_logits.grad[image].abs().sum((1, 2)) > 0).sum()
            assert touched == min(count, QUERIES)
    for stage in outputs[1:]:
        assert (stage.class_logits.grad != 0).any()
    if not sum(counts):
        assert terms["stage2/mask"].item() == terms["stage2/dice"].item() == 0


def test_more_targets_than_queries_leaves_the_worst_unmatched():
    cost = torch.tensor([[3.0, 1.0, 2.0]])
    match = assign({"mask": cost}, "photo.jpg", 0)
    assert (match.queries.tolist(), match.targets.tolist()) == ([0], [1])


def test_masks_are_divided_by_the_mean_number_of_targets(monkeypatch):
    targets = batch([2, 1])[1]
    device = torch.device("cpu")
    assert mean_num_targets(targets, device) == 3
    assert mean_num_targets(batch([0])[1], device) == 1
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 4)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda count: count.add_(7))
    assert mean_num_targets(targets, device) == 2.5


# Void


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_predictions_on_void_change_nothing(mode, seed):
    outputs, targets = batch([3, 2], seed)
    valid = torch.ones(SIZE, SIZE, dtype=torch.bool)
    valid[8:24, 4:24] = False
    targets = [Target(target.labels, target.masks, valid, target.name) for target in targets]
    # A sampled point reaches one position further than the pixel it falls into.
    rows, columns = (slice(2, 6), slice(1, 6)) if mode == "dense" else (slice(3, 5), slice(2, 5))
    changed = []
    for stage in outputs:
        masks = stage.mask_logits.detach().clone()
        masks[:, :, rows, columns] = 9 - masks[:, :, rows, columns]
        changed.append(StageOutputs(stage.class_logits, masks))
    ignoring = config(mode, ignore_void=True, importance_ratio=0.0)
    assert losses(ignoring, changed, targets) == pytest.approx(losses(ignoring, outputs, targets), rel=1e-5)
    heeding = config(mode, importance_ratio=0.0)
    assert losses(heeding, changed, targets) != pytest.approx(losses(heeding, outputs, targets), rel=1e-2)
    for stage in outputs:
        stage.mask_logits.grad = None
    sum(Criterion(ignoring, CLASSES)(outputs, targets).values()).backward()
    assert all((stage.mask_logits.grad[:, :, rows, columns] == 0).all() for stage in outputs)


@pytest.mark.parametrize("mode", MODES)
def test_target_mask_on_void_changes_nothing(mode):
    outputs, targets = batch([3, 2], valid=True)
    bare = [Target(target.labels, target.masks & target.valid, target.valid) for target in targets]
    full = [Target(target.labels, target.masks | ~target.valid, target.valid) for target in targets]
    # Bilinear truth at a point beside the border would see the other side.
    ignoring = config(mode, ignore_void=True)
    tolerance = 1e-5 if mode == "dense" else 0.2
    assert losses(ignoring, outputs, full) == pytest.approx(losses(ignoring, outputs, bare), rel=tolerance)


@pytest.mark.parametrize("mode", MODES)
def test_valid_is_used_only_with_ignore_void(mode):
    outputs, targets = batch([3, 2], valid=True)
    without = [Target(target.labels, target.masks, None, target.name) for target in targets]
    assert losses(config(mode), outputs, targets) == losses(config(mode), outputs, without)
    assert losses(config(mode, ignore_void=True), outputs, without) == pytest.approx(
        losses(config(mode), outputs, without), rel=1e-5
    )


@pytest.mark.parametrize("mode", MODES)
def test_image_of_void_alone(mode):
    outputs, targets = batch([2])
    nothing = Target(targets[0].labels, targets[0].masks, torch.zeros(SIZE, SIZE, dtype=torch.bool), "void.jpg")
    terms = losses(config(mode, ignore_void=True), outputs, [nothing])
    assert all(value == 0 for name, value in terms.items() if "class" not in name)


def test_uncertain_points_avoid_void():
    valid = torch.zeros(1, SIZE, SIZE, dtype=torch.bool)
    valid[0, :, SIZE // 2 :] = True
    logits = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(0))
    images = torch.zeros(2, dtype=torch.int64)
    torch.manual_seed(0)
    points = uncertain_points(logits, 100, 3.0, 0.75, ValidPixels(valid, images))
    assert look_up(valid, images, points[:, :75]).all()
    assert not look_up(valid, images, points[:, 75:]).all()


# Points


def test_sample_points_at_pixel_centres_and_beyond_the_border():
    maps = torch.arange(12.0).reshape(2, 2, 3)
    centres = torch.tensor([[[0.5 / 3, 0.25], [2.5 / 3, 0.75], [1 / 3, 0.5], [0.0, 0.25]]])
    want = torch.tensor([[0.0, 5.0, 2.0, 0.0], [6.0, 11.0, 8.0, 3.0]])
    torch.testing.assert_close(sample_points(maps, centres), want, atol=1e-5, rtol=0)
    torch.testing.assert_close(sample_points(maps, centres.expand(2, -1, -1)), want, atol=1e-5, rtol=0)


def test_uncertain_points_are_the_least_certain():
    logits = torch.linspace(-4, 4, 16).expand(1, 16, 16)
    torch.manual_seed(0)
    points = uncertain_points(logits, 40, 5.0, 0.5)
    assert points.shape == (1, 40, 2)
    sureness = sample_points(logits, points).abs()[0]
    assert sureness[:20].max() < 1
    assert sureness[20:].max() > 2
    assert sureness[:20].diff().ge(0).all()


def test_points_at_the_far_corner_stay_inside():
    corner = torch.full((1, 1, 2), 1 - 2.0**-24)
    assert look_up(torch.ones(1, 1023, 1023, dtype=torch.bool), torch.tensor([0]), corner).all()


def test_each_pair_is_sampled_at_its_own_points():
    targets = batch([3, 2])[1]
    compare = RandomPoints(targets, 50, 1.0, 0.0, False)
    logits = torch.randn(4, 8, 8)
    matches = [
        Match(torch.tensor([0, 3]), torch.tensor([2, 0])),
        Match(torch.tensor([1, 5]), torch.tensor([1, 0])),
    ]
    torch.manual_seed(1)
    truth = compare.for_loss(logits, matches).truth
    torch.manual_seed(1)
    points = uncertain_points(logits, 50, 1.0, 0.0)
    masks = torch.stack([targets[0].masks[2], targets[0].masks[0], targets[1].masks[1], targets[1].masks[0]])
    torch.testing.assert_close(truth, sample_points(masks.float(), points))


# Numbers that are not


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_masks_name_the_image_and_the_stage(mode, value):
    outputs, targets = batch([2, 2])
    with torch.no_grad():
        outputs[1].mask_logits[1, 3] = value
    with pytest.raises(NonFiniteError, match=r"^photo1.jpg: the mask.* cost of matching at stage 1 is not finite"):
        losses(config(mode), outputs, targets)


def test_non_finite_classes_are_named_before_the_assignment(monkeypatch):
    outputs, targets = batch([2, 2])
    with torch.no_grad():
        outputs[2].class_logits[0, 0, 0] = float("nan")
    monkeypatch.setattr("yoso.loss.matcher.linear_sum_assignment", lambda cost: pytest.fail("asked"))
    with pytest.raises(NonFiniteError, match=r"^photo0.jpg: the class cost of matching at stage 0"):
        losses(DENSE, outputs[2:], targets)


@pytest.mark.parametrize("name", ["mask", "dice", "class"])
def test_non_finite_cost_is_named(name):
    costs = {term: torch.zeros(2, 2) for term in ("mask", "dice", "class")}
    costs[name][1, 0] = float("inf")
    with pytest.raises(NonFiniteError, match=f"^street.jpg: the {name} cost of matching at stage 2"):
        assign(costs, "street.jpg", 2)


def test_non_finite_loss_of_an_image_without_targets():
    outputs, targets = batch([2, 0])
    with torch.no_grad():
        outputs[1].class_logits[1, 0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match=r"^photo1.jpg: the loss term stage1/class is nan"):
        losses(DENSE, outputs, targets)


def test_unnamed_images_are_numbered():
    outputs, targets = batch([1, 1])
    unnamed = [Target(target.labels, target.masks) for target in targets]
    with torch.no_grad():
        outputs[0].mask_logits[1] = float("nan")
    with pytest.raises(NonFiniteError, match=re.escape("image 1: the mask and dice cost of matching at stage 0")):
        losses(DENSE, outputs, unnamed)


def test_class_cost_is_minus_the_probability():
    logits = torch.tensor([[0.0, 0.0, 0.0], [100.0, 0.0, 0.0]])
    want = torch.tensor([[-1 / 3, -1 / 3], [0.0, -1.0]])
    torch.testing.assert_close(class_cost(logits, torch.tensor([1, 0])), want)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("class_weight", -1.0),
        ("no_object_weight", -0.1),
        ("num_points", 0),
        ("oversample_ratio", 0.5),
        ("importance_ratio", 1.5),
    ],
)
def test_an_invalid_setting_is_named(name, value):
    with pytest.raises(ConfigError, match=rf"loss\.{name}"):
        LossConfig(**{name: value})


def test_mask_terms_are_divided_by_the_mean_number_of_targets_over_processes(monkeypatch):
    """As if a second process had three targets where this one has one: the mean is 2."""
    masks = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    masks[..., :4] = True
    target = Target(torch.tensor([0]), masks[0])
    torch.manual_seed(0)
    stage = StageOutputs(None, torch.randn(1, 3, 2, 2))
    criterion = Criterion(LossConfig(mask_sampling="dense"), 2)
    alone = criterion([stage], [target])

    def all_reduce(count, *_, **__):
        count += 3

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda *_: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    together = criterion([stage], [target])
    for name, value in alone.items():
        assert together[name].item() == pytest.approx(value.item() / 2), name
