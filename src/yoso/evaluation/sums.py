"""The other scores as torchmetrics metrics, for training and for several processes; PQ's is `panoptic_quality`."""

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torchmetrics import Metric

from yoso.categories import Categories
from yoso.evaluation.instances import Found, ImageInstances, MaskAP, mask_ap

if TYPE_CHECKING:
    from yoso.evaluation.breakdown import Confusion
    from yoso.evaluation.matching import MatchCounts
    from yoso.evaluation.semantic import SemanticCounts

    Counts = Confusion | MatchCounts | SemanticCounts


class SummedCounts(Metric):
    """Sums of the counts of images, over all processes; `update` with those of one image, `total` at the end.

    Sums keep the type of the counts, float64 and int64, so they do not depend on how images are spread.
    """

    is_differentiable = False
    full_state_update = False

    def __init__(self, zeros: "Counts", **kwargs: Any) -> None:
        """Start from zero.

        Args:
            zeros: the counts of no image, such as `SemanticCounts.zeros(K)`.
            kwargs: torchmetrics' own options, such as `sync_on_compute`.
        """
        super().__init__(**kwargs)
        self.kind = type(zeros)
        for field in dataclasses.fields(zeros):
            self.add_state(field.name, torch.from_numpy(getattr(zeros, field.name).copy()), dist_reduce_fx="sum")

    def update(self, counts: "Counts") -> None:
        """Add the counts of one image, or of several."""
        for field in dataclasses.fields(counts):
            state = getattr(self, field.name)
            setattr(self, field.name, state + torch.from_numpy(getattr(counts, field.name)).to(state.device))

    def compute(self) -> dict[str, Tensor]:
        """Return the sums by field."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self.kind)}

    def total(self) -> Any:
        """Return the sums over all processes as what they are sums of."""
        return self.kind(**{name: value.cpu().numpy() for name, value in self.compute().items()})


class MaskAveragePrecision(Metric):
    """Mask AP of images spread over processes; `update` with one image, `compute` at the end.

    The state is text: one line of JSON per image, with run lengths, as bytes. It is gathered, not summed, and scored in
    the order of the images' names, so the result does not depend on how images are spread.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    lines: list[UInt8[Tensor, " bytes"]]

    def __init__(self, categories: Categories, **kwargs: Any) -> None:
        """Start from no image.

        Args:
            categories: the classes of the data set.
            kwargs: torchmetrics' own options, such as `sync_on_compute`.
        """
        super().__init__(**kwargs)
        self.categories = categories
        # What a process without an image contributes to the gathering is empty, but of the metric's type.
        self.set_dtype(torch.uint8)
        self.add_state("lines", [], dist_reduce_fx="cat")

    def update(self, image: ImageInstances) -> None:
        """Add one image."""
        line = json.dumps([image.name, image.size, image.truth, image.detected]) + "\n"
        self.lines.append(torch.from_numpy(np.frombuffer(line.encode(), np.uint8).copy()).to(self.device))

    def compute(self) -> MaskAP:
        """Return the figures of every image so far, over all processes.

        Raises:
            ConfigError: faster-coco-eval is not installed.
            DatasetError: two images have one name.
        """
        # One tensor after a synchronisation, a list of them without.
        parts = self.lines if isinstance(self.lines, list) else [self.lines]
        text = b"".join(part.cpu().numpy().tobytes() for part in parts).decode()
        images = []
        for line in text.splitlines():
            name, size, truth, detected = json.loads(line)
            images.append(
                ImageInstances(name, tuple(size), [Found(*row) for row in truth], [Found(*row) for row in detected])
            )
        return mask_ap(images, self.categories)
