"""What training minimises: classes, masks and dice at every stage, each stage matched on its own.

This is the set prediction loss of the paper's section 3.1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from yoso.errors import ConfigError, NonFiniteError
from yoso.loss.comparison import Comparison, EveryPosition, RandomPoints
from yoso.loss.forcing import Forced
from yoso.loss.matcher import Match, assign, class_cost, dice_cost, mask_cost
from yoso.structures import StageOutputs, Target


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms, in the loss and in the matching alike, and where masks are compared.

    Attributes:
        class_weight: on the cross-entropy; in the matching, on minus the probability of the target's class.
        mask_weight: on the masks' binary cross-entropy.
        dice_weight: on the masks' dice loss.
        no_object_weight: weight of the `no_object` class within the cross-entropy.
        num_points: points per mask ("points" only).
        oversample_ratio: candidates per point, at least 1 ("points" only).
        importance_ratio: share of points chosen where the prediction is least sure, 0 to 1 ("points" only).
        mask_sampling: "points" compares at random points, as the paper's models were trained; "dense" at every
            position of the logits, with the share of pixels that a target covers, and matches on means of 2 x 2
            positions: not random, and faster on a CPU.
        ignore_void: void and crowd pixels take no part in the mask terms; in the paper's models they are negatives.
        forced_weight: on the terms of the stages' second run, in which each matched query pools the features under its
            target's own mask: what a stage makes of a good mask is learnt before there are any. 0 for none, as in
            the paper. Nothing of it is left at test, nor of the next.
        semantic_weight: on the classes of single positions, by a linear layer on the features S; see `semantic_loss`.
    """

    class_weight: float = 2.0
    mask_weight: float = 5.0
    dice_weight: float = 5.0
    no_object_weight: float = 0.1
    num_points: int = 12544
    oversample_ratio: float = 3.0
    importance_ratio: float = 0.75
    mask_sampling: Literal["points", "dense"] = "points"
    ignore_void: bool = False
    forced_weight: float = 0.0
    semantic_weight: float = 0.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: a negative weight, no points, or a ratio out of its range.
        """
        weights = ("class_weight", "mask_weight", "dice_weight", "no_object_weight")
        for name in (*weights, "forced_weight", "semantic_weight"):
            if getattr(self, name) < 0:
                raise ConfigError(f"loss.{name} is {getattr(self, name)}; it must not be negative")
        if self.num_points < 1:
            raise ConfigError(f"loss.num_points is {self.num_points}; it must be at least 1")
        if self.oversample_ratio < 1:
            raise ConfigError(f"loss.oversample_ratio is {self.oversample_ratio}; it must be at least 1")
        if not 0 <= self.importance_ratio <= 1:
            raise ConfigError(f"loss.importance_ratio is {self.importance_ratio}; it must be from 0 to 1")


class Criterion(nn.Module):
    """The set criterion: match queries to targets, then compare each pair; the others should say `no_object`."""

    class_weights: Float[Tensor, " L"]

    def __init__(self, config: LossConfig, num_classes: int) -> None:
        """Prepare the criterion.

        Args:
            config: weights and sampling.
            num_classes: classes of the data set, K, without `no_object`.
        """
        super().__init__()
        self.config = config
        weights = torch.ones(num_classes + 1)
        weights[-1] = config.no_object_weight
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(
        self,
        stages: Sequence[StageOutputs],
        targets: Sequence[Target],
        step_counts: Sequence[int] | None = None,
        forced: Forced | None = None,
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the weighted terms, whose sum is the loss. All is computed in float32, under autocast too.

        At each stage, random numbers are drawn for the matching of each image in turn, then for the losses of all
        matched masks. A batch without any target has mask and dice terms of zero, with a gradient of zero.

        The mean of the terms over processes and over the parts of a step is the term of the whole step in one batch,
        however its images are dealt out. (The official code divides the class term by each process's own weights.)

        Args:
            stages: what the decoder's stages say of B images, the proposal stage (without classes) first.
            targets: one per image, on the device of the stages; masks of one padded size.
            step_counts: the number of targets of every image that this process gives to the optimiser step, where
                these images are one of several equal parts of it; None means that they are all.
            forced: the second run of the stages, if there is one; its matches are those of stage 0 from
                `first_matches`.

        Returns:
            `stage{i}/class` (where the stage has classes): the sum over all queries, weighted by class, divided by
            the weights' sum, averaged over all parts and processes; for a step in one part, the weighted mean.
            `stage{i}/mask`, `stage{i}/dice`: the sum over matched masks, divided by the number of targets, averaged
            over all parts and processes and at least 1.
            `forced{i}/...`: the same for the second run, each query with the target it was matched with at stage 0.

        Raises:
            NonFiniteError: a matching cost or a term is NaN or infinite; names it, the stage and the image.
        """
        device = stages[0].mask_logits.device
        with torch.autocast(device.type, enabled=False):
            compare = self._comparer(stages[0], targets)
            num_targets = mean_num_targets(targets, device, step_counts)
            class_share = self._class_share(stages[0].mask_logits.shape[1], targets, device, step_counts)
            terms = {}
            for run, outputs, matches, factor in self._runs(stages, targets, compare, forced):
                for name, value in self._losses(outputs, targets, matches, compare, num_targets).items():
                    terms[f"{run}/{name}"] = factor * (value * class_share if name == "class" else value)
            check_finite(terms, stages, targets, forced)
        return terms

    def _runs(
        self,
        stages: Sequence[StageOutputs],
        targets: Sequence[Target],
        compare: RandomPoints | EveryPosition,
        forced: Forced | None,
    ) -> Iterator[tuple[str, StageOutputs, list[Match], float]]:
        """Yield every run of a stage: its name, outputs, matches and weight."""
        for stage, outputs in enumerate(map(in_float32, stages)):
            known = forced.matches if forced and stage == 0 else None
            yield f"stage{stage}", outputs, known or self._match(stage, outputs, targets, compare), 1.0
        if forced:
            for stage, outputs in enumerate(map(in_float32, forced.stages), 1):
                yield f"forced{stage}", outputs, forced.matches, self.config.forced_weight

    def first_matches(self, outputs: StageOutputs, targets: Sequence[Target]) -> list[Match]:
        """Match the queries of the proposal stage; for `Forced`."""
        with torch.autocast(outputs.mask_logits.device.type, enabled=False):
            outputs = in_float32(outputs)
            return self._match(0, outputs, targets, self._comparer(outputs, targets))

    def _comparer(self, outputs: StageOutputs, targets: Sequence[Target]) -> RandomPoints | EveryPosition:
        config = self.config
        if config.mask_sampling == "dense":
            height, width = outputs.mask_logits.shape[-2:]
            return EveryPosition(targets, (height, width), config.ignore_void)
        return RandomPoints(
            targets, config.num_points, config.oversample_ratio, config.importance_ratio, config.ignore_void
        )

    def _class_share(
        self, num_queries: int, targets: Sequence[Target], device: torch.device, step_counts: Sequence[int] | None
    ) -> Float[Tensor, ""]:
        """Return the weights of these images' queries as a share of the mean over parts and processes; 1 for one.

        How many queries will be matched is known beforehand: the fewer of queries and targets.
        """

        def weight(counts: Sequence[int]) -> float:
            matched = sum(min(num_queries, count) for count in counts)
            return matched + self.config.no_object_weight * (num_queries * len(counts) - matched)

        own = [len(target.labels) for target in targets]
        counts = own if step_counts is None else step_counts
        mean = mean_over_processes(torch.tensor(weight(counts) / (len(counts) / len(own)), device=device))
        return torch.where(mean > 0, torch.tensor(weight(own), device=device) / mean, 1.0)

    @torch.no_grad()
    def _match(
        self,
        stage: int,
        outputs: StageOutputs,
        targets: Sequence[Target],
        compare: RandomPoints | EveryPosition,
    ) -> list[Match]:
        config, matches = self.config, []
        for image, target in enumerate(targets):
            logits, truth, weight = compare.for_matching(image, outputs.mask_logits[image])
            costs = {
                "mask": config.mask_weight * mask_cost(logits, truth, weight),
                "dice": config.dice_weight * dice_cost(logits, truth, weight),
            }
            if outputs.class_logits is not None:
                costs["class"] = config.class_weight * class_cost(outputs.class_logits[image], target.labels)
            matches.append(assign(costs, target.name or f"image {image}", stage))
        return matches

    def _losses(
        self,
        outputs: StageOutputs,
        targets: Sequence[Target],
        matches: Sequence[Match],
        compare: RandomPoints | EveryPosition,
        num_targets: Float[Tensor, ""],
    ) -> dict[str, Float[Tensor, ""]]:
        terms = {}
        if outputs.class_logits is not None:
            classes = matched_classes(outputs.class_logits, targets, matches)
            loss = F.cross_entropy(outputs.class_logits.flatten(0, 1), classes.flatten(), self.class_weights.float())
            terms["class"] = self.config.class_weight * loss
        images = torch.cat([torch.full_like(match.queries, image) for image, match in enumerate(matches)])
        logits = outputs.mask_logits[images, torch.cat([match.queries for match in matches])]
        compared = compare.for_loss(logits, matches)
        terms["mask"] = self.config.mask_weight * mask_loss(compared).sum() / num_targets
        terms["dice"] = self.config.dice_weight * dice_loss(compared).sum() / num_targets
        return terms


def in_float32(outputs: StageOutputs) -> StageOutputs:
    """Return a stage's outputs in full precision, whatever the network ran in."""
    classes = None if outputs.class_logits is None else outputs.class_logits.float()
    return StageOutputs(classes, outputs.mask_logits.float())


def matched_classes(
    class_logits: Float[Tensor, "B N L"], targets: Sequence[Target], matches: Sequence[Match]
) -> Int[Tensor, "B N"]:
    """Return the class that each query should say: its target's, or `no_object`."""
    classes = torch.full(class_logits.shape[:2], class_logits.shape[2] - 1, device=class_logits.device)
    for row, target, match in zip(classes, targets, matches, strict=True):
        row[match.queries] = target.labels[match.targets].long()
    return classes


def mask_loss(compared: Comparison) -> Float[Tensor, " R"]:
    """Return each matched mask's binary cross-entropy, averaged over the positions by their weight."""
    logits, truth, weight = compared
    loss = F.binary_cross_entropy_with_logits(logits, truth, weight, reduction="none")
    return loss.mean(1) if weight is None else loss.sum(1) / weight.sum(1).clamp(min=1)


def dice_loss(compared: Comparison) -> Float[Tensor, " R"]:
    """Return each matched mask's dice loss, 1 - (2 |a b| + 1) / (|a| + |b| + 1), 0 to 1."""
    inside, truth, weight = compared.logits.sigmoid(), compared.truth, compared.weight
    area = inside.sum(1)
    if weight is not None:
        truth, area = truth * weight, (inside * weight).sum(1)
    return 1 - (2 * (inside * truth).sum(1) + 1) / (area + truth.sum(1) + 1)


def mean_num_targets(
    targets: Sequence[Target], device: torch.device, step_counts: Sequence[int] | None = None
) -> Float[Tensor, ""]:
    """Return the number of targets of a batch, averaged over all processes and parts of the step, at least 1.

    Args:
        targets: of the batch.
        device: where the result is needed.
        step_counts: see `Criterion.forward`.
    """
    counts = [len(target.labels) for target in targets] if step_counts is None else step_counts
    mean = torch.tensor(sum(counts) / (len(counts) / len(targets)), device=device)
    return mean_over_processes(mean).clamp(min=1)


def mean_over_processes(value: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the mean over all processes, the value itself where there is one; it is changed in place."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(value)
        value /= torch.distributed.get_world_size()
    return value


def check_finite(
    terms: dict[str, Float[Tensor, ""]],
    stages: Sequence[StageOutputs],
    targets: Sequence[Target],
    forced: Forced | None = None,
) -> None:
    """Raise NonFiniteError for the first term that is NaN or infinite, naming the images whose logits are."""
    # One question for all terms, as each answer makes a GPU wait.
    if bool(torch.stack(list(terms.values())).isfinite().all()):
        return
    term, value = next((term, value) for term, value in terms.items() if not bool(value.isfinite()))
    place, kind = term.split("/")
    run, stage = place.rstrip("0123456789"), place.lstrip("abcdefghijklmnopqrstuvwxyz")
    outputs = forced.stages[int(stage) - 1] if forced and run == "forced" else stages[int(stage)]
    logits = outputs.mask_logits if kind != "class" or outputs.class_logits is None else outputs.class_logits
    names = [target.name or f"image {image}" for image, target in enumerate(targets)]
    bad = [name for name, image in zip(names, logits, strict=True) if not bool(image.isfinite().all())]
    raise NonFiniteError(
        f"{', '.join(bad or names)}: the {kind} loss of {run} {stage} is {value.item()}. Lower the learning rate, "
        "train in float32, or start from other weights."
    )
