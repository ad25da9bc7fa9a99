"""Which images a command line means: files, folders, patterns, or a list on standard input."""

import glob
import os
import stat
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from yoso.errors import ImageError
from yoso.files import image_files, is_image_file

OVERLAY = ".overlay.png"
"""Ending of the pictures that `yoso predict` draws, which are no images to segment in a folder or of a pattern."""


@dataclass(frozen=True)
class Sources:
    """What some sources stand for.

    Attributes:
        paths: the images, in the order of the sources, each once.
        errors: one for each source that stands for nothing; the others are not affected.
    """

    paths: list[Path]
    errors: list[ImageError]


def expand_sources(
    sources: Sequence[str | os.PathLike[str]], stdin: Iterable[bytes] | None = None, ignored: Path | None = None
) -> Sources:
    """Find the images that a list of sources stands for. No image is opened.

    A source is a file (of any ending: it was named on purpose), a folder (its images, sorted by name, without those
    in folders below and without hidden ones), a pattern (`*`, `?`, `[...]`, and `**` for folders at any depth; only
    images, unless the pattern itself ends in another suffix), or `-` for a list of such sources on standard input, one
    per line. A file that exists is taken as it is, even if its name looks like a pattern. Overlays of an earlier run
    are left out of folders and patterns.

    Args:
        sources: as typed.
        stdin: where `-` reads its lines; standard input by default.
        ignored: a folder whose files are left out of folders and patterns, too.

    Returns:
        The images, and an `ImageError` for each source that is missing, cannot be listed, or holds no image.
    """
    found: dict[str, Path] = {}
    errors: list[ImageError] = []
    outputs = os.path.abspath(ignored) + os.sep if ignored is not None else None
    for source in _with_listed(sources, stdin, errors):
        try:
            paths = _expand(source, outputs)
        except ImageError as error:
            errors.append(error)
            continue
        for path in paths:
            found.setdefault(os.path.abspath(path), path)
    return Sources(list(found.values()), errors)


def output_stem(paths: Sequence[Path], taken: Collection[str] = ()) -> list[str]:
    """Give each image a stem for its output files, so that no two outputs overwrite each other.

    The file's own stem where it is free; `stem-2`, `stem-3`, ... for later files of the same stem. Stems that differ
    by case alone count as the same, because some disks treat them so.

    Args:
        paths: the images.
        taken: stems that are not free.

    Returns:
        As many stems as paths, all different.
    """
    own = {path.stem.casefold() for path in paths}
    used = {stem.casefold() for stem in taken}
    stems = []
    for path in paths:
        stem, number = path.stem, 1
        # A numbered stem must not take the name of a file that is really called so, even if that one comes later.
        while stem.casefold() in used or (number > 1 and stem.casefold() in own):
            number += 1
            stem = f"{path.stem}-{number}"
        used.add(stem.casefold())
        stems.append(stem)
    return stems


def _with_listed(
    sources: Sequence[str | os.PathLike[str]], stdin: Iterable[bytes] | None, errors: list[ImageError]
) -> Iterator[str]:
    """Yield every source as text, those listed on standard input in the place of `-`."""
    for given in sources:
        source = os.fspath(given)
        if source != "-":
            yield source
            continue
        stream = stdin if stdin is not None else getattr(sys.stdin, "buffer", ())
        lines = [os.fsdecode(line.rstrip(b"\r\n")) for line in stream]
        names = [line for line in lines if line.strip()]
        if not names:
            errors.append(ImageError("-: standard input lists no file; pipe file names into it, one per line"))
        yield from names


def _expand(source: str, outputs: str | None) -> list[Path]:
    if not source:
        raise ImageError("the name of an image is empty; give a file, a folder or a pattern")
    path = Path(source)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return _images(source, _matches(source), outputs, f"{source}: matches no image; check the pattern")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{source}: cannot be read ({reason}); check the name and its permissions") from error
    if not stat.S_ISDIR(mode):
        return [path]
    try:
        children = image_files(path, recursive=False)
    except OSError as error:
        raise ImageError(f"{source}: cannot be listed ({error.strerror}); make the folder readable") from error
    nothing = f"{source}: holds no image; give a folder with images in it, or a pattern like '{source}/**/*'"
    return _images(source, children, outputs, nothing)


def _images(source: str, paths: list[Path], outputs: str | None, nothing: str) -> list[Path]:
    """Return the images without the outputs of an earlier run.

    Raises:
        ImageError: none is left.
    """
    images = [path for path in paths if not _is_output(path, outputs)]
    if paths and not images:
        raise ImageError(f"{source}: holds only outputs of an earlier run; give the images themselves")
    if not images:
        raise ImageError(nothing)
    return images


def _is_output(path: Path, outputs: str | None) -> bool:
    is_overlay = path.name.lower().endswith((OVERLAY, ".overlay.jpg"))
    return is_overlay or (outputs is not None and os.path.abspath(path).startswith(outputs))


def _matches(pattern: str) -> list[Path]:
    if not glob.has_magic(pattern):
        if os.path.islink(pattern):
            raise ImageError(f"{pattern}: is a link to a file that does not exist; repair the link")
        raise ImageError(f"{pattern}: no such file or folder; check the name")
    paths = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]
    ending = Path(pattern).suffix
    if len(ending) > 1 and not glob.has_magic(ending):
        return [path for path in paths if path.is_file()]
    return [path for path in paths if is_image_file(path)]
