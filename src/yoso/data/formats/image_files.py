"""What the readers of other tools' formats share: finding images, naming classes, checking a split before any work."""

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from yoso.categories import Categories, Category, default_color
from yoso.data.formats.annotations import Size
from yoso.data.formats.counts import AnnotationCounts, Losses, check_images
from yoso.data.formats.plan import ConversionRequest, ImagePlan, SplitPlan
from yoso.errors import ConfigError, DatasetError, did_you_mean
from yoso.files import is_hidden
from yoso.values import whole


def files_in(folder: Path, suffixes: Iterable[str], request: ConversionRequest) -> list[Path]:
    """Return the files below a folder with one of the endings, in order.

    Hidden files, such as `._a.jpg` on disks of a Mac, and the output of an earlier conversion are left out.

    Args:
        folder: to search.
        suffixes: in lower case; those of the files may be in upper case.
        request: its output is left out.
    """
    output = request.output.resolve()
    found = (path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    return sorted(
        path for path in found if not is_hidden(path.relative_to(folder)) and not path.resolve().is_relative_to(output)
    )


def find_image(folder: Path, name: str, exact: bool = False) -> str | None:
    """Find an image by the name that an annotation file gives it.

    Nothing outside the folder is looked at: the names come from a file that may be anybody's.

    Args:
        folder: to look in.
        name: a relative path with slashes or backslashes. Some tools write absolute paths, or paths relative to
            another folder; their leading parts are left off until the rest is a path below `folder`.
        exact: leave nothing off.

    Returns:
        The path below `folder`, with slashes; None if there is no such file.
    """
    parts = [part for part in name.replace("\\", "/").split("/") if part not in {"", "."}]
    for start in range(1 if exact else len(parts)):
        tail = parts[start:]
        if tail and ".." not in tail and os.path.isfile(folder.joinpath(*tail)):
            return "/".join(tail)
    return None


def mask_name_of(file_name: str) -> str:
    """Return the name of an image's panoptic PNG, below the split's masks."""
    return str(PurePosixPath(file_name).with_suffix(".png"))


def json_size(height: Any, width: Any) -> Size | None:
    """Return the (height, width) that an annotation file gives an image, or None if they are not positive numbers."""
    size = whole(height) or 0, whole(width) or 0
    return size if min(size) > 0 else None


def number_classes(names: Iterable[str], stuff: tuple[str, ...]) -> Categories:
    """Return categories with ids from 1, in the order given.

    Raises:
        ConfigError: a name of `stuff` is not a class.
    """
    known = list(names)
    check_stuff(stuff, known)
    return Categories(
        Category(number, name, name not in stuff, default_color(number - 1)) for number, name in enumerate(known, 1)
    )


def check_stuff(stuff: tuple[str, ...], names: list[str]) -> None:
    """Make sure that the names given as stuff are classes.

    Raises:
        ConfigError: one of `stuff` is not in `names`.
    """
    for name in stuff:
        if name not in names:
            raise ConfigError(f"--stuff {name}: the data set has no such class.{did_you_mean(name, names)}")


class SplitBuilder:
    """Collects the images of a split; those that cannot be used are counted.

    Attributes:
        name: "train" or "val".
        where: the file or folder that lists the images.
        images: those that are there.
        counts: annotations that belong to none of them.
        skipped: images and annotation files that cannot be used.
    """

    def __init__(self, name: str, where: Path) -> None:
        self.name, self.where = name, where
        self.images: list[ImagePlan] = []
        self.counts, self.skipped = AnnotationCounts(), Losses()
        self._file_names: dict[str, str] = {}

    def add(self, image: ImagePlan) -> None:
        """Add an image.

        Raises:
            DatasetError: another image has this name, so that the two would have one panoptic PNG.
        """
        other = self._file_names.setdefault(image.mask_name, image.file_name)
        if len(self._file_names) == len(self.images):
            raise DatasetError(
                f"{self.where}: two images of {self.name} are called {image.mask_name.removesuffix('.png')} ({other} "
                f"and {image.file_name}); remove or rename one"
            )
        self.images.append(image)

    def skip(self, reason: str, where: str, num_annotations: int = 0) -> None:
        """Count an image or an annotation file that cannot be used, and its annotations."""
        self.skipped.add(reason, where)
        self.counts.drop_all(num_annotations, reason, where)

    def plan(self, categories: Categories, images_folder: Path) -> SplitPlan:
        """Return the plan of the split.

        Raises:
            DatasetError: there is no image, or half of the images cannot be used.
        """
        check_images(self.skipped, len(self.images) + self.skipped.total, f"{self.where}: {self.name}")
        if not self.images:
            raise DatasetError(f"{self.where}: {self.name} has no images; put them there")
        return SplitPlan(
            name=self.name,
            categories=categories,
            images=self.images,
            images_folder=images_folder,
            source=self.where,
            counts=self.counts,
            skipped=self.skipped,
        )
