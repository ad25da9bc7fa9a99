"""SIGTERM as an exception, like Ctrl-C, so that a command can finish its files before it ends."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, NoReturn


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived."""


def exit_status(stop: KeyboardInterrupt) -> int:
    """Return the exit status of a command that a signal stopped: 128 plus the signal's number."""
    return 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)


@contextmanager
def sigterm_raises() -> Generator[None, None, None]:
    """Raise `Terminated` inside the block when SIGTERM arrives; only the main thread can ask for that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _raise)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _raise(*_: Any) -> NoReturn:
    raise Terminated
