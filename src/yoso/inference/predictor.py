"""From a photograph to its segments: one call around reading, resizing, the network and the merge."""

import time
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral, Real
from os import PathLike as OsPathLike
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from PIL import Image

from yoso.categories import Categories
from yoso.errors import ConfigError, ImageError
from yoso.files import PathLike, read_image, to_rgb
from yoso.inference.engine import Engine, Request, Timings
from yoso.installation import optional_packages
from yoso.postprocess.numpy_merge import PanopticArrays
from yoso.preprocess import Size
from yoso.settings import InferenceConfig

if TYPE_CHECKING:
    from torch import Tensor

    from yoso.postprocess.segments import Sizes

Photo = PathLike | Image.Image | np.ndarray
InputSize = Size | Literal["native"] | None
Result = dict[str, Any]
OWN_SIZE = (0, 0)


class Predictor:
    """A network ready to segment photographs. Calls from several threads do not disturb each other.

    Attributes:
        engine: what runs the network; `engine.runtime` and `engine.device` say where.
        categories: what its classes are.
        inference: its own thresholds and input size, which a call may override.
        about: free facts: licence, data, training.
    """

    def __init__(
        self, engine: Engine, categories: Categories, inference: InferenceConfig, about: dict[str, Any] | None = None
    ) -> None:
        """Put the parts together; `yoso.load` does it for a model folder or an exported file."""
        self.engine = engine
        self.categories = categories
        self.inference = inference
        self.about = dict(about or {})

    @property
    def device(self) -> str:
        """Where the network runs: "cpu", "cuda:0", ..."""
        return self.engine.device

    @property
    def runtime(self) -> str:
        """What runs it: "torch", "onnxruntime" or "openvino"."""
        return self.engine.runtime

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
        options = {
            "input_size": input_size,
            "output_size": output_size,
            "object_mask_threshold": object_mask_threshold,
            "overlap_threshold": overlap_threshold,
        }
        if isinstance(image, list | tuple):
            return [self._segmented(one, False, options)[0] for one in image]
        return self._segmented(image, False, options)[0]

    def timed(self, image: Any, **options: Any) -> tuple[Result, Timings]:
        """Segment one photograph and say how long each step took; arguments and errors as in a call.

        A GPU is waited for after each step, which a call does only once, at the end.
        """
        return self._segmented(image, True, options)

    def _segmented(self, image: Any, timed: bool, options: dict[str, Any]) -> tuple[Result, Timings]:
        request = replace(self._request(**options), timed=timed)
        start = time.perf_counter()
        pixels = rgb_array(image)
        read_seconds = time.perf_counter() - start
        if request.output_size == OWN_SIZE:
            request = replace(request, output_size=(pixels.shape[0], pixels.shape[1]))
        arrays, timings = self.engine.segment(pixels, request)
        return self._plain(arrays), replace(timings, read_seconds=read_seconds)

    def outputs(self, image: Photo, input_size: InputSize = None) -> "tuple[Tensor, Tensor, Sizes]":
        """Run the network alone, for those who make something else of its logits than a panoptic result.

        Args:
            image: a path, a PIL image, or an RGB array (H, W, 3) of uint8.
            input_size: as in a call.

        Returns:
            Class logits (N, K+1), mask logits (N, h, w), both on the predictor's device, and the sizes that the
            functions of `yoso.postprocess` take with them; the output's is the photograph's own.

        Raises:
            ImageError: a photograph that cannot be read, or an array that is not RGB uint8.
            ConfigError: a size below 1 pixel, an exported file that has the merge inside, or PyTorch is not installed.
        """
        with optional_packages("Predictor.outputs"):
            import torch

        pixels = rgb_array(image)
        request = replace(self._request(input_size), output_size=(pixels.shape[0], pixels.shape[1]))
        class_logits, mask_logits, sizes = self.engine.logits(pixels, request)
        return torch.as_tensor(class_logits), torch.as_tensor(mask_logits), sizes

    def _request(
        self,
        input_size: Any = None,
        output_size: Any = None,
        object_mask_threshold: Any = None,
        overlap_threshold: Any = None,
    ) -> Request:
        """Check a call's arguments; `OWN_SIZE` stands for the photograph's own size."""
        own = self.inference
        if input_size is None:
            network_size = own.input_size
        elif isinstance(input_size, str):
            if input_size != "native":
                raise ConfigError(f"input_size is {input_size!r}; give (shorter, longest) in pixels, 'native' or None")
            network_size = None
        else:
            network_size = _checked_size("input_size", input_size, "(shorter, longest)")
        return Request(
            network_size,
            OWN_SIZE if output_size is None else _checked_size("output_size", output_size, "(height, width)"),
            _checked_share("object_mask_threshold", object_mask_threshold, own.object_mask_threshold),
            _checked_share("overlap_threshold", overlap_threshold, own.overlap_threshold),
        )

    def _plain(self, result: PanopticArrays) -> Result:
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
        return {"segmentation": result.segmentation, "segments_info": infos}


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
