"""The set prediction loss (paper, section 3.1): class, mask and dice terms at every stage, each stage matched anew."""

from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from yoso.errors import NonFiniteError
from yoso.loss.comparison import Comparison, EveryPosition, RandomPoints
from yoso.loss.config import LossConfig
from yoso.loss.forcing import Forced
from yoso.loss.matcher import Match, assign, class_cost, dice_cost, mask_cost
from yoso.loss.semantic import semantic_loss
from yoso.structures import StageOutputs, Target


class Criterion(nn.Module):
    """The set criterion: match queries with targets, then compare each pair; unmatched queries learn `no_object`."""

    class_weights: Float[Tensor, " L"]

    def __init__(self, config: LossConfig, num_classes: int) -> None:
        """Build the criterion.

        Args:
            config: weights and sampling.
            num_classes: K, without `no_object`.
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
        semantic_logits: Float[Tensor, "B K h w"] | None = None,
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the weighted terms, whose sum is the loss. Everything is computed in float32, also under autocast.

        At each stage, random numbers are drawn for the matching of each image in turn, then for the losses of all
        matched masks. For a batch without targets, the mask and dice terms are zero and so is their gradient.

        The mean of the terms over processes and over the parts of a step equals the terms of the whole step in one
        batch. (The official implementation divides the class term by each process's own weights.)

        Args:
            stages: outputs of the decoder stages for B images; the proposal stage (without classes) comes first.
            targets: one per image, on the device of the stages, with masks of one padded size.
            step_counts: number of targets of every image that this process contributes to the optimizer step, if
                these images are one of several equal parts of it; None if they are the whole step.
            forced: the second run of the stages, if there is one, with the matches of `first_matches`.
            semantic_logits: class logits of single positions, without `no_object`, if they are trained.

        Returns:
            `stage{i}/class` (for stages with classes): cross-entropy over all queries, weighted by class and divided by
            the sum of the weights over all parts and processes.
            `stage{i}/mask`, `stage{i}/dice`: sum over matched masks, divided by the number of targets, which is
            averaged over all parts and processes and is at least 1.
            `forced{i}/...`: the same for the second run, each query with its target of stage 0.
            `semantic`: see `semantic_loss`.

        Raises:
            NonFiniteError: a matching cost or a term is NaN or infinite; names it, the stage and the image.
        """
        device = stages[0].mask_logits.device
        terms, logits = {}, {}
        with torch.autocast(device.type, enabled=False):
            compare = self._comparer(stages[0], targets)
            num_targets = mean_num_targets(targets, device, step_counts)
            class_share = self._class_share(stages[0].mask_logits.shape[1], targets, device, step_counts)
            for run, outputs, matches, factor in self._runs(stages, targets, compare, forced):
                for name, value, source in self._losses(outputs, targets, matches, compare, num_targets):
                    terms[f"{run}/{name}"] = factor * (value * class_share if name == "class" else value)
                    logits[f"{run}/{name}"] = source
            if semantic_logits is not None:
                terms["semantic"] = self.config.semantic_weight * semantic_loss(semantic_logits, targets)
                logits["semantic"] = semantic_logits
            check_finite(terms, logits, targets)
        return terms

    def _runs(
        self,
        stages: Sequence[StageOutputs],
        targets: Sequence[Target],
        compare: RandomPoints | EveryPosition,
        forced: Forced | None,
    ) -> Iterator[tuple[str, StageOutputs, list[Match], float]]:
        """Yield the name, outputs, matches and weight of every run of a stage."""
        for stage, outputs in enumerate(map(in_float32, stages)):
            known = forced.matches if forced and stage == 0 else None
            yield f"stage{stage}", outputs, known or self._match(stage, outputs, targets, compare), 1.0
        if forced:
            for stage, outputs in enumerate(map(in_float32, forced.stages), 1):
                yield f"forced{stage}", outputs, forced.matches, self.config.forced_weight

    def first_matches(self, outputs: StageOutputs, targets: Sequence[Target]) -> list[Match]:
        """Return the matches of the proposal stage, for `Forced`."""
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
        """Return the class weight of these images' queries relative to its mean over parts and processes.

        The number of matched queries is known beforehand: the smaller of the numbers of queries and targets.
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
    ) -> Iterator[tuple[str, Float[Tensor, ""], Float[Tensor, "B N _ ..."]]]:
        """Yield the name of each term of one run, its value, and the logits that it was computed from."""
        if outputs.class_logits is not None:
            classes = matched_classes(outputs.class_logits, targets, matches)
            loss = F.cross_entropy(outputs.class_logits.flatten(0, 1), classes.flatten(), self.class_weights.float())
            yield "class", self.config.class_weight * loss, outputs.class_logits
        images = torch.cat([torch.full_like(match.queries, image) for image, match in enumerate(matches)])
        logits = outputs.mask_logits[images, torch.cat([match.queries for match in matches])]
        compared = compare.for_loss(logits, matches)
        yield "mask", self.config.mask_weight * mask_loss(compared).sum() / num_targets, outputs.mask_logits
        yield "dice", self.config.dice_weight * dice_loss(compared).sum() / num_targets, outputs.mask_logits


def in_float32(outputs: StageOutputs) -> StageOutputs:
    """Return a stage's outputs in float32."""
    classes = None if outputs.class_logits is None else outputs.class_logits.float()
    return StageOutputs(classes, outputs.mask_logits.float())


def matched_classes(
    class_logits: Float[Tensor, "B N L"], targets: Sequence[Target], matches: Sequence[Match]
) -> Int[Tensor, "B N"]:
    """Return the class that each query learns: that of its target, or `no_object`."""
    classes = torch.full(class_logits.shape[:2], class_logits.shape[2] - 1, device=class_logits.device)
    for row, target, match in zip(classes, targets, matches, strict=True):
        row[match.queries] = target.labels[match.targets].long()
    return classes


def mask_loss(compared: Comparison) -> Float[Tensor, " R"]:
    """Return the binary cross-entropy of each matched mask, averaged over the positions by weight."""
    logits, truth, weight = compared
    loss = F.binary_cross_entropy_with_logits(logits, truth, weight, reduction="none")
    return loss.mean(1) if weight is None else loss.sum(1) / weight.sum(1).clamp(min=1)


def dice_loss(compared: Comparison) -> Float[Tensor, " R"]:
    """Return the dice loss of each matched mask, 1 - (2 |a b| + 1) / (|a| + |b| + 1), 0 to 1."""
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
        device: of the result.
        step_counts: see `Criterion.forward`.
    """
    counts = [len(target.labels) for target in targets] if step_counts is None else step_counts
    mean = torch.tensor(sum(counts) / (len(counts) / len(targets)), device=device)
    return mean_over_processes(mean).clamp(min=1)


def mean_over_processes(value: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the mean over all processes, computed in place; the value itself if there is only one process."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(value)
        value /= torch.distributed.get_world_size()
    return value


def check_finite(
    terms: Mapping[str, Float[Tensor, ""]],
    logits: Mapping[str, Float[Tensor, "B ..."]],
    targets: Sequence[Target],
) -> None:
    """Check that every term of the loss is finite.

    Args:
        terms: by name.
        logits: that each term was computed from, by the same names.
        targets: one per image, for the names of the images.

    Raises:
        NonFiniteError: a term is NaN or infinite; names the first one and the images whose logits are not finite, or
            all images if those of all are.
    """
    # One test for all terms, because each test makes the CPU wait for a GPU.
    if bool(torch.stack(list(terms.values())).isfinite().all()):
        return
    term = next(name for name, value in terms.items() if not bool(value.isfinite()))
    names = [target.name or f"image {image}" for image, target in enumerate(targets)]
    bad = [name for name, image in zip(names, logits[term], strict=True) if not bool(image.isfinite().all())]
    raise NonFiniteError(
        f"{', '.join(bad or names)}: the loss term {term} is {terms[term].item()}. Lower the learning rate, train in "
        "float32, or start from other weights."
    )
