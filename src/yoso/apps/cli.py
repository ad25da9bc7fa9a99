"""`yoso`: finds the command, runs it, and turns every error that a user can mend into one line.

Nothing heavy is imported here; each command imports what it needs, so that `yoso --help` comes at once.
"""

import errno
import gc
import importlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from yoso.errors import ConfigError, YosoError, did_you_mean

USER_ERROR = 2
INTERRUPTED = 130
BROKEN_PIPE = 141


class Command(NamedTuple):
    """One subcommand.

    Attributes:
        module: has `main(arguments) -> exit status`.
        help: one line.
        extra: that has all the packages it needs; None if the package alone has them.
    """

    module: str
    help: str
    extra: str | None = None


COMMANDS = {
    "predict": Command("yoso.apps.predict", "segment photographs"),
    "eval": Command("yoso.apps.evaluate", "run a model on a data set and score it", "eval"),
    "pq": Command("yoso.apps.pq", "score saved predictions, no model needed"),
    "data": Command("yoso.apps.data", "prepare, check, show and convert data sets: `yoso data check DATASET`"),
    "train": Command("yoso.apps.train", "train with a recipe", "train"),
    "export": Command(
        "yoso.apps.export", "write a model for ONNX Runtime, OpenVINO, TensorRT or plain torch", "export"
    ),
    "convert": Command("yoso.apps.convert", "turn an official checkpoint into a model folder", "torch"),
    "benchmark": Command("yoso.apps.benchmark", "time models, runtimes and their peers by one protocol", "benchmark"),
    "models": Command("yoso.apps.models", "list the models that come with the package and those to fetch"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the words after `yoso`; those of this process by default.

    Returns:
        The exit status: 0 if all went well, 1 if `data check` found errors, 2 after an error that the user can mend,
        130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Importing makes millions of objects that live for ever; looking through them for garbage again and again takes a
    # tenth of a command's start.
    gc.set_threshold(200_000, 20, 20)
    try:
        with _own_warnings_only():
            return _dispatch(arguments)
    except YosoError as error:
        return _failed(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # What reads our output has enough of it; Python would complain about this at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except MemoryError:
        return _failed("not enough memory; close other programs, or use smaller images or batches")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return _failed(f"{error.filename or 'the disk'}: the disk is full; make room or write elsewhere")


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(help_text())
        return 0 if arguments else USER_ERROR
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
            return _run(COMMANDS[name].module, rest)
    except SystemExit as leave:  # argparse leaves so after --help, jsonargparse after --print_config
        return leave.code if isinstance(leave.code, int) else USER_ERROR if leave.code else 0


def _run(module: str, arguments: list[str]) -> int:
    command = importlib.import_module(module)
    from yoso.apps.console import TerminalListener
    from yoso.weights.listener import listening

    with listening(TerminalListener()):
        return command.main(arguments)


def help_text() -> str:
    """Return what `yoso --help` prints."""
    lines = [f"  {name:9} {command.help}" for name, command in COMMANDS.items()]
    return "\n".join(
        (
            "usage: yoso COMMAND ...",
            "",
            "Real-time panoptic segmentation: every pixel of a photograph gets a class, and objects an identity.",
            "",
            "commands:",
            *lines,
            "",
            "  yoso COMMAND --help says more; yoso --version names the version.",
            "  To start: yoso predict PHOTO",
        )
    )


def _advice(name: str) -> str:
    return did_you_mean(name, ["--help", "--version"] if name.startswith("-") else COMMANDS)


def _failed(error: object) -> int:
    """Print one line, whatever the message holds."""
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return USER_ERROR


@contextmanager
def _own_warnings_only() -> Iterator[None]:
    """Show this package's warnings as one line each, and those of other packages only if Python is asked to (-W)."""
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
            warnings.filterwarnings("always", category=UserWarning, module=r"yoso\.")
            warnings.showwarning = _show_warning
        yield


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"warning: {' '.join(str(message).split())}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
