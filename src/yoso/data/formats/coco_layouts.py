"""Where the exports of annotation tools put COCO's JSON files and the images."""

from pathlib import Path
from typing import Any, NamedTuple

from yoso.data.formats.image_files import find_image
from yoso.data.formats.plan import ConversionRequest
from yoso.errors import ConfigError, DatasetError
from yoso.files import is_hidden

OTHER_KINDS = ("captions_", "image_info_", "panoptic_", "person_keypoints_", "stuff_")
"""How COCO's other files begin."""


class CocoFiles(NamedTuple):
    """The files of one split.

    Attributes:
        split: "train" or "val".
        annotations: COCO instances.
        stuff: annotations of stuff beside it, as COCO-Stuff has them.
        folders: where the images may be, the likeliest first.
    """

    split: str
    annotations: Path
    stuff: Path | None
    folders: list[Path]


def find_coco_files(request: ConversionRequest) -> tuple[list[CocoFiles], list[str]]:
    """Find the JSON files of train and val, and where their images may be.

    Files that the request names come first; without them, the file or folder name says which split a JSON belongs to.
    A JSON that is alone is train.

    Returns:
        The splits, and notes on JSON files that are left out.

    Raises:
        ConfigError: a file or folder that the request names does not exist.
        DatasetError: there are several files for a split, or none at all.
    """
    source = request.source
    if request.annotations:
        named = {split: _existing(path, source, "--annotations") for split, path in request.annotations.items()}
        left_out = []
    elif source.is_file():
        named, left_out = {"train": source}, []
    else:
        named, left_out = _find_annotations(source, request.output.resolve())
    found = []
    for split in ("train", "val"):
        if split in named:
            folders = _image_folders(source, split, named[split])
            if split in request.images:
                folders = [_existing(request.images[split], source, "--images")]
            stuff = named[split].with_name(f"stuff_{named[split].stem.removeprefix('instances_')}.json")
            found.append(CocoFiles(split, named[split], stuff if stuff.is_file() else None, folders))
    note = f"{source}: {_shown(left_out, source)} belong to neither train nor val and are left out"
    return found, [note] if left_out else []


def _shown(paths: list[Path], source: Path) -> str:
    names = ", ".join(str(path.relative_to(source)) for path in paths[:3])
    return f"{len(paths)} JSON files ({names}{', ...' if len(paths) > 3 else ''})"


def _existing(path: Path, source: Path, option: str) -> Path:
    """Return a path relative to the current folder or to the source, whichever exists."""
    for candidate in (path, source / path):
        if candidate.exists():
            return candidate
    raise ConfigError(f"{option} {path}: no such file or folder, neither here nor in {source}; correct the path")


def _find_annotations(source: Path, output: Path) -> tuple[dict[str, Path], list[Path]]:
    """Return the JSON of each split, and those of no split; the folder `output` is left out."""
    folders = [source, *sorted(path for path in source.iterdir() if path.is_dir() and not is_hidden(path.name))]
    candidates = [
        path
        for folder in folders
        for path in sorted(folder.glob("*.json"))
        if folder.resolve() != output
        if not is_hidden(path.name) and not path.name.startswith(OTHER_KINDS)
    ]
    by_split: dict[str, list[Path]] = {"train": [], "val": []}
    others = []
    for path in candidates:
        split = _split_of(path, source)
        (by_split[split] if split else others).append(path)
    if not any(by_split.values()):
        by_split["train"], others = [path for path in others if path.parent.name in {source.name, "annotations"}], []
    for split, paths in by_split.items():
        if len(paths) > 1:
            raise DatasetError(
                f"{source}: holds {_shown(paths, source)} for {split}; name one with --annotations {split}=FILE"
            )
    return {split: paths[0] for split, paths in by_split.items() if paths}, others


def _split_of(path: Path, source: Path) -> str | None:
    """Return the split that the name of a JSON, or of a folder of the source that holds it, begins with."""
    names = [path.stem.lower().removeprefix("instances_")]
    if path.parent != source:
        names.append(path.parent.name.lower())
    return next((split for name in names for split in ("train", "val") if name.startswith(split)), None)


def _image_folders(source: Path, split: str, annotations: Path) -> list[Path]:
    """Return where COCO, CVAT, Roboflow, Label Studio and FiftyOne keep images, if the folders exist."""
    name, beside = annotations.stem.removeprefix("instances_"), annotations.parent
    root = source if source.is_dir() else beside.parent if beside.name == "annotations" else beside
    places = [root / name, root / "images" / name, root / split, root / "images" / split]
    places += [beside, beside / "images", beside / "data", root / "images", root]
    return list(dict.fromkeys(place for place in places if place.is_dir()))


def locate_images(images: list[dict[str, Any]], files: CocoFiles) -> tuple[Path, list[str | None]]:
    """Find the images of a JSON.

    Args:
        images: entries with `file_name`.
        files: the JSON, and the folders to look in.

    Returns:
        The folder that holds most of them, and each image's path below it, or None.

    Raises:
        DatasetError: none of the images is in any of the folders.
    """
    names = [image["file_name"] for image in images]
    for exact in (True, False):
        best, most = files.folders[0] if files.folders else Path(), []
        for folder in files.folders:
            found = [find_image(folder, name, exact) for name in names]
            if _num_found(found) > _num_found(most):
                best, most = folder, found
            if None not in found:
                break
        if _num_found(most):
            return best, most
    looked = ", ".join(str(folder) for folder in files.folders)
    raise DatasetError(
        f"{files.annotations}: none of its {len(names):,} images was found (first: {names[0]}; looked "
        f"in {looked}); name their folder with --images {files.split}=FOLDER"
    )


def _num_found(paths: list[str | None]) -> int:
    return sum(path is not None for path in paths)
