"""Writes one split of a conversion plan: images that lie in archives, panoptic PNGs, and the JSON."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from yoso.data.coco_panoptic import segments_info
from yoso.data.formats.annotations import Size
from yoso.data.formats.counts import (
    OTHER_SIZE,
    UNUSABLE_FILE,
    AnnotationCounts,
    AnnotationError,
    Losses,
    check_counts,
    check_images,
)
from yoso.data.formats.journal import FinishedImage, mark_of, open_journal
from yoso.data.formats.plan import ImagePlan, SplitPlan
from yoso.data.spec import Split
from yoso.errors import DatasetError, ImageError
from yoso.files import probe_image, read_json, safe_child, write_id_map, write_json, written_whole

NO_ANNOTATIONS = "images without annotations"


@dataclass
class SplitOutcome:
    """What became of the annotations and images of a split.

    Attributes:
        is_counted: False for a benchmark, whose files must all be sound.
        counts: of the annotations.
        skipped: images and annotation files that are not in the result.
        empty: images without annotations.
    """

    is_counted: bool
    counts: AnnotationCounts = field(default_factory=AnnotationCounts)
    skipped: Losses = field(default_factory=Losses)
    empty: Losses = field(default_factory=Losses)

    @property
    def is_complete(self) -> bool:
        """Whether nothing was dropped or skipped."""
        return not self.counts.dropped and not self.skipped


class SplitWriter:
    """Writes the files of a split.

    Attributes:
        split: where they lie.
        made: images that needed work; the others were finished before.
        outcome: what became of the source.
    """

    def __init__(self, part: SplitPlan, folder: Path) -> None:
        """Check the names of all files to write.

        Args:
            part: what to write.
            folder: where to write.

        Raises:
            DatasetError: a name leads out of the folder.
        """
        self.part, self.folder = part, folder
        images = part.images_folder or folder / "images" / part.name
        masks = part.masks_folder or folder / f"panoptic_{part.name}"
        own = folder / f"panoptic_{part.name}.json"
        self.split = Split(images, masks, part.annotations if part.annotations and part.in_place else own)
        self.made = 0
        self.outcome = SplitOutcome(part.source is not None)
        self.outcome.counts.add(part.counts)
        self.outcome.skipped.update_from(part.skipped)
        for image in part.images:
            self._paths(image)

    def _paths(self, image: ImagePlan) -> tuple[Path, Path]:
        """Return the paths of an image and its panoptic PNG; both are checked if they are to be written."""
        image_path, mask_path = self.split.images / image.file_name, self.split.masks / image.mask_name
        if self.part.images_folder is None:
            image_path = safe_child(self.split.images, image.file_name, image.image)
        if self.part.masks_folder is None:
            mask_path = safe_child(self.split.masks, image.mask_name, image.image)
        return image_path, mask_path

    def run(self, threads: int, on_progress: Callable[[str, int, int], None] | None) -> None:
        """Write all files.

        Args:
            threads: that read and write.
            on_progress: called with (split, finished images, all images).

        Raises:
            YosoError: see `write_dataset`.
        """
        finished: list[tuple[ImagePlan, FinishedImage]] = []
        with open_journal(self.folder / f".{self.part.name}.journal", self.part) as (known, note):
            for number, (image, result, is_new) in enumerate(self._worked(known, threads), 1):
                if isinstance(result, FinishedImage):
                    if is_new:
                        note(image, result)
                    finished.append((image, result))
                    self._count(image, result)
                else:
                    self._skip(image, result)
                self.made += is_new
                if on_progress:
                    on_progress(self.part.name, number, len(self.part.images))
        if self.part.source is not None:
            where = f"{self.part.source}: {self.part.name}"
            check_images(self.outcome.skipped, len(finished) + self.outcome.skipped.total, where)
            check_counts(self.outcome.counts, where)
        if self.part.annotations is None:
            _write_annotations(self.split.annotations, self.part, finished)
        elif not self.part.in_place:
            _rewrite_annotations(self.split.annotations, self.part, self.part.annotations)

    def _worked(
        self, known: dict[str, FinishedImage], threads: int
    ) -> Iterator[tuple[ImagePlan, FinishedImage | DatasetError | ImageError, bool]]:
        """Yield every image in order, its result or what is wrong with it, and whether that took work."""

        def work(image: ImagePlan) -> tuple[FinishedImage | DatasetError | ImageError, bool]:
            old = known.get(image.file_name)
            if old and old.mark == mark_of(image) and all(path.is_file() for path in self._paths(image)):
                return old, False
            try:
                return self._make(image), True
            except (DatasetError, ImageError) as error:
                if self.part.source is None:
                    raise
                return error, True

        pool = ThreadPoolExecutor(threads)
        try:
            for image, (result, is_new) in zip(self.part.images, pool.map(work, self.part.images), strict=True):
                yield image, result, is_new
        finally:
            pool.shutdown(cancel_futures=True)

    def _count(self, image: ImagePlan, finished: FinishedImage) -> None:
        if finished.counts is not None:
            counts = AnnotationCounts.from_json(finished.counts)
            self.outcome.counts.add(counts)
            self.outcome.empty.add(NO_ANNOTATIONS, str(image.image), int(counts.read == 0))

    def _skip(self, image: ImagePlan, error: DatasetError | ImageError) -> None:
        reason, first = UNUSABLE_FILE, str(error)
        if isinstance(error, AnnotationError):
            reason, first = error.reason, error.detail or str(image.image)
        self.outcome.skipped.add(reason, first)
        self.outcome.counts.drop_all(image.num_annotations, reason, first)

    def _make(self, image: ImagePlan) -> FinishedImage:
        """Write what an image needs.

        Raises:
            YosoError: a file is damaged, of another kind or another size, or cannot be written.
        """
        content = image.image.content()
        size, _ = probe_image(str(image.image), content)
        if image.decode is None:
            segments, counts = self._copy_mask(image, size), None
        else:
            segments, counts = self._make_mask(image, size)
        if content is not None:
            with written_whole(self._paths(image)[0]) as temporary:
                content.seek(0)
                temporary.write_bytes(content.read())
        return FinishedImage(mark_of(image), size, segments, counts)

    def _make_mask(self, image: ImagePlan, size: Size) -> tuple[str, dict | None]:
        assert image.decode is not None
        self._check_json_size(image, size)
        id_map, segments, counts = image.decode(size)
        _check_same_size(image, size, id_map.shape)
        target = self._paths(image)[1]
        infos = segments_info(target, id_map, segments, self.part.categories)
        write_id_map(target, id_map)
        return json.dumps(infos), counts.to_json() if counts and self.part.source else None

    def _copy_mask(self, image: ImagePlan, size: Size) -> str:
        (mask,) = image.sources
        content = mask.content()
        mask_size, mode = probe_image(str(mask), content)
        if mode not in {"RGB", "RGBA"}:
            raise DatasetError(f"{mask}: a panoptic PNG is RGB (id = R + 256 G + 65536 B); this one is {mode}")
        _check_same_size(image, size, mask_size)
        self._check_json_size(image, size)
        if content is not None:
            with written_whole(self._paths(image)[1]) as temporary:
                content.seek(0)
                temporary.write_bytes(content.read())
        return ""

    def _check_json_size(self, image: ImagePlan, size: Size) -> None:
        if image.json_size not in (None, size):
            where = self.part.annotations or image.sources[0]
            detail = f"{where}: {_by(image.json_size)}, {image.image}: {_by(size)}"
            if self.part.source is None:
                raise DatasetError(f"{detail}; the sizes differ, unpack the archives again")
            raise AnnotationError(OTHER_SIZE, detail)


def _check_same_size(image: ImagePlan, size: Size, mask_size: tuple[int, ...]) -> None:
    if size != mask_size:
        raise DatasetError(
            f"{image.sources[0]}: is {_by(mask_size)}, but its image {image.image} is {_by(size)}; unpack or export "
            "both again"
        )


def _by(size: tuple[int, ...] | None) -> str:
    return f"{size[1]}x{size[0]}" if size else "?"


def _write_annotations(path: Path, part: SplitPlan, finished: list[tuple[ImagePlan, FinishedImage]]) -> None:
    """Write the JSON piece by piece: as Python objects it would take many times its size."""
    images, annotations = [], []
    for image, result in finished:
        height, width = result.size
        images.append(
            json.dumps({"id": image.image_id, "file_name": image.file_name, "height": height, "width": width})
        )
        entry = json.dumps({"image_id": image.image_id, "file_name": image.mask_name})
        annotations.append(f'{entry[:-1]}, "segments_info": {result.segments}}}')
    with written_whole(path) as temporary, temporary.open("w", encoding="utf-8") as sink:
        for opening, entries in (('{"images": [\n', images), ('\n],\n"annotations": [\n', annotations)):
            sink.write(opening)
            sink.writelines(",\n" * (number > 0) + entry for number, entry in enumerate(entries))
        sink.write(f'\n],\n"categories": {json.dumps(part.categories.to_json())}}}\n')


def _rewrite_annotations(path: Path, part: SplitPlan, source: Path) -> None:
    """Write a ready JSON with the plan's classes; segments of other classes, which are void, are left out."""
    content = read_json(source)
    for annotation in content["annotations"]:
        known = (segment for segment in annotation["segments_info"] if part.categories.has_id(segment["category_id"]))
        annotation["segments_info"] = list(known)
    write_json(path, content | {"categories": part.categories.to_json()})
