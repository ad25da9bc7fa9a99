"""What a preparation will do, known in full before anything is written."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from yoso.categories import Categories
from yoso.data.formats.archive import Entry
from yoso.data.formats.encodings import Truth

Size = tuple[int, int]


class Scene(NamedTuple):
    """One photograph and where its truth comes from.

    Attributes:
        image_id: for the JSON.
        file_name: of the photograph, below the split's images.
        mask_name: of the panoptic PNG, below the split's masks.
        photograph: the file.
        sources: the files of its truth.
        truth: decodes the sources, given the photograph's (height, width); None if the one source is a panoptic PNG.
    """

    image_id: int | str
    file_name: str
    mask_name: str
    photograph: Entry
    sources: tuple[Entry, ...]
    truth: Callable[[Size], Truth] | None


@dataclass(frozen=True)
class SplitPlan:
    """One split to be prepared.

    Attributes:
        name: "train" or "val".
        categories: its classes.
        scenes: its photographs.
        images: folder that the photographs stay in; None if they have to be copied out of an archive.
        masks: folder that ready panoptic PNGs stay in, likewise.
        annotations: ready COCO panoptic JSON; None if it has to be made.
        in_place: whether that JSON stays where it is; if not, it is written anew with `categories`.
    """

    name: str
    categories: Categories
    scenes: list[Scene]
    images: Path | None
    masks: Path | None = None
    annotations: Path | None = None
    in_place: bool = False


@dataclass(frozen=True)
class Plan:
    """A data set to be prepared.

    Attributes:
        name: of the YAML.
        title: for people.
        splits: what it consists of.
        license: of the data.
        attribution: whom to name.
        expected: official number of photographs per split, as far as there is one.
        notes: what was passed over, for people.
    """

    name: str
    title: str
    splits: list[SplitPlan]
    license: str = ""
    attribution: str = ""
    expected: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
