"""Reading a command's arguments: argparse, with errors as everywhere else in the project."""

import argparse
import os
import re
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, NoReturn

from yoso.errors import ConfigError, did_you_mean
from yoso.settings import DEFAULT_MAX_PIXELS, MAX_PIXELS_VARIABLE, parse_input_size, parse_max_pixels

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
        kwargs = {"formatter_class": _Formatter, "allow_abbrev": False, **kwargs}
        super().__init__(prog=f"yoso {command}", description=description, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise argparse's message.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"{self.prog}: {message}; see `{self.prog} --help`")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Read the arguments, options and others in any order.

        Raises:
            ConfigError: an unknown option, a missing or superfluous argument, or a value of the wrong kind.
        """
        actions = [action for action in self._actions if action.help != argparse.SUPPRESS]
        known = [option for action in self._actions for option in action.option_strings if option.startswith("--")]
        shown = [option for action in actions for option in action.option_strings if option in known]
        for argument in arguments:
            name = argument.split("=")[0]
            if name == "--":
                break
            if name.startswith("--") and name not in known:
                near = get_close_matches(name, shown, n=1, cutoff=0.5)
                hint = did_you_mean(name, near) if near else f" See `{self.prog} --help`"
                raise ConfigError(f"{self.prog}: unknown option {name}.{hint}")
        namespace, rest = self.parse_known_intermixed_args(list(arguments))
        if rest:
            self.error(f"unexpected argument {rest[0]!r}")
        return namespace


class _Formatter(argparse.HelpFormatter):
    """Wraps between words alone, and keeps paragraphs with indented lines, such as examples, as they are."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return wrap(" ".join(text.split()), width, break_on_hyphens=False, break_long_words=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = [paragraph.strip("\n") for paragraph in text.split("\n\n")]
        filled = [p if "\n " in p else "\n".join(self._split_lines(p, width)) for p in paragraphs]
        return "\n\n".join(filled)


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
        raise ConfigError(f"threshold {text!r}: give a number from 0 to 1")
    return value


def open_model(args: argparse.Namespace, logits: bool = False) -> "Predictor":
    """Load the model that the options of `add_model_options` name.

    Args:
        args: the options.
        logits: `Predictor.outputs` is needed; an exported file without it is then taken only if it was asked for.

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


def add_model_options(parser: argparse.ArgumentParser, default: str | None) -> argparse._ArgumentGroup:
    """Add the options that every command that runs a model has.

    Args:
        parser: the command's.
        default: the model to take if none is given; None makes `--model` obligatory.

    Returns:
        The group of settings, to which a command may add its own.
    """
    from yoso.inference.runtimes import runtime_names

    model = parser.add_argument_group("model")
    model.add_argument(
        "--model",
        default=default,
        required=default is None,
        help="a name that `yoso models` lists, a model folder, an exported file, or hf:OWNER/NAME"
        + (f" (default: {default})" if default else ""),
    )
    model.add_argument("--offline", action="store_true", help="fetch nothing; the model must be on this machine")
    model.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1 (default: auto)")
    model.add_argument(
        "--runtime",
        default="auto",
        help=f"auto, {', '.join(runtime_names())} (default: auto; on a CPU, auto picks the fastest installed runtime "
        "that has an export of this model)",
    )
    model.add_argument("--precision", default="fp32", help="fp32, or bf16 on a GPU (default: fp32)")
    settings = parser.add_argument_group("settings (default: those of the model)")
    settings.add_argument(
        "--input-size",
        type=parse_input_size,
        metavar="S[xL]|native",
        help="resize images to a shorter side of S pixels and a longer side of at most L; native: do not resize",
    )
    settings.add_argument("--size", dest="input_size", type=parse_input_size, action=_OldSize, help=argparse.SUPPRESS)
    settings.add_argument(
        "--object-mask-threshold", type=share, metavar="P", help="minimum class score of a query, 0 to 1"
    )
    settings.add_argument(
        "--overlap-threshold",
        type=share,
        metavar="P",
        help="minimum share of a mask that must stay visible beside the other masks, 0 to 1",
    )
    add_max_pixels(settings)
    return settings


def add_max_pixels(parser: argparse._ActionsContainer) -> None:
    """Add the option of commands that read images."""
    parser.add_argument(
        "--max-pixels",
        action=_MaxPixels,
        metavar="N",
        help=f"refuse images with more pixels (default: ${MAX_PIXELS_VARIABLE}, or {DEFAULT_MAX_PIXELS})",
    )


class _MaxPixels(argparse.Action):
    """Sets the limit for this process and those that it starts; `yoso.apps.cli` takes it back."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        os.environ[MAX_PIXELS_VARIABLE] = str(parse_max_pixels(values, "--max-pixels"))


def add_tiles_option(parser: argparse._ArgumentGroup) -> None:
    """Add `--tiles`."""
    parser.add_argument(
        "--tiles",
        type=tile_size,
        metavar="S[,O]",
        help="cut images into square tiles of S pixels that overlap by O (default: a quarter of S), and join the "
        "results: for more objects than the model has queries, and for very large images",
    )


def tile_size(text: str) -> tuple[int, int]:
    """Read the value of `--tiles`: `SIDE` or `SIDE,OVERLAP` in pixels.

    Raises:
        ConfigError: anything else.
    """
    from yoso.postprocess.stitching import checked_tiles

    if not re.fullmatch("[0-9]{1,9}(,[0-9]{1,9})?", text):
        raise ConfigError(f"--tiles {text}: give SIDE or SIDE,OVERLAP in pixels, such as 512 or 512,128")
    numbers = [int(word) for word in text.split(",")]
    return checked_tiles(numbers if len(numbers) == 2 else numbers[0])


class _OldSize(argparse.Action):
    """`--size`, the former second name of `--input-size`."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        warnings.warn("--size is deprecated and will be removed in the next release; use --input-size", stacklevel=1)
        setattr(namespace, self.dest, values)
