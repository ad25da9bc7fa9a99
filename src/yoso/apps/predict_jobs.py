"""Which images `yoso predict` segments, and what their outputs are called."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from yoso.data.coco_panoptic import ImageRecord, read_annotations
from yoso.data.prediction_folder import MASKS
from yoso.data.spec import Split, load_spec
from yoso.inference.sources import OVERLAY, expand_sources, output_stem


@dataclass(frozen=True)
class Failure:
    """Something that could not be segmented.

    Attributes:
        source: the file; empty for an argument that stands for none.
        message: the error, one line.
    """

    source: str
    message: str


@dataclass(frozen=True)
class InputImage:
    """An image to segment.

    Attributes:
        path: where it is.
        record: what the data set says of it; None if no data set was given.
    """

    path: Path
    record: ImageRecord | None = None

    @property
    def file_name(self) -> str:
        """Its name in `panoptic.json`."""
        return self.record.file_name if self.record else self.path.as_posix()


@dataclass(frozen=True)
class Job:
    """An image to segment and the names of its outputs.

    Attributes:
        path: where the image is.
        record: its id and name in `panoptic.json`, and the name of its PNG.
        overlay: name of the picture.
    """

    path: Path
    record: ImageRecord
    overlay: str


def find_images(args: argparse.Namespace, split: Split | None) -> tuple[list[InputImage], list[Failure]]:
    """Return the images that the arguments stand for, and an error for each argument that stands for none.

    Args:
        args: of `yoso predict`.
        split: of the data set of `--data`.

    Raises:
        DatasetError: the annotations of the split cannot be read.
    """
    images = [] if split is None else images_of(split)
    if not args.sources:
        return images, []
    sources = expand_sources(args.sources, ignored=Path(args.output, MASKS))
    failures = [Failure("", str(error)) for error in sources.errors]
    if split is None:
        return [InputImage(path) for path in sources.paths], failures
    known = {image.path.resolve(): image for image in images}
    for path in sources.paths:
        if path.resolve() not in known:
            failures.append(Failure(str(path), f"{path}: is not an image of {args.data} {args.split}; leave it out"))
    return [known[path.resolve()] for path in sources.paths if path.resolve() in known], failures


def find_split(args: argparse.Namespace) -> Split | None:
    """Return the split that `--data` and `--split` name, None without `--data`."""
    return load_spec(args.data).split(args.split) if args.data else None


def images_of(split: Split) -> list[InputImage]:
    """Return the annotated images of a split, in the order of its annotations."""
    annotations = read_annotations(split.annotations)
    records = [annotations.record(index) for index in range(len(annotations))]
    return [InputImage(split.images / record.file_name, record) for record in records]


def make_jobs(images: Sequence[InputImage], earlier: Mapping[str, Any]) -> list[Job]:
    """Name the outputs of the images that an earlier run has not done.

    Args:
        images: all images.
        earlier: what the earlier run has listed, as COCO panoptic; empty if there is none to continue.
    """
    done = {image["file_name"] for image in earlier.get("images", ())}
    taken = [PurePath(entry["file_name"]).stem for entry in earlier.get("annotations", ())]
    pending = [image for image in images if image.file_name not in done]
    ids = [image["id"] for image in earlier.get("images", ()) if isinstance(image["id"], int)]
    jobs = []
    for number, (image, stem) in enumerate(
        zip(pending, output_stem([image.path for image in pending], taken), strict=True), start=1 + max(ids, default=0)
    ):
        record = image.record or ImageRecord(number, image.file_name, f"{stem}.png", 0, 0)
        jobs.append(Job(image.path, record, f"{stem}{OVERLAY}"))
    return jobs
