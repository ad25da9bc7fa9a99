"""Paths: which file a name stands for, and why it cannot be opened or written."""

import errno
import hashlib
import os
from pathlib import Path

from yoso.errors import OutputError

PathLike = str | os.PathLike[str]

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
        return f"{path}: is a folder, not {kind}; give the files in it"
    return f"{path}: permission denied; make the file readable"


def cannot_write(path: PathLike, error: OSError) -> OutputError:
    """Return the error that says why `path` cannot be written, and what to do."""
    reason = _ADVICE.get(error.errno or 0) or error.strerror or error
    return OutputError(f"{path}: cannot be written ({reason})")


def file_sha256(path: PathLike) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
