"""Names that come from archives and JSON files, made into paths that are safe to write."""

import re
from pathlib import Path

from yoso.errors import DatasetError
from yoso.files.paths import PathLike

_UNSAFE_NAME = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]|^[/\\]|^[A-Za-z]:")
"""Control characters, halves of characters that UTF-8 cannot write, a root, a drive."""

_UNSAFE_PART = re.compile(r"[. ]+|(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])[ ]*([.:].*)?", re.IGNORECASE)
"""Parts that climb, or that Windows takes for a device whatever their ending."""


def safe_child(folder: PathLike, name: str, source: object) -> Path:
    """Return the path of a file to write below a folder, for a name that somebody else chose.

    Slashes and backslashes separate the parts of the name on every system.

    Args:
        folder: that the file must lie in.
        name: relative path, from an archive or a JSON file.
        source: where the name comes from, for messages.

    Raises:
        DatasetError: the name is empty, absolute, climbs out of the folder, holds a control character, begins with a
            drive letter, is that of a device of Windows, or leads out of the folder through a symbolic link.
    """
    parts = [part for part in re.split(r"[/\\]", name) if part not in {"", "."}]
    path = Path(folder, *parts)
    if _UNSAFE_NAME.search(name) or not parts or any(_UNSAFE_PART.fullmatch(part) for part in parts):
        raise DatasetError(f"{source}: the file name {name!r} is not safe to write; rename it to a plain relative path")
    if not path.resolve().is_relative_to(Path(folder).resolve()):
        raise DatasetError(f"{source}: the file name {name!r} leads out of {folder} through a symbolic link; remove it")
    return path
