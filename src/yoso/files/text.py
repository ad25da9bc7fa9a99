"""Text, JSON and YAML files, in the same encoding on every machine: UTF-8, whatever the locale says."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from yoso.errors import ConfigError, DatasetError, YosoError
from yoso.files.json_text import parse_json
from yoso.files.paths import CANNOT_OPEN, PathLike, cannot_open, refuse_special
from yoso.files.writing import written_whole

_MOST_CHARACTERS = 160
"""Of a parser's reason in a message; some quote the file at length."""


@contextmanager
def reading(path: PathLike, kind: str, error_class: type[YosoError]) -> Generator[None, None, None]:
    """Turn the errors of reading and parsing a file into one line that says how to fix them.

    Args:
        path: of the file.
        kind: what the file should be, with its article.
        error_class: of the error.
    """
    refuse_special(path, kind, error_class)
    try:
        yield
    except CANNOT_OPEN as error:
        raise error_class(cannot_open(path, error, kind)) from error
    except OSError as error:
        raise error_class(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        found = f"0x{error.object[error.start]:02x}"
        raise error_class(f"{path}: is not {kind} in UTF-8 (it has the byte {found}); save it as UTF-8") from error
    except RecursionError as error:
        raise error_class(f"{path}: is not {kind} (it is nested too deeply); correct or replace it") from error
    except (ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())[:_MOST_CHARACTERS]
        raise error_class(f"{path}: is not {kind} ({reason}); correct or replace it") from error


def read_text(path: PathLike, error_class: type[YosoError] = DatasetError, kind: str = "a text file") -> str:
    r"""Read a text file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark.

    Args:
        path: of the file.
        error_class: of the error.
        kind: what the file should be, for messages.

    Returns:
        The text without a byte order mark; lines end in `\n`.

    Raises:
        YosoError: of `error_class`: the file is missing, cannot be read, or is in another encoding.
    """
    with reading(path, kind, error_class):
        content = Path(path).read_bytes()
        return content.decode(json.detect_encoding(content)).replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: PathLike) -> Any:
    """Read a JSON file; for encodings see `read_text`.

    Of a key that occurs twice, the last value counts, with a warning.

    Raises:
        DatasetError: the file is missing or is not JSON, is nested too deeply, or holds half of a character.
    """
    text = read_text(path, DatasetError, "a JSON file")
    with reading(path, "a JSON file", DatasetError):
        return parse_json(text, path)


def read_yaml(path: PathLike, error_class: type[YosoError] = ConfigError) -> Any:
    """Read a YAML file; no tag of it makes a Python object. For encodings see `read_text`.

    Of a key that occurs twice, the last value counts, with a warning.

    Raises:
        YosoError: of `error_class`: the file is missing or is not YAML, or is larger than a description can be, its
            aliases included.
    """
    from yoso.files.yaml_text import parse_yaml

    text = read_text(path, error_class, "a YAML file")
    with reading(path, "a YAML file", error_class):
        return parse_yaml(text, path)


def write_text(path: PathLike, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all; see `written_whole` for errors."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: PathLike, content: Any, indent: int | None = None) -> None:
    """Write a JSON file in ASCII, whole or not at all; see `written_whole` for errors."""
    write_text(path, json.dumps(content, indent=indent))
