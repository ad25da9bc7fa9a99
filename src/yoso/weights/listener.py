"""Who reports downloads: by default lines on standard error; the command line adds a progress bar."""

import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

Report = Callable[[int, int | None], None]
"""Called with the number of bytes fetched and the total, which is None if the server does not give it."""


class Listener:
    """Prints lines on standard error and shows no progress bar."""

    def say(self, text: str) -> None:
        """Print one line for the user."""
        print(text, file=sys.stderr, flush=True)

    def bar(self, file: str) -> AbstractContextManager[Report]:
        """Return a context that yields a function to call with (bytes fetched, total bytes).

        Args:
            file: name to show.
        """
        return _no_bar()


@contextmanager
def _no_bar() -> Generator[Report, None, None]:
    yield lambda done, total: None


_LISTENER: ContextVar[Listener] = ContextVar("listener", default=Listener())  # noqa: B039


def current_listener() -> Listener:
    """Return the listener that reports downloads."""
    return _LISTENER.get()


@contextmanager
def listening(listener: Listener) -> Generator[None, None, None]:
    """Let another listener report downloads inside the block."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)
