"""`yoso train RECIPE|FILE.yaml ...` or `--recipe RECIPE DATASET ...`: YAML and options become a `TrainingConfig`."""

import re
from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from yoso.errors import ConfigError
from yoso.files import read_text, read_yaml
from yoso.training.config import TrainingConfig
from yoso.training.recipes import find_recipe, recipe_of
from yoso.training.start import defaults_of, settings_of, settings_of_run

if TYPE_CHECKING:
    from yoso.training.callbacks import DrawSamples

SHORT = {
    "batch": "run.batch_size",
    "accumulate": "run.accumulate",
    "input-size": "inference.input_size",
    "size": "inference.input_size",
}
"""Options with a short name, and those that are spelt as `yoso eval` spells them."""

LEAST_LIKENESS = 0.6
MOST_LESS_LIKE = 0.15
MOST_NAMES = 3


def build_parser() -> ArgumentParser:
    """Return the parser of `yoso train`."""
    parser = ArgumentParser(prog="yoso train", description="Train a network.", exit_on_error=False)
    parser.add_argument(
        "--recipe",
        action="config",
        help="a recipe's name or a YAML file; may also be the first argument, or be followed by the data set",
    )
    parser.add_class_arguments(TrainingConfig, as_group=False)
    parser.add_argument("--offline", action="store_true", help="fetch nothing for --start; it must be here already")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint of --output")
    return parser


def parse(arguments: list[str]) -> tuple[TrainingConfig, Namespace]:
    """Return the configuration that a command line asks for, and all that was parsed.

    If it names a model to start from and no network, the network is that model's; see `defaults_of`.

    Raises:
        ConfigError: an unknown recipe, key or option, or a value of the wrong type.
        CheckpointError: there is no such model to start from.
    """
    parser = build_parser()
    recipe, rest = recipe_of(spelt_out(arguments))
    if recipe is not None:
        path = find_recipe(recipe)
        check_keys(path, parser)
        # Not the file's name: jsonargparse would read it in the encoding of the locale.
        rest = [f"--recipe={_in_ascii(read_text(path, ConfigError))}", *rest]
    check_options(rest, parser)
    try:
        parser.set_defaults(start_defaults(rest, parser))
        parsed = parser.parse_args(rest)
        values = parser.instantiate(parsed)
    except ArgumentError as error:
        raise ConfigError(" ".join(str(error).split())[:400]) from error
    fields = TrainingConfig.__dataclass_fields__
    return TrainingConfig(**{name: values[name] for name in fields}), parsed


def _in_ascii(text: str) -> str:
    """Return a YAML text in ASCII, without comments; every value stays as it is written."""
    return yaml.serialize(yaml.compose(text, yaml.SafeLoader), Dumper=yaml.SafeDumper)


def start_defaults(arguments: list[str], parser: ArgumentParser) -> dict[str, Any]:
    """Return what the model to start from decides, by dotted key; nothing if there is none.

    A run that is resumed has it in its own folder, and needs that model no more.

    Raises:
        ArgumentError: a value of the wrong type.
        CheckpointError: there is no such model.
        ConfigError: the run to resume has no readable recipe.
    """
    silent = [argument for argument in arguments if not argument.startswith("--print_config")]
    said = parser.parse_args(silent, defaults=False)
    if not said.get("start"):
        return {}
    recorded = Path(said.get("output") or TrainingConfig.output) / "recipe.yaml"
    resumed = said.get("resume") and recorded.is_file()
    settings = settings_of_run(recorded) if resumed else settings_of(said["start"], bool(said.get("offline")))
    return defaults_of(settings, vars(said.get("model") or Namespace()))


def spelt_out(arguments: list[str]) -> list[str]:
    """Return the arguments with the full names of options that have a short one.

    `--batch auto` becomes `--run.auto_batch=true`, `--input-size 512x800` becomes `--inference.input_size=[512,800]`.

    Raises:
        ConfigError: a short option without a value, or an input size that is none.
    """
    result, rest = [], list(arguments)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if not name.startswith("--") or name[2:] not in SHORT:
            result.append(name + equals + value)
            continue
        if not equals and not rest:
            raise ConfigError(f"{name} needs a value")
        value = value if equals else rest.pop(0)
        if name in {"--input-size", "--size"}:
            value = input_size(name, value)
        automatic = (name, value) == ("--batch", "auto")
        result.append("--run.auto_batch=true" if automatic else f"--{SHORT[name[2:]]}={value}")
    return result


def input_size(option: str, text: str) -> str:
    """Return "SHORTERxLONGEST" or "native", which an option was given, as YAML.

    Raises:
        ConfigError: it is neither.
    """
    if text == "native":
        return "null"
    if found := re.fullmatch(r"(\d+)[xX](\d+)", text):
        return f"[{found[1]},{found[2]}]"
    raise ConfigError(f"{option} {text}: give SHORTERxLONGEST in pixels (as 512x800), or native")


def known_keys(parser: ArgumentParser) -> set[str]:
    """Return every dotted key that YAML and the command line may set."""
    return {action.dest for action in parser._actions} | {"recipe"}


def check_keys(path: Path, parser: ArgumentParser) -> None:
    """Check a recipe's keys.

    Raises:
        ConfigError: the file is not YAML, or has a key that does not exist; names the closest that does.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: is not a recipe; a mapping of keys to values is needed")
    known = known_keys(parser)
    for key in _dotted(content, known):
        if key not in known:
            raise ConfigError(f"{path}: unknown key {key!r}.{closest(key, known)}")


def check_options(arguments: list[str], parser: ArgumentParser) -> None:
    """Check the names of the options.

    Raises:
        ConfigError: an option that does not exist; names the closest that do.
    """
    known = known_keys(parser) | {"help", "print_config", "h"}
    for argument in arguments:
        name = argument.lstrip("-").split("=")[0].rstrip("+")
        free = any(name.startswith(f"{prefix}.") for prefix in ("about", "model.backbone_options"))
        if argument.startswith("--") and name not in known and not free:
            raise ConfigError(f"unknown option --{name}.{closest(name, known | set(SHORT))}")


def closest(name: str, known: set[str]) -> str:
    """Return `` Did you mean 'x' or 'y'?`` for the names that are most like one, else where all of them are listed.

    A name without its group counts as the whole: `lr` is `optimizer.lr`.
    """
    like: dict[str, float] = {}
    for other in sorted(known):
        spellings = {other, other.rpartition(".")[2]}
        like[other] = max(SequenceMatcher(None, spelling, name).ratio() for spelling in spellings)
    least = max(LEAST_LIKENESS, max(like.values()) - MOST_LESS_LIKE)
    order = sorted(like, key=lambda other: (-like[other], "." in other))
    near = [other for other in order if like[other] >= least][:MOST_NAMES]
    if not near:
        return " `yoso train RECIPE --print_config` shows all there are"
    return f" Did you mean {' or '.join(repr(other) for other in near)}?"


def _dotted(content: dict[str, Any], known: set[str], prefix: str = "") -> list[str]:
    keys = []
    for name, value in content.items():
        key = f"{prefix}{name}"
        below = any(other.startswith(f"{key}.") for other in known)
        keys += _dotted(value, known, f"{key}.") if below and isinstance(value, dict) else [key]
    return keys


def main(arguments: list[str], draw_samples: "DrawSamples | None" = None) -> int:
    """Run `yoso train`.

    Args:
        arguments: what stands after `yoso train`.
        draw_samples: makes the pictures of each evaluation; None for no pictures.

    Returns:
        The exit status: 0 also if SIGTERM stopped the run, which can be resumed then.
    """
    from yoso.training.checkpoints import Preempted
    from yoso.training.run import train
    from yoso.weights.find import find_model

    config, parsed = parse(arguments)
    if config.start and parsed.offline and not parsed.resume:
        config = replace(config, start=str(find_model(config.start, offline=True)))
    try:
        folder = train(config, bool(parsed.resume), draw_samples)
    except Preempted as stop:
        print(stop)
        return 0
    print(f"model folder: {folder}")
    return 0
