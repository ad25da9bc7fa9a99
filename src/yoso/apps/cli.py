"""`yoso`: finds the command, runs it, and turns every error that the user can fix into one line.

Nothing heavy is imported here. Each command imports what it needs, so that `yoso --help` is quick.
"""

import errno
import gc
import importlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import NamedTuple

from yoso.apps.console import TerminalListener, replacing_what_cannot_be_encoded, show_error, show_warning
from yoso.apps.signals import Terminated, exit_status
from yoso.errors import ConfigError, YosoError, did_you_mean
from yoso.settings import MAX_PIXELS_VARIABLE

USER_ERROR = 2
INTERNAL_ERROR = 70
BROKEN_PIPE = 141

TRACEBACK_VARIABLE = "YOSO_TRACEBACK"
"""Environment variable that lets internal errors show their traceback, for reports."""


class Command(NamedTuple):
    """One subcommand.

    Attributes:
        module: has `main(arguments) -> exit status`.
        help: one line.
        extra: that has all the packages it needs; None if the package alone has them.
        group: heading under which `yoso --help` lists it.
    """

    module: str
    help: str
    extra: str | None = None
    group: str = ""


USE, TRAIN, DEPLOY = "Use a model", "Train a model", "Deploy a model"

COMMANDS = {
    "predict": Command("yoso.apps.predict", "segment images, or a video", None, USE),
    "track": Command("yoso.apps.track", "segment a video and follow every object", None, USE),
    "eval": Command("yoso.apps.evaluate", "run a model on a data set and score it", "eval", USE),
    "pq": Command("yoso.apps.pq", "score saved predictions of any model", None, USE),
    "models": Command("yoso.apps.models", "list the models that you can use by name", None, USE),
    "info": Command("yoso.apps.info", "describe a model or recipe: size, work, memory, classes, license", "torch", USE),
    "data": Command("yoso.apps.data", "check, show, count, convert and prepare data sets", None, TRAIN),
    "train": Command("yoso.apps.train", "train a model with a recipe", "train", TRAIN),
    "convert": Command("yoso.apps.convert", "turn an official checkpoint into a model folder", "torch", TRAIN),
    "export": Command(
        "yoso.apps.export",
        "write a model for ONNX Runtime, OpenVINO, TensorRT or browsers",
        "export",
        DEPLOY,
    ),
    "serve": Command("yoso.apps.serve", "serve models over HTTP", "serve", DEPLOY),
    "benchmark": Command("yoso.apps.benchmark", "time models, runtimes and baselines", "benchmark", DEPLOY),
    "reproduce": Command("yoso.apps.reproduce", "measure the paper's tables and figures", "benchmark", DEPLOY),
}
"""The commands, in the order and under the headings of `yoso --help`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the words after `yoso`; those of this process by default.

    Returns:
        The exit status: 0 if all went well, 1 if `data check` found errors or `data convert --strict` dropped
        something, 2 after an error that the user can fix, 70 after an internal error, 130 after Ctrl-C, 143 after
        SIGTERM.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Importing makes millions of objects that live for ever. Searching them for garbage again and again takes a tenth
    # of a command's start.
    gc.set_threshold(200_000, 20, 20)
    with replacing_what_cannot_be_encoded(), _own_limits():
        return _run(arguments)


def _run(arguments: list[str]) -> int:
    """Run a command and turn what it raises into one line and an exit status."""
    try:
        with _own_warnings_only():
            status = _dispatch(arguments)
            print(end="", flush=True)  # inside, so that a closed pipe or a full disk is noticed here
            return status
    except YosoError as error:
        return _failed(error)
    except KeyboardInterrupt as stop:
        print("terminated" if isinstance(stop, Terminated) else "interrupted", file=sys.stderr)
        return exit_status(stop)
    except BrokenPipeError:
        # Whoever reads our output has enough of it; Python would complain about this at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except MemoryError:
        return _failed("not enough memory; close other programs, or use smaller images or batches")
    except OSError as error:
        return _failed(f"{error.filename or 'the disk'}: {_REASONS.get(error.errno or 0) or error.strerror or error}")
    except Exception as error:
        return _internal(error)


_REASONS = dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "the disk is full; make room or write elsewhere") | {
    errno.EACCES: "permission denied; make the file or folder accessible, or use another one",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}
"""What to do about errors of the system that no command expects."""


def _internal(error: Exception) -> int:
    """Report an error that only a fault of this package explains, in one line."""
    if os.environ.get(TRACEBACK_VARIABLE):
        raise error
    show_error(
        f"internal error, {type(error).__name__}: {error}; please report it, with what {TRACEBACK_VARIABLE}=1 adds to "
        "this message"
    )
    return INTERNAL_ERROR


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(help_text())
        return 0 if arguments else USER_ERROR
    _refuse_empty(arguments)
    name, rest = arguments[0], arguments[1:]
    if name == "--version":
        from yoso.installation import installed_version

        print(f"yoso {installed_version()}")
        return 0
    if name not in COMMANDS:
        raise ConfigError(f"unknown {'option' if name.startswith('-') else 'command'} {name!r}.{_advice(name)}")
    try:
        from yoso.installation import optional_packages

        with optional_packages(f"yoso {name}", COMMANDS[name].extra):
            return _call(COMMANDS[name].module, rest)
    except SystemExit as leave:  # argparse leaves so after --help, jsonargparse after --print_config
        return leave.code if isinstance(leave.code, int) else USER_ERROR if leave.code else 0


def _refuse_empty(arguments: list[str]) -> None:
    """Refuse empty arguments, which unset shell variables leave: as a path, "" would be the current folder.

    Raises:
        ConfigError: an argument is "", or an option's value is.
    """
    for before, argument in pairwise(["yoso", *arguments]):
        if not argument or (argument.startswith("--") and argument.endswith("=")):
            where = f"after {before!r}" if not argument else f"of {argument[:-1]}"
            raise ConfigError(f"the argument {where} is empty; is a shell variable not set?")


def _call(module: str, arguments: list[str]) -> int:
    command = importlib.import_module(module)
    from yoso.weights.listener import listening

    with listening(TerminalListener()):
        return command.main(arguments)


def help_text() -> str:
    """Return what `yoso --help` prints."""
    lines = [
        "usage: yoso COMMAND ...",
        "",
        "Real-time panoptic segmentation: every pixel gets a class, every object an id.",
    ]
    for group in dict.fromkeys(command.group for command in COMMANDS.values()):
        lines += ["", f"{group}:"]
        lines += [f"  {name:9}  {command.help}" for name, command in COMMANDS.items() if command.group == group]
    lines += [
        "",
        "To start: yoso predict IMAGE",
        "`yoso COMMAND --help` describes a command; `yoso --version` prints the version.",
    ]
    return "\n".join(lines)


def _advice(name: str) -> str:
    return did_you_mean(name, ["--help", "--version"] if name.startswith("-") else COMMANDS)


@contextmanager
def _own_limits() -> Iterator[None]:
    """Take back what `--max-pixels` sets, for programs that run several commands in one process."""
    before = os.environ.get(MAX_PIXELS_VARIABLE)
    try:
        yield
    finally:
        os.environ.pop(MAX_PIXELS_VARIABLE, None)
        if before is not None:
            os.environ[MAX_PIXELS_VARIABLE] = before


def _failed(error: object) -> int:
    show_error(error)
    return USER_ERROR


@contextmanager
def _own_warnings_only() -> Iterator[None]:
    """Show this package's warnings as one line each, and those of other packages only if Python is asked to (-W)."""
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
            warnings.filterwarnings("always", category=UserWarning, module=r"yoso\.")
            warnings.showwarning = lambda message, *_, **__: show_warning(message)
        yield


if __name__ == "__main__":
    sys.exit(main())
