"""Writing a file whole or not at all."""

import os
import secrets
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from yoso.errors import OutputError
from yoso.files.paths import PathLike, cannot_write


@contextmanager
def written_whole(path: PathLike) -> Generator[Path, None, None]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds, remove it if not.

    A file that exists already is not changed before the new one is complete, nor if the block fails.

    Raises:
        OutputError: the folder cannot be created or written, the disk is full, or `path` is a folder or a device.
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        _refuse_special(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.stem[:40]}-{secrets.token_hex(6)}{target.suffix}")
        temporary.open("xb").close()
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _refuse_special(target: Path) -> None:
    """Refuse a folder, over which renaming fails after the work is done, and a device, which renaming would remove."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise OutputError(f"{target}: is a folder; give the name of a file in it")
    if not stat.S_ISREG(mode):
        raise OutputError(f"{target}: is not a regular file; give the name of a file")
