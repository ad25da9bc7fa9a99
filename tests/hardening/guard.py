"""What counts as a fault: a traceback, a hang, a file written elsewhere, or memory without bounds."""

import io
import os
import resource
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoso.apps.cli import INTERNAL_ERROR, TRACEBACK_VARIABLE, main
from yoso.errors import YosoError

MAX_SECONDS = 20.0
MAX_GIGABYTES = 2.0
"""By which one input may raise the peak of the process's memory."""

WRITING = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "shutil.move")
HARMLESS = ("/dev/null", "/dev/tty", "/proc/", "/dev/shm/")


@dataclass(frozen=True)
class Fault:
    """What one input did that it must not.

    Attributes:
        kind: "traceback", "lines", "hang", "outside" or "memory".
        detail: what happened.
    """

    kind: str
    detail: str


class _Watch:
    """Notes every path that is written to outside the folder that may be."""

    def __init__(self) -> None:
        self.allowed: Path | None = None
        self.outside: list[str] = []

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.allowed is None:
            return
        if event == "open":
            path, mode, flags = arguments
            writes = any(letter in (mode or "") for letter in "wax+") or (
                mode is None and isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            )
            paths = [path] if writes else []
        elif event in WRITING:
            paths = list(arguments[: 2 if event in {"os.rename", "os.link", "shutil.move"} else 1])
        else:
            return
        self.outside += [
            str(path) for path in paths if isinstance(path, str | os.PathLike) and not self._is_inside(path)
        ]

    def _is_inside(self, path: Any) -> bool:
        whole = os.path.abspath(os.fspath(path))
        name = os.path.join(os.path.realpath(os.path.dirname(whole)), os.path.basename(whole))
        return name.startswith((f"{self.allowed}/", *HARMLESS)) or name == str(self.allowed) or name.endswith(".pyc")


_WATCH = _Watch()
sys.addaudithook(_WATCH.hear)


@contextmanager
def writes_only_below(folder: Path) -> Iterator[list[str]]:
    """Yield the list of paths that the block writes to outside a folder."""
    _WATCH.allowed, _WATCH.outside = Path(os.path.realpath(folder)), []
    try:
        yield _WATCH.outside
    finally:
        _WATCH.allowed = None


def fault_of(call: Callable[[], Any], writable: Path) -> Fault | None:
    """Run something on a hostile input.

    Args:
        call: raises `YosoError` for an input that it refuses; `run_command` calls a command.
        writable: the folder that it may write to.

    Returns:
        What went wrong, None if nothing did.
    """
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with writes_only_below(writable) as outside, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fault = call()
        except YosoError as error:
            fault = None if "\n" not in str(error) else Fault("lines", repr(str(error))[:400])
        except Exception:
            fault = Fault("traceback", _last_lines())
    seconds = time.monotonic() - start
    gigabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    if isinstance(fault, Fault):
        return fault
    if outside:
        return Fault("outside", ", ".join(sorted(set(outside))[:5]))
    if seconds > MAX_SECONDS:
        return Fault("hang", f"{seconds:.0f} s")
    return Fault("memory", f"{gigabytes:.1f} GB") if gigabytes > MAX_GIGABYTES else None


def run_command(*words: object) -> Fault | None:
    """Run a command of `yoso` in this process; every line on standard error must say what it is."""
    out, err = io.StringIO(), io.StringIO()
    os.environ[TRACEBACK_VARIABLE] = "1"
    with redirect_stdout(out), redirect_stderr(err):
        status = main([str(word) for word in words])
    lines = err.getvalue().splitlines()
    if status == INTERNAL_ERROR or not isinstance(status, int):
        return Fault("traceback", err.getvalue()[-600:])
    if any(not line.startswith(("error: ", "warning: ")) for line in lines):
        return Fault("lines", err.getvalue()[:600])
    if "\x1b" in out.getvalue() + err.getvalue():
        return Fault("lines", "an escape sequence was printed")
    return None


def _last_lines() -> str:
    lines = traceback.format_exc().strip().splitlines()
    places = [line.strip() for line in lines if line.strip().startswith("File")]
    return f"{lines[-1][:300]} | {' < '.join(place[-90:] for place in places[-3:][::-1])}"
