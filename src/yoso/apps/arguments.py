"""Reading a command's arguments: argparse, with errors as everywhere else in the project."""

import argparse
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from yoso.errors import ConfigError, did_you_mean
from yoso.settings import parse_input_size

if TYPE_CHECKING:
    from yoso.inference.predictor import Predictor


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that raises `ConfigError` and proposes the option that was meant."""

    def __init__(self, command: str, description: str, **kwargs: Any) -> None:
        """Name the command.

        Args:
            command: as typed after `yoso`.
            description: one sentence.
            kwargs: argparse's own.
        """
        super().__init__(prog=f"yoso {command}", description=description, allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise argparse's message.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"{self.prog}: {message}; see `{self.prog} --help`")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Read the arguments, options and others in any order.

        Raises:
            ConfigError: an unknown option, a missing or needless argument, or a value of the wrong kind.
        """
        known = [option for action in self._actions for option in action.option_strings if option.startswith("--")]
        for argument in arguments:
            name = argument.split("=")[0]
            if name == "--":
                break
            if name.startswith("--") and name not in known:
                near = get_close_matches(name, known, n=1, cutoff=0.5)
                hint = did_you_mean(name, near) if near else f" See `{self.prog} --help`"
                raise ConfigError(f"{self.prog}: unknown option {name}.{hint}")
        namespace, rest = self.parse_known_intermixed_args(list(arguments))
        if rest:
            self.error(f"unexpected argument {rest[0]!r}")
        return namespace


def share(text: str) -> float:
    """Read a number from 0 to 1.

    Raises:
        ConfigError: anything else.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ConfigError(f"threshold {text!r}: a number from 0 to 1 is needed")
    return value


def open_model(args: argparse.Namespace, logits: bool = False) -> "Predictor":
    """Load what the options of `add_model_options` name.

    Args:
        args: the options.
        logits: `Predictor.outputs` is needed, so a file with the merge inside will not do unless it was asked for.

    Raises:
        YosoError: see `yoso.load`; with `--offline`, also if the model would have to be fetched.
    """
    from yoso.inference.loading import load

    name = args.model
    if args.offline and not Path(name).is_file():
        from yoso.weights.find import find_model

        name = find_model(name, offline=True)
    runtime = "torch" if logits and args.runtime == "auto" and not Path(name).is_file() else args.runtime
    return load(name, args.device, runtime, args.precision)


def add_model_options(parser: argparse.ArgumentParser, default: str | None) -> None:
    """Add the options that every command with a network has.

    Args:
        parser: the command's.
        default: the model to take if none is given; None makes `--model` obligatory.
    """
    from yoso.inference.runtimes import runtime_names

    said = f" (default: {default})" if default else ""
    parser.add_argument(
        "--model",
        default=default,
        required=default is None,
        help=f"a name that `yoso models` lists, a model folder, an exported file, or hf:OWNER/NAME{said}",
    )
    parser.add_argument("--offline", action="store_true", help="fetch nothing; the model must be here already")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto)")
    parser.add_argument(
        "--runtime",
        default="auto",
        help=f"auto, {', '.join(runtime_names())}; auto is, on a CPU, the fastest one that is installed and has an "
        "exported file in the model's folder",
    )
    parser.add_argument("--precision", default="fp32", help="fp32, or on a GPU bf16 (default: fp32)")
    parser.add_argument(
        "--input-size",
        "--size",
        type=parse_input_size,
        metavar="S[xL]|native",
        help="shorter side in pixels, and the most the longer one may get; native does not resize (default: the "
        "model's own)",
    )
    parser.add_argument(
        "--object-mask-threshold", type=share, metavar="P", help="least score of a segment, 0 to 1 (default: model's)"
    )
    parser.add_argument(
        "--overlap-threshold",
        type=share,
        metavar="P",
        help="least share of a mask that no other segment covers, 0 to 1 (default: the model's)",
    )
