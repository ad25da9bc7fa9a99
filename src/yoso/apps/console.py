"""What commands print: tables and progress for people, one JSON document for programs."""

import json
import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from yoso.errors import OutputError
from yoso.files import PathLike
from yoso.weights.listener import Listener, Report

if TYPE_CHECKING:
    from rich.console import RenderableType

T = TypeVar("T")

FILE_WIDTH = 120
"""Characters per line of a table that goes to a file or a pipe rather than to a terminal."""


def show(*content: "RenderableType") -> None:
    """Print rich tables or text on standard output; text is taken as it is, brackets and all."""
    from rich.console import Console

    console = Console(markup=False, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = FILE_WIDTH
    for part in content:
        console.print(part, soft_wrap=isinstance(part, str))


def show_json(content: Any) -> None:
    """Print one JSON document on standard output."""
    print(json.dumps(content, indent=1))


def show_error(error: object) -> None:
    """Print one line on standard error."""
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)


def with_progress(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Yield the items; meanwhile a bar on standard error says how far it is, if a person is watching.

    Args:
        items: what to go through.
        total: how many there are.
        what: what is being done, one word or two.
    """
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(items, what, total, console=console, transient=True, disable=total < 2 or not console.is_terminal)


def watch(what: str) -> Callable[[Sequence[T]], Iterator[T]]:
    """Return `with_progress` for a sequence, as `score_split` takes it.

    Args:
        what: what is being done, one word or two.
    """
    return lambda items: with_progress(items, len(items), what)


@contextmanager
def progress_report(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function to call with (done, in all), which moves a bar on standard error, if a person is watching.

    Args:
        what: what is being done, one word or two.
    """
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


class TerminalListener(Listener):
    """Shows a download as a bar on standard error, if a person is watching."""

    @contextmanager
    def bar(self, file: str) -> Generator[Report, None, None]:
        """Yield a function to call with (bytes done, bytes in all); see `Listener`."""
        from rich import progress as bars
        from rich.console import Console

        console = Console(stderr=True)
        columns = (
            bars.TextColumn(file),
            bars.BarColumn(),
            bars.DownloadColumn(),
            bars.TransferSpeedColumn(),
            bars.TimeRemainingColumn(),
        )
        with bars.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task(file, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)


def make_folder(folder: PathLike) -> Path:
    """Make a folder for results, before any work is done for it.

    Raises:
        OutputError: it cannot be made.
    """
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise OutputError(f"{path}: is not a folder, a part of its path is a file; choose another --output") from None
    except OSError as error:
        raise OutputError(f"{path}: cannot be made ({error.strerror}); choose another --output") from error
    return path


def milliseconds(seconds: Sequence[float]) -> list[str]:
    """Return durations as whole milliseconds, those below 10 with one decimal."""
    return [f"{1000 * value:.0f}" if value >= 0.01 else f"{1000 * value:.1f}" for value in seconds]
