"""Running out of memory, in the words of every runtime."""

from collections.abc import Iterator
from contextlib import contextmanager

from yoso.errors import ConfigError, ImageError, YosoError
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
    "not enough memory",
)
"""In errors of torch, ONNX Runtime, CUDA, C++, and OpenVINO with its OpenCL; in lower case."""

TORCH_ERROR = "OutOfMemoryError"
"""Name of torch's class of errors; the class itself may be missing with torch."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of a runtime says that memory ran out, on a GPU or a CPU."""
    if isinstance(error, YosoError):
        return False
    if isinstance(error, MemoryError) or type(error).__name__ == TORCH_ERROR:
        return True
    return any(word in str(error).lower() for word in WORDS)


@contextmanager
def memory_errors(size: Size) -> Iterator[None]:
    """Turn every error of a runtime that ran out of memory into one error.

    Args:
        size: (height, width) of the image.

    Raises:
        ImageError: memory ran out.
    """
    try:
        yield
    except Exception as error:  # runtimes' errors have no common base
        if not is_out_of_memory(error):
            raise
        raise ImageError(
            f"not enough memory for an image of {size[1]} x {size[0]} pixels; give a smaller input_size or output_size"
        ) from error


@contextmanager
def loading_errors(name: object, device: object) -> Iterator[None]:
    """Turn an error of a runtime that ran out of memory while it loaded a model into one error.

    Args:
        name: of the model.
        device: that the model goes to.

    Raises:
        ConfigError: memory ran out.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise ConfigError(
            f"{name}: not enough memory on {device} to load the model; free some, or use another device, such as cpu"
        ) from error
