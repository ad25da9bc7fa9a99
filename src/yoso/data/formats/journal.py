"""The journal of a split: which images are finished, and what they were made of."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from yoso.class_tables import checksum
from yoso.data.formats.annotations import Size
from yoso.data.formats.plan import ImagePlan, SplitPlan
from yoso.errors import DatasetError
from yoso.files import cannot_write, parse_json, read_text, write_text
from yoso.values import fault_in

FORMAT = 2
"""Raised when the files change, so that a run does not continue an older journal."""


class FinishedImage(NamedTuple):
    """What is known of an image once its files are written.

    Attributes:
        mark: sizes and times, or checksums, of the files it was made of.
        size: (height, width).
        segments: `segments_info` as JSON; empty where the JSON was ready.
        counts: of its annotations, as JSON; None for a benchmark.
    """

    mark: list[int]
    size: Size
    segments: str
    counts: dict[str, Any] | None


def mark_of(image: ImagePlan) -> list[int]:
    """Return what changes when one of the files of an image changes."""
    return [number for file in (image.image, *image.sources) for number in file.mark]


@contextmanager
def open_journal(
    path: Path, part: SplitPlan
) -> Iterator[tuple[dict[str, FinishedImage], Callable[[ImagePlan, FinishedImage], None]]]:
    """Yield the images that are finished already, by file name, and a function that notes one more.

    Raises:
        OutputError: the journal cannot be written.
    """
    content = {"format": FORMAT, "classes": checksum(part.categories.to_json()), "ready": bool(part.annotations)}
    head = json.dumps(content)
    lines = [head, *_lines(path, head)]
    write_text(path, "".join(f"{line}\n" for line in lines))
    known = dict(entry for line in lines[1:] if (entry := _entry(line, path)))

    # Unbuffered: otherwise, closing the file would try again to write what could not be written.
    try:
        sink = path.open("ab", buffering=0)
    except OSError as error:
        raise cannot_write(path, error) from error

    def note(image: ImagePlan, finished: FinishedImage) -> None:
        rest = f"{json.dumps([image.file_name, *finished])}\n".encode()
        try:
            while rest:
                rest = rest[sink.write(rest) :]
        except OSError as error:
            raise cannot_write(path, error) from error

    with sink:
        yield known, note


def _entry(line: str, path: Path) -> tuple[str, FinishedImage] | None:
    """Return the name and the facts of an image; None if a line is not of this format: the image is made again."""
    try:
        content = parse_json(line, path)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, list) or len(content) != len(_ENTRY):
        return None
    if fault_in(dict(zip(_ENTRY, content, strict=True)), _ENTRY):
        return None
    name, mark, (height, width), segments, counts = content
    return name, FinishedImage(mark, (height, width), segments, counts)


_COUNTS = {
    "read": int,
    "written": int,
    "void": int,
    "merged": lambda value: isinstance(value, dict) and all(isinstance(count, int) for count in value.values()),
    "dropped": [{"reason": str, "count": int, "first": str}],
}

_ENTRY: dict[str, Any] = {
    "name": str,
    "mark": [int],
    "size": lambda value: isinstance(value, list) and [type(side) for side in value] == [int, int],
    "segments": str,
    "counts": lambda value: value is None or (not fault_in(value, _COUNTS) and value.keys() == _COUNTS.keys()),
}
"""The parts of a line."""


def _lines(path: Path, head: str) -> list[str]:
    """Return a journal's lines, without the last one if a crash cut it short; none if it has another head."""
    try:
        first, *lines = read_text(path).split("\n")
    except DatasetError:
        return []
    return lines[:-1] if first == head else []
