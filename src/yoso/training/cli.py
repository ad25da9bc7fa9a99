"""`yoso train RECIPE --data DATASET [options]`: a recipe and options become a `TrainingConfig`. Loads no torch."""

import json
import warnings
from dataclasses import asdict, replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from yoso.errors import ConfigError
from yoso.files import read_text, read_yaml
from yoso.model.config import ModelConfig
from yoso.settings import parse_input_size
from yoso.training.config import BUNDLED, TrainingConfig
from yoso.training.defaults import StoredConfig, config_of_model, config_of_run, defaults_of
from yoso.training.help import USAGE, full_help, short_help
from yoso.training.recipes import find_recipe, recipe_of

SHORT = {
    "batch": "run.batch_size",
    "accumulate": "run.accumulate",
    "minutes": "run.minutes",
    "input-size": "inference.input_size",
    "size": "inference.input_size",
}
"""Options with a short form; `--size` is deprecated."""

REMOVED = {"schedule.frozen_backbone", "augmentation.min_pixels", "augmentation.start_share"}
"""Settings of version 0.1.0, which records of its runs still contain."""

MIN_LIKENESS = 0.6
MAX_LIKENESS_GAP = 0.15
MAX_SUGGESTIONS = 3


def build_parser() -> ArgumentParser:
    """Return the parser of `yoso train`."""
    parser = ArgumentParser(prog="yoso train", description="Train a network.", exit_on_error=False)
    parser.add_argument("--recipe", action="config", help="file of the recipe")
    parser.add_class_arguments(TrainingConfig, as_group=False)
    parser.add_argument("--offline", action="store_true", help="download nothing")
    parser.add_argument("--resume", action="store_true", help="continue the run in --output from its newest checkpoint")
    return parser


def parse(arguments: list[str]) -> tuple[TrainingConfig, Namespace]:
    """Return the recipe that a command line asks for, and all parsed options.

    If the command line names a model to start from and no network, the network is that of the model; see `defaults_of`.
    So it is for a recipe with a bundled backbone, whose network only exists because there is no other start.

    Raises:
        ConfigError: an unknown recipe, key or option, or a value of the wrong type.
        CheckpointError: there is no such model to start from.
    """
    if not arguments:
        raise ConfigError(f"no recipe is given; usage: {USAGE}; `yoso train --help` lists the recipes")
    parser = build_parser()
    recipe, options = recipe_of(spelt_out(arguments))
    rest = options
    if recipe is not None:
        path = find_recipe(recipe)
        check_keys(path, parser)
        # Not the file's name: jsonargparse would read it in the encoding of the locale.
        rest = [f"--recipe={_in_ascii(read_text(path, ConfigError))}", *options]
    check_options(rest, parser)
    try:
        given, stored = given_start(rest, parser)
        if stored is not None:
            network = vars(given.get("model") or Namespace())
            if recipe is not None and given.get("backbone_weights") == BUNDLED:
                rest = [f"--recipe={_with_network(find_recipe(recipe), stored.model)}", *options]
            parser.set_defaults(defaults_of(stored, network))
        parsed = parser.parse_args(rest)
        values = parser.instantiate(parsed)
    except ArgumentError as error:
        raise ConfigError(_explained(error)) from error
    except (TypeError, ValueError, AttributeError, KeyError, RecursionError) as error:  # jsonargparse, on odd types
        raise ConfigError(f"{recipe}: a setting has the wrong type ({' '.join(str(error).split())[-160:]})") from error
    config = TrainingConfig(**{name: values[name] for name in TrainingConfig.__dataclass_fields__})
    return replace(config, adapt=_left_to_choose(config.adapt, options)), parsed


def _left_to_choose(adapt: tuple[str, ...], options: list[str]) -> tuple[str, ...]:
    """Return the settings that the data may decide: those of `adapt` that no option of the command line gives.

    Raises:
        ConfigError: the options give both a length and a time.
    """
    given = {option.lstrip("-").partition("=")[0] for option in options if option.startswith("--")}
    if {"run.minutes", "run.iterations"} <= given:
        raise ConfigError("give --minutes or --run.iterations, not both: the first chooses the second")
    return tuple(name for name in adapt if not {name, name.partition(".")[0]} & given)


def _in_ascii(text: str) -> str:
    """Return a YAML text in ASCII, without comments; every value stays as it is written."""
    return yaml.serialize(yaml.compose(text, yaml.SafeLoader), Dumper=yaml.SafeDumper)


def _explained(error: ArgumentError) -> str:
    """Return what the parser says, and what to do about its two most common errors."""
    message = " ".join(str(error).split())[:400]
    if message.lower().startswith("unrecognized arguments: "):
        return f"unexpected argument {message.split()[2]!r}; usage: {USAGE}"
    if message.endswith("required: data"):
        return f"no data set is given; usage: {USAGE}"
    return message


def _with_network(recipe: Path, network: ModelConfig) -> str:
    """Return a recipe with another network, as YAML in ASCII."""
    return yaml.safe_dump({**read_yaml(recipe), "model": json.loads(json.dumps(asdict(network)))})


def given_start(arguments: list[str], parser: ArgumentParser) -> tuple[Namespace, StoredConfig | None]:
    """Return the settings that recipe and command line give, and those of the model to start from, if there is one.

    A resumed run takes the latter from its own folder and does not need the model any more.

    Raises:
        ArgumentError: a value has the wrong type.
        CheckpointError: there is no such model.
        ConfigError: the recipe of the run to resume cannot be read.
    """
    silent = [argument for argument in arguments if not argument.startswith("--print_config")]
    given = parser.parse_args(silent, defaults=False)
    if not given.get("start"):
        return given, None
    recorded = Path(given.get("output") or TrainingConfig.output) / "recipe.yaml"
    resumed = given.get("resume") and recorded.is_file()
    return given, config_of_run(recorded) if resumed else config_of_model(given["start"], bool(given.get("offline")))


def spelt_out(arguments: list[str]) -> list[str]:
    """Return the arguments with the full names of options that have a short form.

    `--batch auto` becomes `--run.auto_batch=true`, and `--input-size 512x800` becomes
    `--inference.input_size=[512,800]`.

    Raises:
        ConfigError: a short form without a value, or an invalid input size.
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
        if name == "--size":
            warnings.warn("--size is deprecated in `yoso train`; use --input-size", stacklevel=1)
        if SHORT[name[2:]] == "inference.input_size":
            size = parse_input_size(value, name)
            value = "null" if size == "native" else f"[{size[0]},{size[1]}]"
        automatic = (name, value) == ("--batch", "auto")
        result.append("--run.auto_batch=true" if automatic else f"--{SHORT[name[2:]]}={value}")
    return result


def known_keys(parser: ArgumentParser) -> set[str]:
    """Return every dotted key that a recipe and the command line may set."""
    return {action.dest for action in parser._actions} | {"recipe"}


def check_keys(path: Path, parser: ArgumentParser) -> None:
    """Check the keys of a recipe.

    Raises:
        ConfigError: the file is not YAML, or a key does not exist (any more); names the closest keys.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: is not a recipe, which is a mapping of keys to values")
    known = known_keys(parser)
    for name, value in content.items():
        if value is not None and not isinstance(value, dict) and any(key.startswith(f"{name}.") for key in known):
            raise ConfigError(f"{path}: {name!r} is {str(value)[:80]!r}; it must be a mapping of keys to values")
    keys = _dotted(content, known)
    if removed := [key for key in keys if key in REMOVED]:
        raise ConfigError(f"{path}: these settings no longer exist: {', '.join(removed)}; delete their lines")
    for key in keys:
        if key not in known:
            raise ConfigError(f"{path}: unknown key {key!r}.{closest(key, known)}")


def check_options(arguments: list[str], parser: ArgumentParser) -> None:
    """Check the names of the options.

    Raises:
        ConfigError: an option does not exist (any more); names the closest options.
    """
    known = known_keys(parser) | {"help", "print_config", "h"}
    for argument in arguments:
        name = argument.lstrip("-").split("=")[0].rstrip("+")
        free = any(name.startswith(f"{prefix}.") for prefix in ("about", "model.backbone_options"))
        if argument.startswith("--") and name in REMOVED:
            raise ConfigError(f"option --{name} no longer exists; leave it out")
        if argument.startswith("--") and name not in known and not free:
            raise ConfigError(f"unknown option --{name}.{closest(name, known | set(SHORT) - {'size'})}")


def closest(name: str, known: set[str]) -> str:
    """Return `` Did you mean 'x' or 'y'?`` for the names closest to one, or else where all of them are listed.

    A name without its group stands for the whole: `lr` is `optimizer.lr`.
    """
    like: dict[str, float] = {}
    for other in sorted(known):
        spellings = {other, other.rpartition(".")[2]}
        like[other] = max(SequenceMatcher(None, spelling, name).ratio() for spelling in spellings)
    least = max(MIN_LIKENESS, max(like.values()) - MAX_LIKENESS_GAP)
    order = sorted(like, key=lambda other: (-like[other], "." in other))
    near = [other for other in order if like[other] >= least][:MAX_SUGGESTIONS]
    if not near:
        return " `yoso train --help-all` lists all options."
    return f" Did you mean {' or '.join(repr(other) for other in near)}?"


def _dotted(content: dict[str, Any], known: set[str], prefix: str = "") -> list[str]:
    keys = []
    for name, value in content.items():
        key = f"{prefix}{name}"
        below = any(other.startswith(f"{key}.") for other in known)
        keys += _dotted(value, known, f"{key}.") if below and isinstance(value, dict) else [key]
    return keys


def main(arguments: list[str]) -> int:
    """Run `yoso train`.

    Args:
        arguments: the words after `yoso train`.

    Returns:
        The exit status; 0 also if SIGTERM stopped the run, which can then be resumed.

    Raises:
        YosoError: see `parse` and `yoso.training.run.train`.
    """
    if {"-h", "--help"} & set(arguments):
        print(short_help())
        return 0
    if "--help-all" in arguments:
        print(full_help(build_parser()))
        return 0
    config, parsed = parse(arguments)
    # These load torch, which takes seconds; errors in the command line are reported before.
    from yoso.training.checkpoints import Preempted
    from yoso.training.run import train

    try:
        folder = train(config, bool(parsed.resume), bool(parsed.offline))
    except Preempted as stop:
        print(stop)
        return 0
    print(f"model folder: {folder}")
    return 0
