"""The lock of a run folder: only one training at a time may write into it."""

import json
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from yoso.errors import ConfigError
from yoso.files import locked_folder, write_json

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
    with locked_folder(folder, LOCK, lambda: _busy(folder), TIMEOUT_SECONDS):
        started = f"{datetime.now():%F %T}"
        write_json(folder / OWNER, {"process": os.getpid(), "host": socket.gethostname(), "started": started})
        try:
            yield
        finally:
            (folder / OWNER).unlink(missing_ok=True)


def is_first_process() -> bool:
    """Return whether this is the first of the processes of a training, before they know each other."""
    # Set by torchrun, by Lightning for the processes that it starts, and by Slurm.
    return all(int(os.environ.get(name, 0)) == 0 for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def _busy(folder: Path) -> ConfigError:
    try:
        owner = json.loads((folder / OWNER).read_text(encoding="utf-8"))
        who = f"process {owner['process']} on {owner['host']}, started {owner['started']},"
    except (OSError, ValueError, KeyError, TypeError):
        who = "another process"
    return ConfigError(f"{folder}: {who} is training in this folder; wait until it ends, or give another --output")
