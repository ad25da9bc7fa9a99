"""Options of a request, the same in a query, in a form and in JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from yoso.errors import ConfigError, did_you_mean
from yoso.serve.results import OUTPUTS
from yoso.settings import checked_setting, parse_input_size

THRESHOLDS = ("object_mask_threshold", "overlap_threshold")
NAMES = ("model", *THRESHOLDS, "input_size", "output")


@dataclass(frozen=True)
class SegmentOptions:
    """What a client may choose; all values are checked.

    Attributes:
        model: name of the model; None is the server's first one.
        settings: arguments of a `Predictor`'s call.
        outputs: names in `OUTPUTS`.
    """

    model: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    outputs: frozenset[str] = frozenset({"segments"})


def read_options(given: Mapping[str, Any]) -> SegmentOptions:
    """Read the options of a request.

    Args:
        given: text of a query or form, or JSON values, by name.

    Raises:
        ConfigError: an option does not exist, or its value is not valid.
    """
    for name in given:
        if name not in NAMES:
            raise ConfigError(f"unknown option {name!r}.{did_you_mean(name, NAMES)}")
    model = given.get("model")
    if model is not None and not isinstance(model, str):
        raise ConfigError(f"model is {model!r}; give the name of a model")
    settings = {name: _threshold(name, given[name]) for name in THRESHOLDS if given.get(name) is not None}
    if given.get("input_size") is not None:
        settings["input_size"] = _input_size(given["input_size"])
    return SegmentOptions(model, settings, _outputs(given.get("output")))


def _threshold(name: str, value: Any) -> float:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise ConfigError(f"{name} is {value!r}; give a number from 0 to 1") from None
    return checked_setting(name, value)


def _input_size(value: Any) -> Any:
    if isinstance(value, str):
        value = parse_input_size(value, "input_size")
    return value if value == "native" else checked_setting("input_size", value)


def _outputs(value: Any) -> frozenset[str]:
    if value is None:
        return frozenset({"segments"})
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"output is {value!r}; give names separated by commas, or a list of names")
    for name in names:
        if name not in OUTPUTS:
            raise ConfigError(f"unknown output {name!r}.{did_you_mean(name, OUTPUTS)}")
    return frozenset(names)
