"""JSON files, read with errors that say how to fix them."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from yoso.errors import DatasetError
from yoso.files.paths import CANNOT_OPEN, PathLike, cannot_open
from yoso.files.writing import written_whole


def read_json(path: PathLike) -> Any:
    """Read a JSON file.

    Raises:
        DatasetError: the file is missing or is not JSON.
    """
    with json_errors(path):
        return json.loads(Path(path).read_bytes())


@contextmanager
def json_errors(path: PathLike) -> Generator[None, None, None]:
    """Turn what reading a JSON file raises into one line of `DatasetError` that says what to do."""
    try:
        yield
    except CANNOT_OPEN as error:
        raise DatasetError(cannot_open(path, error, "a JSON file")) from error
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DatasetError(f"{path}: is not a JSON file ({error}); is it whole?") from error


def write_json(path: PathLike, content: Any, indent: int | None = None) -> None:
    """Write a JSON file whole or not at all; see `written_whole` for errors."""
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(content, indent=indent))
