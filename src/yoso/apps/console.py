"""What commands print: tables and progress for people, one JSON document for programs.

All of it is safe for a terminal: characters that the output cannot encode are replaced, and so are control characters,
which names of files and classes may contain.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from yoso.errors import OutputError
from yoso.weights.listener import Listener, Report

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from yoso.files import PathLike

T = TypeVar("T")

FILE_WIDTH = 120
"""Characters per line of a table that goes to a file or a pipe rather than to a terminal."""

MAX_CHARACTERS = 4000
"""Of an error or warning; longer ones, which quote a file's values, are shortened in the middle."""

_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters, which start a terminal's escape sequences, and those that change the direction of text."""

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def printable(text: str) -> str:
    """Return a text with its control characters replaced; line breaks and tabs stay."""
    return _UNSAFE.sub(REPLACEMENT, text)


@contextmanager
def replacing_what_cannot_be_encoded() -> Generator[None, None, None]:
    """Let standard output and standard error print any text, whatever their encoding."""
    streams = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, TextIOWrapper)]
    before = [stream.errors for stream in streams]
    for stream in streams:
        stream.reconfigure(errors="replace")
    try:
        yield
    finally:
        for stream, errors in zip(streams, before, strict=True):
            with suppress(ValueError, OSError):  # closed, or flushing fails, which `cli` has reported
                stream.reconfigure(errors=errors)


def terminal(stderr: bool = False) -> "Console":
    """Return a rich console that takes text as it is, brackets and all, and replaces control characters.

    Args:
        stderr: print on standard error instead of standard output.
    """
    from rich.console import Console, ConsoleOptions
    from rich.segment import Segment

    class SafeConsole(Console):
        def render(
            self, renderable: "RenderableType", options: ConsoleOptions | None = None
        ) -> Generator[Segment, None, None]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else segment._replace(text=printable(segment.text))

    return SafeConsole(stderr=stderr, markup=False, highlight=False)


def show(*content: "RenderableType") -> None:
    """Print rich tables or text on standard output."""
    console = terminal()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = FILE_WIDTH
    for part in content:
        console.print(part, soft_wrap=isinstance(part, str))


def show_json(content: Any) -> None:
    """Print one JSON document on standard output."""
    print(json.dumps(content, indent=1))


def show_error(error: object) -> None:
    """Print one line on standard error."""
    _show_line("error", error)


def show_warning(warning: object) -> None:
    """Print one line on standard error."""
    _show_line("warning", warning)


def _show_line(kind: str, message: object) -> None:
    text = " ".join(str(message).split())
    if len(text) > MAX_CHARACTERS:
        text = f"{text[: MAX_CHARACTERS // 2]} ... {text[-MAX_CHARACTERS // 2 :]}"
    print(f"{kind}: {printable(text)}", file=sys.stderr)


def with_progress(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Yield the items, and show a progress bar on standard error if that is a terminal.

    Args:
        items: what to go through.
        total: how many there are.
        what: what is being done, one or two words.
    """
    from rich.progress import track

    console = terminal(stderr=True)
    yield from track(items, what, total, console=console, transient=True, disable=total < 2 or not console.is_terminal)


def watch(what: str) -> Callable[[Sequence[T]], Iterator[T]]:
    """Return `with_progress` for a sequence, as `score_split` takes it.

    Args:
        what: what is being done, one or two words.
    """
    return lambda items: with_progress(items, len(items), what)


@contextmanager
def progress_report(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function to call with (done, total), which moves a bar on standard error if that is a terminal.

    Args:
        what: what is being done, one or two words.
    """
    from rich.progress import Progress

    console = terminal(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def frame_progress(total: int | None) -> Iterator[Callable[[], None]]:
    """Yield a function to call after each frame; it shows frames, frames per second and the time left on a terminal.

    Args:
        total: about how many frames there will be; None if it is not known.
    """
    from rich import progress as bars

    class Speed(bars.ProgressColumn):
        def render(self, task: bars.Task) -> bars.Text:
            return bars.Text(f"{task.speed or 0:.1f} fps")

    console = terminal(stderr=True)
    columns = (
        bars.TextColumn("frames"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        Speed(),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("frames", total=total)
        yield lambda: progress.advance(task)


class TerminalListener(Listener):
    """Shows a download as a bar on standard error if that is a terminal."""

    def say(self, text: str) -> None:
        """Print one line on standard error."""
        super().say(printable(text))

    @contextmanager
    def bar(self, file: str) -> Generator[Report, None, None]:
        """Yield a function to call with (bytes done, bytes in all); see `Listener`."""
        from rich import progress as bars

        console = terminal(stderr=True)
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


def make_folder(folder: "PathLike") -> Path:
    """Make a folder for results, before any work is done for it.

    Raises:
        OutputError: it cannot be made.
    """
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise OutputError(f"{path}: path or a part of it is a file, not a folder; choose another --output") from None
    except OSError as error:
        raise OutputError(f"{path}: cannot be created ({error.strerror}); choose another --output") from error
    return path


def milliseconds(seconds: Sequence[float]) -> list[str]:
    """Return durations as whole milliseconds, those below 10 with one decimal."""
    return [f"{1000 * value:.0f}" if value >= 0.01 else f"{1000 * value:.1f}" for value in seconds]
