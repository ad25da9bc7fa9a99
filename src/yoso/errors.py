"""The errors a caller can cause, each one line: what is wrong, where, and what to do about it.

The command line prints the message and exits with status 2; a traceback is only ever a bug of ours.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class YosoError(Exception):
    """Base of every error that the user can mend."""


class ConfigError(YosoError):
    """A recipe, an option or a name that does not exist or does not fit."""


class MissingPackageError(ConfigError, ImportError):
    """An optional package that is not installed; names the extra that brings it."""


class DatasetError(YosoError):
    """Annotations or masks that are missing or are not what COCO panoptic asks for."""


class ImageError(YosoError):
    """A photograph that cannot be read."""


class VideoError(YosoError):
    """A video, camera or stream that cannot be read."""


class CheckpointError(YosoError):
    """Weights that are missing, damaged, unsafe to read, or of another network."""


class OutputError(YosoError):
    """A result that cannot be written."""


class ExportError(YosoError):
    """A network that cannot be exported as asked, or whose exported form is not what it was made from."""


class NonFiniteError(YosoError):
    """A loss, a cost or an output of the network that became NaN or infinite; names the quantity and the image."""


class OutOfMemoryError(YosoError):
    """A training step that does not fit into memory; names the batch, its largest image, and the remedy."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the closest known name, or a list of the known names.

    Args:
        name: what the user typed.
        known: the names that exist.
    """
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f" Did you mean {close[0]!r}?"
    return f" Known: {', '.join(names)}." if names else ""


def known_name(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is spelt like `name`; hyphens and underscores are the same. None if there is none.

    Args:
        name: what the user typed.
        known: the names that exist; an exact match is preferred.
    """
    names = list(known)
    if name in names:
        return name
    plain = name.replace("-", "_")
    return next((each for each in names if each.replace("-", "_") == plain), None)
