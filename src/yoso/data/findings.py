"""What `yoso data check` can find, and how to fix each kind of it."""

from dataclasses import dataclass
from typing import Literal

from yoso.files import PathLike

REMEDIES = {
    "missing-image": "put the image there, or let --fix drop it",
    "unreadable-image": "replace the image, or let --fix drop it",
    "missing-mask": "put the PNG there, or let --fix drop the image",
    "unreadable-mask": "write the PNG again (RGB, id = R + 256 G + 65536 B), or let --fix drop the image",
    "size-mismatch": "image, PNG and JSON must agree in size: export them again, or let --fix drop the image",
    "wrong-size-in-json": "--fix writes the size of the files",
    "id-only-in-png": "add the segment to the JSON, or paint these pixels 0 (void); --fix cannot repair it",
    "id-only-in-json": "--fix drops the segment",
    "wrong-area": "--fix counts it again",
    "wrong-bbox": "--fix measures it again",
    "unknown-category": "add the category, or let --fix drop the segment (its pixels then have an unlisted id)",
    "duplicate-segment-id": "give each segment its own id; --fix keeps the first",
    "bad-entry": "an image needs id and file_name, an annotation image_id, file_name and segments_info; --fix drops it",
    "bad-segment": "a segment needs an id above 0 and a category_id, both whole numbers; --fix drops it",
    "bad-iscrowd": "write 0 or 1, or let --fix drop the segment (its pixels then have an unlisted id)",
    "duplicate-image-id": "give each image its own id; --fix keeps the first",
    "duplicate-file-name": "two images share a file; --fix keeps the first",
    "image-without-annotation": "annotate it, or let --fix drop the image",
    "annotation-without-image": "list the image, or let --fix drop the annotation",
    "duplicate-annotation": "one annotation per image; --fix keeps the first",
    "nothing-to-learn": "check that this is the right file; --fix cannot repair it",
    "different-classes": "give train and val the same categories; --fix cannot repair it",
    "duplicate-category-name": "give each category its own name, or merge them; --fix cannot repair it",
    "no-segments": "training skips the image",
    "stuff-in-parts": "a prediction has one segment per stuff class: merge the parts, or make the class a thing",
    "unlisted-file": "list them in the JSON or move them away; nothing reads them",
}
"""How to fix each kind of finding."""

WARNINGS = {
    "duplicate-category-name",
    "no-segments",
    "stuff-in-parts",
    "unlisted-file",
    "wrong-area",
    "wrong-bbox",
}
"""The kinds that stop no reader and change nothing that is read; all others are errors."""

DROPS_IMAGE = {"missing-image", "unreadable-image", "missing-mask", "unreadable-mask", "size-mismatch"}
"""The kinds for which a repair drops the image."""

LEAVES_PIXELS = {"bad-iscrowd", "id-only-in-png", "unknown-category"}
"""The kinds after whose repair the PNG has pixels of an id that the JSON does not list."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a data set.

    Attributes:
        file: the file or folder to look at.
        kind: a key of `REMEDIES`.
        message: what is wrong, one line.
        severity: "warning" for the kinds in `WARNINGS`.
        remedy: how to fix it.
    """

    file: str
    kind: str
    message: str
    severity: Literal["error", "warning"]
    remedy: str


def make_finding(file: PathLike, kind: str, message: str) -> Finding:
    """Return a finding with the severity and the remedy of its kind."""
    return Finding(str(file), kind, message, "warning" if kind in WARNINGS else "error", REMEDIES[kind])
