"""The lock of a folder that only one process at a time may write to."""

from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from yoso.errors import YosoError
from yoso.files.paths import cannot_write


@contextmanager
def locked_folder(
    folder: Path, name: str, busy: Callable[[], YosoError], timeout_seconds: float = 0.0
) -> Generator[None, None, None]:
    """Hold the lock of a folder inside the block; make the folder, and remove it again if it stays empty.

    Args:
        folder: to be locked.
        name: of the lock file in it, which exists only as long as the lock is held.
        busy: returns the error to raise if another process holds the lock.
        timeout_seconds: how long to wait for that process.

    Raises:
        OutputError: the folder cannot be made or written.
    """
    from filelock import FileLock, Timeout  # slow to import

    made = [path for path in (folder, *folder.parents) if not path.exists()]
    lock = FileLock(folder / name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(NotImplementedError):  # a file system without locks
            lock.acquire(timeout=timeout_seconds)
    except Timeout:
        raise busy() from None
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        yield
    finally:
        with suppress(OSError):
            (folder / name).unlink()
        lock.release()
        with suppress(OSError):  # one of them is not empty
            for path in made:
                path.rmdir()
