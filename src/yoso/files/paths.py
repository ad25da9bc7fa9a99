"""Paths: which files are images, and why a file cannot be opened or written."""

import errno
import hashlib
import os
import stat
from pathlib import Path, PurePath

from yoso.errors import ConfigError, OutputError, YosoError

PathLike = str | os.PathLike[str]

_SUFFIXES = "avif bmp gif jfif jp2 jpe jpeg jpg mpo pbm pgm png ppm tga tif tiff webp"

IMAGE_SUFFIXES = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())
"""Suffixes of image files, in lower case; those of the files may be in any case."""

CANNOT_OPEN = (FileNotFoundError, IsADirectoryError, PermissionError)
"""The errors that `cannot_open` explains."""

_ADVICE = {
    errno.ENOSPC: "the disk is full; make room or write elsewhere",
    errno.EDQUOT: "the disk quota is used up; make room or write elsewhere",
    errno.EACCES: "permission denied; write to a folder of your own",
    errno.EPERM: "permission denied; write to a folder of your own",
    errno.EROFS: "the disk is read-only; write elsewhere",
    errno.ENOTDIR: "a part of its path is a file, not a folder; choose another name",
    errno.EEXIST: "a part of its path is a file, not a folder; choose another name",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}


def expanded(path: PathLike) -> Path:
    """Return a path with its `~` replaced by the home folder.

    Raises:
        ConfigError: the home folder is not known, as in containers whose user has no entry in the list of users.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{path}: the home folder is not known; set HOME, or give a path without ~") from error


def is_hidden(path: str | PurePath) -> bool:
    """Say whether a file is one that people do not see, such as `.DS_Store`, `._a.jpg` or `__MACOSX/a.jpg`.

    Args:
        path: relative to the folder that is searched, with slashes; hidden folders above that one do not count.
    """
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePath(path).parts)


def is_image_file(path: Path) -> bool:
    """Say whether a path is a file with a visible name and the suffix of an image; the file is not opened."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(path.name) and path.is_file()


def image_files(folder: Path, *, recursive: bool) -> list[Path]:
    """Return the image files in a folder, sorted; hidden files and folders are left out.

    Args:
        folder: to search.
        recursive: search the folders below it too.

    Raises:
        OSError: the folder cannot be listed.
    """
    found = folder.rglob("*") if recursive else folder.iterdir()
    return sorted(path for path in found if is_image_file(path) and not is_hidden(path.relative_to(folder)))


def refuse_special(path: PathLike, kind: str, error_class: type[YosoError]) -> None:
    """Refuse pipes and devices, reading from which may never end; a path that does not exist passes.

    Args:
        path: to be read.
        kind: what the file should be, with its article.
        error_class: of the error.

    Raises:
        YosoError: of `error_class`: the path is a pipe, a socket or a device.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # who opens the file says why it cannot be opened
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise error_class(f"{path}: is a pipe or a device, not {kind}; give a regular file")


def cannot_open(path: PathLike, error: OSError, kind: str) -> str:
    """Return the message that says why a file cannot be opened, and what to do.

    Args:
        path: of the file.
        error: one of `CANNOT_OPEN`.
        kind: what the file should be, with its article.
    """
    if isinstance(error, FileNotFoundError):
        return f"{path}: no such file; check the name"
    if isinstance(error, IsADirectoryError):
        return f"{path}: is a folder, not {kind}; give a file in it"
    return f"{path}: permission denied; make the file readable"


def cannot_write(path: PathLike, error: OSError) -> OutputError:
    """Return the error that says why `path` cannot be written, and what to do."""
    reason = _ADVICE.get(error.errno or 0) or error.strerror or error
    return OutputError(f"{path}: cannot be written ({reason})")


def file_sha256(path: PathLike) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
