"""Carries out a plan: panoptic PNGs, one JSON per split, and the YAML that names them.

A run that was interrupted goes on where it stopped, and one that is repeated does nothing. Both come from a journal per
split: one line per photograph, written once its files are whole, which says what they were made of.
"""

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from yoso.class_tables import checksum
from yoso.data.coco_panoptic import Annotations, read_annotations, segments_info
from yoso.data.formats.plan import Plan, Scene, Size, SplitPlan
from yoso.data.spec import Split
from yoso.data.statistics import class_indices
from yoso.errors import DatasetError, OutputError
from yoso.files import (
    cannot_write,
    probe_image,
    read_json,
    read_text,
    write_id_map,
    write_json,
    write_text,
    written_whole,
)

STAMP = "prepared.json"
HEADLINE = "# Written by `yoso data`, and written anew when the command runs again."
FORMAT = 1
"""Raised when what is written changes, so that older journals are not gone on with."""


class Target(NamedTuple):
    """Where a prepared data set goes.

    Attributes:
        yaml: its description.
        folder: everything else; it holds nothing of anybody else's.
    """

    yaml: Path
    folder: Path


class ClassTally(NamedTuple):
    """How often a class occurs in a split.

    Attributes:
        name: of the category.
        is_thing: thing or stuff.
        segments: without crowds.
        crowds: segments marked iscrowd.
        images: photographs it occurs in.
    """

    name: str
    is_thing: bool
    segments: int
    crowds: int
    images: int


@dataclass(frozen=True)
class Prepared:
    """What was made of a split.

    Attributes:
        name: "train" or "val".
        split: where it lies.
        images: photographs.
        made: photographs worked on in this run; the others were done before.
        expected: official number of photographs; None if there is none.
        classes: in class-index order.
    """

    name: str
    split: Split
    images: int
    made: int
    expected: int | None
    classes: list[ClassTally]


class Done(NamedTuple):
    """What is known of a photograph once its files are there.

    Attributes:
        mark: sizes and times or checksums of the files it was made of.
        size: (height, width).
        segments: `segments_info` as JSON; empty where the JSON was ready.
    """

    mark: list[int]
    size: Size
    segments: str


def check_target(target: Target) -> None:
    """Make sure that nothing of anybody else's would be overwritten.

    Raises:
        OutputError: the YAML or the folder exists and was not written by this command.
    """
    folder, description = target.folder, target.yaml
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; choose another --output")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / STAMP).is_file():
        raise OutputError(f"{folder}: holds files that `yoso data` did not write; choose another --output")
    if description.exists() and not _is_ours(description):
        raise OutputError(f"{description}: was not written by `yoso data`; move it away or choose another --output")


def _is_ours(description: Path) -> bool:
    try:
        return read_text(description).startswith(HEADLINE)
    except DatasetError:
        return False


def prepare(
    plan: Plan, target: Target, threads: int = 0, on_progress: Callable[[str, int, int], None] | None = None
) -> list[Prepared]:
    """Carry out a plan.

    Args:
        plan: what to do.
        target: where to write; see `check_target`.
        threads: that read and write; 0 for one per processor.
        on_progress: called with (split, photographs done, photographs in all).

    Raises:
        YosoError: a file cannot be read or written, or is not what it should be. What was finished before stays and
            is not done again by the next run; the JSON and the YAML are not written.
    """
    check_target(target)
    old = read_json(target.folder / STAMP) if (target.folder / STAMP).is_file() else {}
    stamp = {"name": plan.name, "title": plan.title, "splits": old.get("splits", {})}
    write_json(target.folder / STAMP, stamp)
    prepared = []
    for part in plan.splits:
        split, made = _prepare_split(part, target.folder, threads or os.cpu_count() or 1, on_progress)
        annotations = read_annotations(split.annotations)
        tallies = tally(annotations)
        prepared.append(Prepared(part.name, split, len(annotations), made, plan.expected.get(part.name), tallies))
        stamp["splits"][part.name] = {key: str(path.resolve()) for key, path in vars(split).items()}
    write_json(target.folder / STAMP, stamp)
    write_description(plan, target, stamp["splits"])
    return prepared


def tally(annotations: Annotations) -> list[ClassTally]:
    """Count segments, crowds and photographs per class."""
    categories = annotations.categories
    indices = class_indices(annotations)
    crowds = np.bincount(indices[annotations.segments[:, 2] == 1], minlength=len(categories))
    segments = np.bincount(indices, minlength=len(categories)) - crowds
    image = np.repeat(np.arange(len(annotations)), np.diff(annotations.firsts))
    pairs = np.unique(image * len(categories) + indices) % len(categories)
    images = np.bincount(pairs, minlength=len(categories))
    counts = zip(segments.tolist(), crowds.tolist(), images.tolist(), strict=True)
    return [ClassTally(c.name, c.is_thing, *numbers) for c, numbers in zip(categories, counts, strict=True)]


def write_description(plan: Plan, target: Target, splits: dict[str, dict[str, str]]) -> None:
    """Write the data set's YAML; paths below its folder are relative, so that the two can move together."""
    home = target.yaml.parent.resolve()

    def said(path: str) -> str:
        return Path(path).relative_to(home).as_posix() if Path(path).is_relative_to(home) else path

    content: dict[str, Any] = {"name": plan.title}
    content |= {key: text for key in ("license", "attribution") if (text := getattr(plan, key))}
    for name in ("train", "val"):
        if name in splits:
            content[name] = {key: said(path) for key, path in splits[name].items()}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    write_text(target.yaml, f"{HEADLINE}\n{text}")


def _prepare_split(
    part: SplitPlan, folder: Path, threads: int, on_progress: Callable[[str, int, int], None] | None
) -> tuple[Split, int]:
    """Make a split's files; return where they are, and how many photographs needed work."""
    annotations = folder / f"panoptic_{part.name}.json"
    images, masks = part.images or folder / "images" / part.name, part.masks or folder / f"panoptic_{part.name}"
    workshop = _Workshop(part, images, masks)
    finished: list[Done] = []
    with _journal(folder / f".{part.name}.journal", part) as (known, note):
        for number, (scene, done, is_new) in enumerate(_worked(workshop, known, threads), 1):
            if is_new:
                note(scene, done)
            finished.append(done)
            workshop.made += is_new
            if on_progress:
                on_progress(part.name, number, len(part.scenes))
    if part.annotations is None:
        _write_annotations(annotations, part, finished)
    elif part.in_place:
        annotations = part.annotations
    else:
        _rewrite_annotations(annotations, part)
    return Split(images, masks, annotations), workshop.made


def _worked(workshop: "_Workshop", known: dict[str, Done], threads: int) -> Iterator[tuple[Scene, Done, bool]]:
    """Yield every scene in order, with what became of it and whether that took work."""
    scenes = workshop.part.scenes

    def work(scene: Scene) -> tuple[Done, bool]:
        old = known.get(scene.file_name)
        if old and old.mark == _mark(scene) and workshop.is_there(scene):
            return old, False
        return workshop.make(scene), True

    pool = ThreadPoolExecutor(threads)
    try:
        for scene, (done, is_new) in zip(scenes, pool.map(work, scenes), strict=True):
            yield scene, done, is_new
    finally:
        pool.shutdown(cancel_futures=True)


def _mark(scene: Scene) -> list[int]:
    return [number for entry in (scene.photograph, *scene.sources) for number in entry.mark]


class _Workshop:
    """Makes the files of single photographs.

    Attributes:
        made: photographs that needed work.
    """

    def __init__(self, part: SplitPlan, images: Path, masks: Path) -> None:
        self.part, self.images, self.masks = part, images, masks
        self.made = 0

    def is_there(self, scene: Scene) -> bool:
        """Tell whether the files of a scene that was done before are still there."""
        image = self.images / scene.file_name
        return image.is_file() and (self.masks / scene.mask_name).is_file()

    def make(self, scene: Scene) -> Done:
        """Write what a scene needs.

        Raises:
            YosoError: a file is damaged, of another kind or another size, or cannot be written.
        """
        content = scene.photograph.content()
        size, _ = probe_image(str(scene.photograph), content)
        segments = self._copy_mask(scene, size) if scene.truth is None else self._make_mask(scene, size)
        if content is not None:
            with written_whole(self.images / scene.file_name) as temporary:
                content.seek(0)
                temporary.write_bytes(content.read())
        return Done(_mark(scene), size, segments)

    def _make_mask(self, scene: Scene, size: Size) -> str:
        assert scene.truth is not None
        id_map, segments = scene.truth(size)
        _same_size(scene, size, id_map.shape)
        target = self.masks / scene.mask_name
        infos = segments_info(target, id_map, segments, self.part.categories)
        write_id_map(target, id_map)
        return json.dumps(infos)

    def _copy_mask(self, scene: Scene, size: Size) -> str:
        (mask,) = scene.sources
        content = mask.content()
        mask_size, mode = probe_image(str(mask), content)
        if mode not in {"RGB", "RGBA"}:
            raise DatasetError(f"{mask}: a panoptic PNG is RGB (id = R + 256 G + 65536 B); this one is {mode}")
        _same_size(scene, size, mask_size)
        if content is not None:
            with written_whole(self.masks / scene.mask_name) as temporary:
                content.seek(0)
                temporary.write_bytes(content.read())
        return ""


def _same_size(scene: Scene, size: Size, mask_size: tuple[int, ...]) -> None:
    if size != mask_size:
        raise DatasetError(
            f"{scene.sources[0]}: is {mask_size[1]}x{mask_size[0]}, its photograph {scene.photograph} is "
            f"{size[1]}x{size[0]}; unpack the archives again"
        )


def _write_annotations(path: Path, part: SplitPlan, finished: list[Done]) -> None:
    """Write the JSON piece by piece: as Python objects it would take many times its size."""
    images, annotations = [], []
    for scene, done in zip(part.scenes, finished, strict=True):
        height, width = done.size
        images.append(
            json.dumps({"id": scene.image_id, "file_name": scene.file_name, "height": height, "width": width})
        )
        entry = json.dumps({"image_id": scene.image_id, "file_name": scene.mask_name})
        annotations.append(f'{entry[:-1]}, "segments_info": {done.segments}}}')
    with written_whole(path) as temporary, temporary.open("w", encoding="utf-8") as sink:
        for opening, entries in (('{"images": [\n', images), ('\n],\n"annotations": [\n', annotations)):
            sink.write(opening)
            sink.writelines(",\n" * (number > 0) + entry for number, entry in enumerate(entries))
        sink.write(f'\n],\n"categories": {json.dumps(part.categories.to_json())}}}\n')


def _rewrite_annotations(path: Path, part: SplitPlan) -> None:
    """Write a ready JSON anew with the plan's classes; segments of others, which are void, are left out."""
    assert part.annotations is not None
    content = read_json(part.annotations)
    for annotation in content["annotations"]:
        known = (segment for segment in annotation["segments_info"] if part.categories.has_id(segment["category_id"]))
        annotation["segments_info"] = list(known)
    write_json(path, content | {"categories": part.categories.to_json()})


@contextmanager
def _journal(path: Path, part: SplitPlan) -> Iterator[tuple[dict[str, Done], Callable[[Scene, Done], None]]]:
    """Yield what is done already, by file name, and a function that notes what has just been done.

    Raises:
        OutputError: it cannot be written.
    """
    head = json.dumps(
        {"format": FORMAT, "classes": checksum(part.categories.to_json()), "ready": bool(part.annotations)}
    )
    lines = [head, *_journal_lines(path, head)]
    write_text(path, "".join(f"{line}\n" for line in lines))
    known = {name: Done(mark, (size[0], size[1]), text) for name, mark, size, text in map(json.loads, lines[1:])}

    # Unbuffered: what a buffer could not write it would try to write again when it is closed.
    try:
        sink = path.open("ab", buffering=0)
    except OSError as error:
        raise cannot_write(path, error) from error

    def note(scene: Scene, done: Done) -> None:
        rest = f"{json.dumps([scene.file_name, *done])}\n".encode()
        try:
            while rest:
                rest = rest[sink.write(rest) :]
        except OSError as error:
            raise cannot_write(path, error) from error

    with sink:
        yield known, note


def _journal_lines(path: Path, head: str) -> list[str]:
    """Return a journal's lines, without the last one if a crash cut it short; none if it is of another kind."""
    try:
        first, *lines = read_text(path).split("\n")
    except DatasetError:
        return []
    return lines[:-1] if first == head else []
