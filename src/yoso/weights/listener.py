"""Who hears of a download: a line on standard error by default; the command line adds a progress bar."""

import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

Report = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes in all, None if the server does not say."""


class Listener:
    """Prints what happens as lines on standard error, and shows no bar."""

    def say(self, text: str) -> None:
        """Tell the user one line."""
        print(text, file=sys.stderr, flush=True)

    def bar(self, file: str) -> AbstractContextManager[Report]:
        """Return a context that yields a function to call with (bytes done, bytes in all).

        Args:
            file: the name to show.
        """
        return _no_bar()


@contextmanager
def _no_bar() -> Generator[Report, None, None]:
    yield lambda done, total: None


_LISTENER: ContextVar[Listener] = ContextVar("listener", default=Listener())  # noqa: B039


def current_listener() -> Listener:
    """Return who hears of downloads."""
    return _LISTENER.get()


@contextmanager
def listening(listener: Listener) -> Generator[None, None, None]:
    """Let another listener hear of downloads inside the block."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)
