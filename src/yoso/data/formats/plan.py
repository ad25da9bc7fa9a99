"""What a conversion does, known in full before anything is written."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from yoso.categories import Categories
from yoso.data.formats.annotations import ImageAnnotation, Size
from yoso.data.formats.archive import SourceFile
from yoso.data.formats.counts import AnnotationCounts, Losses


class ImagePlan(NamedTuple):
    """One image and where its annotation comes from.

    Attributes:
        image_id: for the JSON.
        file_name: of the image, below the split's images.
        mask_name: of the panoptic PNG, below the split's masks.
        image: the file.
        sources: the files of its annotation.
        decode: reads the sources, given the image's (height, width); None if the one source is a panoptic PNG.
        num_annotations: as far as it is known before decoding; counted as dropped if the image cannot be used.
        json_size: (height, width) that the source gives for the image, if any.
    """

    image_id: int | str
    file_name: str
    mask_name: str
    image: SourceFile
    sources: tuple[SourceFile, ...]
    decode: Callable[[Size], ImageAnnotation] | None
    num_annotations: int = 0
    json_size: Size | None = None


@dataclass(frozen=True)
class SplitPlan:
    """One split to convert.

    Attributes:
        name: "train" or "val".
        categories: its classes.
        images: its images.
        images_folder: folder that the images stay in; None if they are copied out of an archive.
        masks_folder: folder that ready panoptic PNGs stay in, likewise.
        annotations: ready COCO panoptic JSON; None if it is written.
        in_place: whether that JSON stays where it is; if not, it is written again with `categories`.
        source: the file or folder that lists the images; those that cannot be used are counted and skipped. None for a
            benchmark, whose files must all be sound.
        counts: annotations that belong to no image.
        skipped: images and annotation files that are left out already.
    """

    name: str
    categories: Categories
    images: list[ImagePlan]
    images_folder: Path | None
    masks_folder: Path | None = None
    annotations: Path | None = None
    in_place: bool = False
    source: Path | None = None
    counts: AnnotationCounts = field(default_factory=AnnotationCounts)
    skipped: Losses = field(default_factory=Losses)


@dataclass(frozen=True)
class ConversionPlan:
    """A data set to convert.

    Attributes:
        name: of the YAML.
        title: for people.
        splits: what it consists of.
        license: of the data.
        attribution: whom to name.
        expected: official number of images per split, as far as there is one.
        notes: what a person should know, one sentence each.
        keeps_splits: whether splits that an earlier run wrote stay in the YAML.
    """

    name: str
    title: str
    splits: list[SplitPlan]
    license: str = ""
    attribution: str = ""
    expected: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    keeps_splits: bool = False


@dataclass(frozen=True)
class ConversionRequest:
    """What to convert.

    Attributes:
        source: a folder; for YOLO also its YAML, for COCO also a JSON file.
        output: folder that is written; files in it are not read as a part of the source.
        stuff: names of the classes that are stuff.
        categories: JSON list of COCO categories, for formats that name no classes.
        annotations: COCO's JSON file per split, where the layout does not tell.
        images: COCO's image folder per split, likewise.
    """

    source: Path
    output: Path
    stuff: tuple[str, ...] = ()
    categories: Path | None = None
    annotations: dict[str, Path] = field(default_factory=dict)
    images: dict[str, Path] = field(default_factory=dict)
