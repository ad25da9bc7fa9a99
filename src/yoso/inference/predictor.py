"""From a photograph to its segments: one call around reading, resizing, the network and the merge."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral, Real
from os import PathLike as OsPathLike
from typing import Any, Literal, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from yoso.categories import Categories
from yoso.errors import ConfigError, ImageError
from yoso.files import PathLike, read_image, to_rgb
from yoso.model.checkpoint import Model, load_model
from yoso.model.yoso import YOSO, padded_size
from yoso.postprocess import PanopticResult, Sizes, panoptic
from yoso.preprocess import Size, resize, resized_size
from yoso.structures import InferenceConfig

Photo = PathLike | Image.Image | np.ndarray
InputSize = Size | Literal["native"] | None
Result = dict[str, Any]


@dataclass(frozen=True)
class Timings:
    """Seconds that the steps of one prediction took.

    Attributes:
        read_seconds: from file to RGB array; almost nothing for an array.
        resize_seconds: to the network's input, on the device.
        network_seconds: to class and mask logits.
        merge_seconds: from logits to segments, back on the host.
    """

    read_seconds: float
    resize_seconds: float
    network_seconds: float
    merge_seconds: float


@dataclass(frozen=True)
class _Settings:
    """One call's arguments, checked."""

    input_size: Size | None
    output_size: Size | None
    object_mask_threshold: float
    overlap_threshold: float


class Predictor:
    """A network ready to segment photographs. Calls from several threads do not disturb each other."""

    def __init__(self, model: Model, device: str | torch.device = "auto") -> None:
        """Put a model on a device, in evaluation mode.

        Args:
            model: network, categories, thresholds.
            device: "auto" is CUDA where there is a CUDA device, else the CPU; or a name that torch knows.

        Raises:
            ConfigError: there is no such device.
        """
        self.device = resolve_device(device)
        self.network: YOSO = model.network.to(self.device).eval()
        self.categories: Categories = model.categories
        self.inference: InferenceConfig = model.inference
        self.about = dict(model.about)

    # The implementation takes anything, because it checks what it is given; the overloads say what is right.
    @overload
    def __call__(
        self,
        image: Photo,
        input_size: InputSize = None,
        output_size: Size | None = None,
        object_mask_threshold: float | None = None,
        overlap_threshold: float | None = None,
    ) -> Result: ...

    @overload
    def __call__(
        self,
        image: Sequence[Photo],
        input_size: InputSize = None,
        output_size: Size | None = None,
        object_mask_threshold: float | None = None,
        overlap_threshold: float | None = None,
    ) -> list[Result]: ...

    def __call__(
        self,
        image: Any,
        input_size: Any = None,
        output_size: Any = None,
        object_mask_threshold: Any = None,
        overlap_threshold: Any = None,
    ) -> Any:
        """Segment a photograph, or each of a list, one after the other.

        Args:
            image: a path, a PIL image, or an RGB array (H, W, 3) of uint8; or a list or tuple of them.
            input_size: None is the model's own test size, "native" no resizing, (shorter, longest) scales the
                shorter side to `shorter` pixels, or less if the longer one would exceed `longest`.
            output_size: (H, W) of the result in pixels; None is the photograph's own.
            object_mask_threshold: a query takes part if its class score is above this, 0 to 1; None is the model's.
            overlap_threshold: a segment is dropped if less than this share of its mask survives, 0 to 1; None is the
                model's.

        Returns:
            A dictionary, or a list of them for a list, with `segmentation`, an int32 array (H, W) of segment ids, 0
            where there is none, and `segments_info`, a list in id order, ids from 1, of `id`, `label_id` (class
            index), `label`, `is_thing`, `score` (0 to 1), `area` (pixels) and `bbox` ([x, y, w, h] in pixels), all
            plain Python values.

        Raises:
            ImageError: a photograph that cannot be read, or an array that is not RGB uint8.
            ConfigError: a size below 1 pixel, or a threshold outside 0 to 1.
        """
        settings = self._settings(input_size, output_size, object_mask_threshold, overlap_threshold)
        if isinstance(image, list | tuple):
            return [self._predict(one, settings)[0] for one in image]
        return self._predict(image, settings)[0]

    def timed(self, image: Photo, **options: Any) -> tuple[Result, Timings]:
        """Segment one photograph and say how long each step took; options and errors as in a call."""
        return self._predict(image, self._settings(**options))

    @torch.inference_mode()
    def outputs(self, image: Photo, input_size: InputSize = None) -> tuple[Tensor, Tensor, Sizes]:
        """Run the network alone, for those who make something else of its logits than a panoptic result.

        Args:
            image: a path, a PIL image, or an RGB array (H, W, 3) of uint8.
            input_size: as in a call.

        Returns:
            Class logits (N, K+1), mask logits (N, h, w), both on the predictor's device, and the sizes that the
            functions of `yoso.postprocess` take with them; the output's is the photograph's own.

        Raises:
            ImageError: a photograph that cannot be read, or an array that is not RGB uint8.
            ConfigError: a size below 1 pixel.
        """
        settings = self._settings(input_size)
        pixels = rgb_array(image)
        size = (pixels.shape[0], pixels.shape[1])
        with _memory_errors(size):
            tensor = self._tensor(pixels, resized_size(size, settings.input_size))
            outputs = self.network([tensor])
        image_size = (tensor.shape[1], tensor.shape[2])
        sizes = Sizes(padded_size([image_size]), image_size, size)
        return outputs.class_logits[0], outputs.mask_logits[0], sizes

    def _settings(
        self,
        input_size: Any = None,
        output_size: Any = None,
        object_mask_threshold: Any = None,
        overlap_threshold: Any = None,
    ) -> _Settings:
        own = self.inference
        if input_size is None:
            network_size = own.input_size
        elif isinstance(input_size, str):
            if input_size != "native":
                raise ConfigError(f"input_size is {input_size!r}; give (shorter, longest) in pixels, 'native' or None")
            network_size = None
        else:
            network_size = _checked_size("input_size", input_size, "(shorter, longest)")
        return _Settings(
            network_size,
            None if output_size is None else _checked_size("output_size", output_size, "(height, width)"),
            _checked_share("object_mask_threshold", object_mask_threshold, own.object_mask_threshold),
            _checked_share("overlap_threshold", overlap_threshold, own.overlap_threshold),
        )

    @torch.inference_mode()
    def _predict(self, image: Any, settings: _Settings) -> tuple[Result, Timings]:
        watch = _StopWatch(self.device)
        pixels = rgb_array(image)
        read_seconds = watch.lap()
        size = (pixels.shape[0], pixels.shape[1])
        with _memory_errors(size):
            tensor = self._tensor(pixels, resized_size(size, settings.input_size))
            resize_seconds = watch.lap()
            outputs = self.network([tensor])
            network_seconds = watch.lap()
            image_size = (tensor.shape[1], tensor.shape[2])
            result = panoptic(
                outputs.class_logits[0],
                outputs.mask_logits[0],
                Sizes(padded_size([image_size]), image_size, settings.output_size or size),
                self.categories.is_thing,
                settings.object_mask_threshold,
                settings.overlap_threshold,
            )
            plain = self._plain(result)
        return plain, Timings(read_seconds, resize_seconds, network_seconds, watch.lap())

    def _tensor(self, pixels: np.ndarray, size: Size) -> Tensor:
        # A copy, because what Pillow lends is read-only, and a caller's array may have negative strides.
        resized = np.array(resize(pixels, size), order="C")
        return torch.from_numpy(resized).to(self.device).permute(2, 0, 1)

    def _plain(self, result: PanopticResult) -> Result:
        infos = []
        for segment in result.segments:
            category = self.categories[segment.class_index]
            infos.append(
                {
                    "id": segment.id,
                    "label_id": segment.class_index,
                    "label": category.name,
                    "is_thing": category.is_thing,
                    "score": segment.score,
                    "area": segment.area,
                    "bbox": list(segment.bbox),
                }
            )
        return {"segmentation": result.segmentation.cpu().numpy(), "segments_info": infos}


def load(name_or_folder: PathLike, device: str | torch.device = "auto") -> Predictor:
    """Load a bundled model by name, or a model folder.

    Args:
        name_or_folder: see `yoso models` for the names; `yoso train` and `yoso convert` make folders.
        device: "auto" is CUDA where there is a CUDA device, else the CPU; or a name that torch knows, as "cuda:1".

    Raises:
        CheckpointError: there is no such model, or its files are damaged or do not fit each other.
        ConfigError: there is no such device.
    """
    resolved = resolve_device(device)
    return Predictor(load_model(name_or_folder, resolved), resolved)


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the device that a name means.

    Raises:
        ConfigError: torch knows no such device, or this machine has none.
    """
    if str(device) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"unknown device {str(device)!r}; use auto, cpu, cuda or cuda:1") from error
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device {str(device)!r}: this machine has {torch.cuda.device_count()} CUDA devices; use cpu")
    if resolved.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device 'mps': this machine has none; use cpu")
    return resolved


def rgb_array(image: Any) -> np.ndarray:
    """Return a photograph as a uint8 RGB array (H, W, 3); an array is checked and passed on, not copied.

    Raises:
        ImageError: a file that cannot be read, or an array of another shape or type.
    """
    if isinstance(image, Image.Image):
        return to_rgb(image)
    if isinstance(image, str | OsPathLike):
        return read_image(image)
    if not isinstance(image, np.ndarray):
        raise ImageError(
            f"an image is a path, a PIL image or a uint8 RGB array (H, W, 3); this is {type(image).__name__}"
        )
    if image.dtype != np.uint8:
        advice = "; scale it to 0-255 and use .astype(np.uint8)" if image.dtype.kind == "f" else ""
        raise ImageError(f"an image array must be uint8, 0 to 255; this one is {image.dtype}{advice}")
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ImageError(f"an image array must be RGB of shape (H, W, 3) with pixels; this one is {image.shape}")
    return image


def _checked_size(name: str, value: Any, meaning: str) -> Size:
    pair = tuple(value) if isinstance(value, list | tuple) else ()
    if len(pair) != 2 or not all(isinstance(side, Integral) and not isinstance(side, bool) for side in pair):
        raise ConfigError(f"{name} is {value!r}; {meaning} in whole pixels is needed")
    if min(pair) < 1:
        raise ConfigError(f"{name} is {value!r}; both sides must be at least 1 pixel")
    return int(pair[0]), int(pair[1])


def _checked_share(name: str, value: Any, own: float) -> float:
    if value is None:
        return own
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= float(value) <= 1:
        raise ConfigError(f"{name} is {value!r}; a number from 0 to 1 is needed")
    return float(value)


class _StopWatch:
    """Times laps; waits for the device, which works on after a call returns."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.start = time.perf_counter()

    def lap(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        self.start, seconds = now, now - self.start
        return seconds


@contextmanager
def _memory_errors(size: Size) -> Iterator[None]:
    """Turn every way in which torch says that memory is short into one error."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        short = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not short and "allocate memory" not in str(error):
            raise
        raise ImageError(
            f"not enough memory for an image of {size[1]} x {size[0]} pixels; give a smaller input_size or output_size"
        ) from error
