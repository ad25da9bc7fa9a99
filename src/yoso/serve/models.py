"""The models of a server: loaded one after the other in a thread, so that the server answers meanwhile."""

import logging
import threading
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from yoso.errors import ConfigError, YosoError, did_you_mean
from yoso.inference.loading import load
from yoso.inference.predictor import Predictor
from yoso.serve.problems import Problem, busy
from yoso.serve.settings import ModelOptions
from yoso.weights.find import model_name

log = logging.getLogger("yoso.serve")


class State(Enum):
    """Of a model."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


def named_sources(sources: list[str]) -> dict[str, str]:
    """Return what to load for each name under which it is served.

    Args:
        sources: what `yoso.load` takes, or NAME=SOURCE. Without NAME, a model folder is served under its own name, or
            that of the folder above it if it is called `model`; a file under its name without suffix.

    Raises:
        ConfigError: two models have the same name, or a name is not one that a URL can hold.
    """
    found: dict[str, str] = {}
    for text in sources:
        name, is_named, source = text.partition("=")
        if not is_named or Path(text).exists():
            name, source = _own_name(text), text
        if not name or not all(letter.isalnum() or letter in "-_." for letter in name) or name.startswith("."):
            raise ConfigError(f"model name {name!r}: use letters, digits, '-', '_' and '.'; give --model NAME=SOURCE")
        if name in found:
            raise ConfigError(f"two models are called {name!r}; give one of them another name: --model NAME=SOURCE")
        found[name] = source
    return found


def _own_name(source: str) -> str:
    path = Path(source)
    if path.is_dir():
        resolved = path.resolve()
        return resolved.parent.name if resolved.name == "model" else resolved.name
    return path.stem if path.is_file() else model_name(source).rpartition("/")[2]


class Models:
    """The models of one process."""

    def __init__(self, sources: Mapping[str, str], options: ModelOptions) -> None:
        """Name the models; `start` loads them.

        Args:
            sources: what to load, by name; the first one is the default.
            options: how to load.
        """
        self._sources = dict(sources)
        self._options = options
        self._states = dict.fromkeys(sources, State.LOADING)
        self._predictors: dict[str, Predictor] = {}
        self._thread = threading.Thread(target=self._load_all, name="yoso-loading", daemon=True)
        self._on_failure: Callable[[Exception], None] | None = None

    def start(self, on_failure: Callable[[Exception], None] | None = None) -> None:
        """Begin to load the models.

        Args:
            on_failure: called in the loading thread if a model cannot be loaded.
        """
        self._on_failure = on_failure
        self._thread.start()

    def wait(self) -> None:
        """Wait until no model is loading any more."""
        self._thread.join()

    def _load_all(self) -> None:
        for name, source in self._sources.items():
            try:
                options = self._options
                self._predictors[name] = load(source, options.device, options.runtime, options.precision)
                self._states[name] = State.READY
                log.info("model ready", extra={"facts": {"model": name}})
            except Exception as error:
                self._states[name] = State.FAILED
                is_explained = isinstance(error, YosoError)
                if self._on_failure is not None:
                    self._on_failure(error)
                else:
                    log.error(f"model {name} failed: {error}", exc_info=None if is_explained else error)

    @property
    def names(self) -> list[str]:
        """Names of all models, the default one first."""
        return list(self._sources)

    @property
    def is_ready(self) -> bool:
        """Say whether every model is ready."""
        return all(state is State.READY for state in self._states.values())

    def state(self, name: str) -> State:
        """Return the state of a model.

        Raises:
            Problem: there is no such model.
        """
        if name not in self._states:
            raise Problem("unknown-model", f"no model {name!r}.{did_you_mean(name, self.names)}")
        return self._states[name]

    def get(self, name: str | None = None) -> tuple[str, Predictor]:
        """Return a model and its name.

        Args:
            name: of the model; None is the default one.

        Raises:
            Problem: there is no such model, or it is not ready.
        """
        name = self.names[0] if name is None else name
        state = self.state(name)
        if state is State.LOADING:
            raise busy("loading", f"model {name!r} is loading; try again in a moment")
        if state is State.FAILED:
            raise Problem("model-failed", f"model {name!r} could not be loaded; the server's log has the details")
        return name, self._predictors[name]

    def described(self) -> list[dict[str, Any]]:
        """Return what clients may know about each model."""
        return [self._described(name, state) for name, state in self._states.items()]

    def _described(self, name: str, state: State) -> dict[str, Any]:
        content: dict[str, Any] = {"name": name, "state": state.value, "is_default": name == self.names[0]}
        if state is not State.READY:
            return content
        predictor = self._predictors[name]
        size = predictor.inference.input_size
        return content | {
            "runtime": predictor.runtime,
            "device": predictor.device,
            "object_mask_threshold": predictor.inference.object_mask_threshold,
            "overlap_threshold": predictor.inference.overlap_threshold,
            "input_size": list(size) if size else "native",
            "license": predictor.about.get("license"),
            "classes": [
                {
                    "label_id": index,
                    "label": category.name,
                    "is_thing": category.is_thing,
                    "color": list(category.color),
                }
                for index, category in enumerate(predictor.categories)
            ],
        }
