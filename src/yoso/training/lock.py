"""The lock of a run folder: only one training at a time may write into it."""

import json
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from yoso.errors import ConfigError
from yoso.files import cannot_write, write_json

LOCK, OWNER = ".training.lock", ".training.json"

TIMEOUT_SECONDS = 10.0
"""Loading processes share the lock with their training; when it is killed, they notice within seconds."""


@contextmanager
def locked(folder: Path) -> Generator[None, None, None]:
    """Hold the lock of a run folder inside the block; a folder that stays empty is removed again.

    Of the processes of one training, only the first one takes the lock.

    Raises:
        ConfigError: another training holds the lock; names its process.
        OutputError: the folder cannot be made or written.
    """
    if not is_first_process():
        yield
        return
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(NotImplementedError):  # a file system without locks
            lock.acquire(timeout=TIMEOUT_SECONDS)
    except Timeout as error:
        raise ConfigError(
            f"{folder}: {_owner(folder)} is training in this folder; wait until it ends, or give another --output"
        ) from error
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        started = f"{datetime.now():%F %T}"
        write_json(folder / OWNER, {"process": os.getpid(), "host": socket.gethostname(), "started": started})
        yield
    finally:
        (folder / OWNER).unlink(missing_ok=True)
        lock.release()
        (folder / LOCK).unlink(missing_ok=True)
        with suppress(OSError):
            for path in made:
                path.rmdir()


def is_first_process() -> bool:
    """Return whether this is the first of the processes of a training, before they know each other."""
    # Set by torchrun, by Lightning for the processes that it starts, and by Slurm.
    return all(int(os.environ.get(name, 0)) == 0 for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def _owner(folder: Path) -> str:
    try:
        owner = json.loads((folder / OWNER).read_text(encoding="utf-8"))
        return f"process {owner['process']} on {owner['host']}, started {owner['started']},"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
