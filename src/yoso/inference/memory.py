"""Memory that is too short, in whatever words a runtime says so."""

from collections.abc import Iterator
from contextlib import contextmanager

from yoso.errors import ConfigError, ImageError
from yoso.preprocess import Size

WORDS = (
    "allocate memory",
    "bad allocation",
    "bad_alloc",
    "out of memory",
    "out_of_memory",
    "out_of_host_memory",
    "out_of_resources",
    "allocation_failure",
    "exceeded max size of memory",
    "alloc_failed",
)
"""Of torch, ONNX Runtime, CUDA, C++, and OpenVINO with its OpenCL, in lower case."""

TORCH_S_OWN = "OutOfMemoryError"
"""Its error's class, by name, because torch may not be there."""


def is_short_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory was short."""
    text = str(error).lower()
    named = isinstance(error, MemoryError) or type(error).__name__ == TORCH_S_OWN
    return named or any(word in text for word in WORDS)


@contextmanager
def memory_errors(size: Size) -> Iterator[None]:
    """Turn every way in which a runtime says that memory is short into one error.

    Args:
        size: (height, width) of the photograph.

    Raises:
        ImageError: memory was short.
    """
    try:
        yield
    except ImageError:
        raise
    except Exception as error:  # runtimes' errors have no common base
        if not is_short_memory(error):
            raise
        raise ImageError(
            f"not enough memory for an image of {size[1]} x {size[0]} pixels; give a smaller input_size or output_size"
        ) from error


@contextmanager
def loading_errors(name: object, device: object) -> Iterator[None]:
    """Turn memory that is short while a model is loaded into one error.

    Args:
        name: of the model.
        device: that it goes to.

    Raises:
        ConfigError: memory was short.
    """
    try:
        yield
    except Exception as error:
        if not is_short_memory(error):
            raise
        raise ConfigError(
            f"{name}: not enough memory on {device} to load it; free some, or use another device, as cpu"
        ) from error
