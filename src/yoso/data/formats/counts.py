"""What became of the annotations of another tool: each is written, merged into another segment, or dropped."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from yoso.errors import DatasetError

COVERED = "covered by other annotations"
SAME_STUFF = "stuff of one class in one image"
SAME_OBJECT = "parts of one object"

MISSING_IMAGE = "missing image"
OTHER_SIZE = "image size differs from the annotation file"
UNUSABLE_FILE = "unusable image or label file"
UNKNOWN_IMAGE = "image_id not in 'images'"
NOT_NORMALIZED = "coordinates not between 0 and 1"

SYSTEMATIC = (UNKNOWN_IMAGE, NOT_NORMALIZED)
"""Reasons that mean a fault of the whole export if half of the annotations share one of them."""


class AnnotationError(DatasetError):
    """An annotation, or all annotations of an image, that a conversion leaves out.

    Attributes:
        reason: what is wrong, the same text for all annotations with this fault.
        detail: the values that are wrong; "" if the reason says it all.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason} ({detail})" if detail else reason)
        self.reason, self.detail = reason, detail


class Loss(NamedTuple):
    """Annotations, images or files that were left out for one reason.

    Attributes:
        count: how many.
        first: where the first one is.
    """

    count: int
    first: str


class Losses(dict[str, Loss]):
    """What was left out, by reason."""

    def add(self, reason: str, first: str, count: int = 1) -> None:
        """Count more of them; the first example stays."""
        if count:
            old = self.get(reason, Loss(0, first))
            self[reason] = Loss(old.count + count, old.first)

    def update_from(self, other: "Losses") -> None:
        """Add all of another collection."""
        for reason, loss in other.items():
            self.add(reason, loss.first, loss.count)

    @property
    def total(self) -> int:
        """How many were left out."""
        return sum(loss.count for loss in self.values())

    def ordered(self) -> list[tuple[str, Loss]]:
        """Return reasons and losses, the most frequent first."""
        return sorted(self.items(), key=lambda item: -item[1].count)

    def to_json(self) -> list[dict[str, Any]]:
        """Return reason, count and first example of each, the most frequent first."""
        return [{"reason": reason, **loss._asdict()} for reason, loss in self.ordered()]

    @classmethod
    def from_json(cls, content: Iterable[dict[str, Any]]) -> "Losses":
        """Return what `to_json` wrote."""
        return cls({entry["reason"]: Loss(entry["count"], entry["first"]) for entry in content})


@dataclass
class AnnotationCounts:
    """The balance of a conversion: `read` is the sum of `written`, all `merged` and all `dropped`.

    Attributes:
        read: annotations in the source.
        written: segments in the result.
        merged: annotations that another segment contains or covers, by reason.
        dropped: annotations that are lost.
        void: annotations that mark unlabelled pixels; `read` does not include them.
    """

    read: int = 0
    written: int = 0
    merged: dict[str, int] = field(default_factory=dict)
    dropped: Losses = field(default_factory=Losses)
    void: int = 0

    @property
    def num_merged(self) -> int:
        """The number of merged annotations."""
        return sum(self.merged.values())

    def merge(self, reason: str, count: int) -> None:
        """Count annotations that another segment contains or covers."""
        if count:
            self.merged[reason] = self.merged.get(reason, 0) + count

    def drop_all(self, count: int, reason: str, first: str) -> None:
        """Count annotations that are read and dropped."""
        self.read += count
        self.dropped.add(reason, first, count)

    def add(self, other: "AnnotationCounts") -> None:
        """Add the counts of more annotations."""
        self.read += other.read
        self.written += other.written
        self.void += other.void
        for reason, count in other.merged.items():
            self.merge(reason, count)
        self.dropped.update_from(other.dropped)

    def to_json(self) -> dict[str, Any]:
        """Return the counts for a JSON file."""
        return vars(self) | {"dropped": self.dropped.to_json()}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "AnnotationCounts":
        """Return the counts that `to_json` wrote."""
        return cls(**content | {"dropped": Losses.from_json(content["dropped"])})


def read_each(annotations: Iterable[tuple[str, Any]], counts: AnnotationCounts, take: Callable[[Any], None]) -> None:
    """Read annotations one by one; one that cannot be used is counted and skipped.

    Args:
        annotations: where each one is, and its content.
        counts: what is read and dropped is added to.
        take: reads one; raises `AnnotationError` if it cannot be used.
    """
    for where, annotation in annotations:
        counts.read += 1
        try:
            take(annotation)
        except AnnotationError as error:
            counts.dropped.add(error.reason, f"{where} ({error.detail})" if error.detail else where)


def check_systematic(dropped: Losses, total: int, where: str) -> None:
    """Refuse an export of which half of the annotations have one fault, which then is a fault of the export.

    Args:
        dropped: annotations that are lost.
        total: all annotations, including those.
        where: the source and the split.

    Raises:
        DatasetError: half of the annotations share one of the reasons `SYSTEMATIC`.
    """
    for reason, loss in dropped.ordered():
        if reason in SYSTEMATIC and 2 * loss.count >= total:
            raise _refusal(where, f"{loss.count:,} of {total:,} annotations", reason, loss)


def check_counts(counts: AnnotationCounts, where: str) -> None:
    """Refuse a split of which too many annotations were dropped.

    Args:
        counts: of a split.
        where: the source and the split.

    Raises:
        DatasetError: see `check_systematic`; or no annotation became a segment.
    """
    check_systematic(counts.dropped, counts.read, where)
    for reason, loss in counts.dropped.ordered()[: not counts.written]:
        raise _refusal(where, f"{loss.count:,} of {counts.read:,} annotations", reason, loss)


def check_images(skipped: Losses, num_images: int, where: str) -> None:
    """Refuse an export of which half of the images cannot be used.

    Args:
        skipped: images that were left out.
        num_images: all images, including those left out.
        where: the source and the split.

    Raises:
        DatasetError: at least half were left out.
    """
    if skipped and 2 * skipped.total >= num_images:
        reason, loss = skipped.ordered()[0]
        raise _refusal(where, f"{loss.count:,} of {num_images:,} images", reason, loss)


def _refusal(where: str, what: str, reason: str, loss: Loss) -> DatasetError:
    return DatasetError(f"{where}: {what} cannot be used: {reason} (first: {loss.first}); correct or export them again")
