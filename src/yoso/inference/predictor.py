"""From an image to its segments: one call around reading, resizing, the network and the merge."""

import time
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike as OsPathLike
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from PIL import Image

from yoso.categories import Categories
from yoso.errors import ConfigError, ImageError
from yoso.files import PathLike, read_image, to_rgb
from yoso.inference.engine import Engine, Request, Timings
from yoso.inference.tiles import segment_tiles
from yoso.installation import optional_packages
from yoso.postprocess.numpy_merge import PanopticArrays
from yoso.postprocess.stitching import checked_tiles
from yoso.preprocess import Size
from yoso.settings import InferenceConfig, checked_setting, checked_size

if TYPE_CHECKING:
    from torch import Tensor

    from yoso.model.yoso import YOSO
    from yoso.postprocess.segments import Sizes

ImageLike = PathLike | Image.Image | np.ndarray
InputSize = Size | Literal["native"] | None
TileSize = int | tuple[int, int] | None
Result = dict[str, Any]
OWN_SIZE = (0, 0)
"""Output size that stands for the image's own."""


class Predictor:
    """A network ready to segment images. Several threads may call it at the same time, and it can be pickled.

    Attributes:
        engine: what runs the network.
        categories: what its classes are.
        inference: its own thresholds and input size, which a call may override.
        about: free facts: licence, data, training.
    """

    def __init__(
        self, engine: Engine, categories: Categories, inference: InferenceConfig, about: dict[str, Any] | None = None
    ) -> None:
        """Put the parts together; `yoso.load` does so for a model folder or an exported file."""
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
        """What runs the network: "torch", "onnxruntime" or "openvino"."""
        return self.engine.runtime

    @property
    def has_embeddings(self) -> bool:
        """Whether a call may ask for embeddings: in torch, and for ONNX files exported with --embeddings."""
        return self.engine.has_embeddings

    @property
    def network(self) -> "YOSO":
        """The PyTorch module that runs: the network's deployment form, on `device`, in evaluation mode.

        It differs from the trained network by rounding only, and cannot be trained.

        Raises:
            ConfigError: the predictor runs an exported file, which has no such module.
        """
        if self.runtime != "torch":
            raise ConfigError(
                f"this predictor runs an exported file with {self.runtime}, so it has no PyTorch module; load with "
                "runtime='torch'"
            )
        engine: Any = self.engine
        return engine.network

    # The implementation accepts anything, because it checks its arguments; the overloads say what is correct.
    @overload
    def __call__(
        self,
        image: ImageLike,
        input_size: InputSize = None,
        output_size: Size | None = None,
        object_mask_threshold: float | None = None,
        overlap_threshold: float | None = None,
        with_embeddings: bool = False,
        tiles: TileSize = None,
    ) -> Result: ...

    @overload
    def __call__(
        self,
        image: Sequence[ImageLike],
        input_size: InputSize = None,
        output_size: Size | None = None,
        object_mask_threshold: float | None = None,
        overlap_threshold: float | None = None,
        with_embeddings: bool = False,
        tiles: TileSize = None,
    ) -> list[Result]: ...

    def __call__(
        self,
        image: Any,
        input_size: Any = None,
        output_size: Any = None,
        object_mask_threshold: Any = None,
        overlap_threshold: Any = None,
        with_embeddings: bool = False,
        tiles: Any = None,
    ) -> Any:
        """Segment an image, or each image of a list in turn.

        Args:
            image: a path, a PIL image, or an RGB array (H, W, 3) of uint8; or a list or tuple of them.
            input_size: (shorter, longest) scales the shorter side to `shorter` pixels, or to less if the longer side
                would exceed `longest`; "native" is no resizing; None is the model's own input size.
            output_size: (H, W) of the result in pixels; None is the image's own.
            object_mask_threshold: a query takes part if its class score is above this, 0 to 1; None is the model's.
            overlap_threshold: a segment is dropped if its query wins less than this share of its own mask, 0 to 1; None
                is the model's.
            with_embeddings: also return what a segment looks like to the network, for tracking.
            tiles: side of square tiles in pixels of the image, or (side, overlap); every tile is segmented by itself,
                resized as an image of its size, and the results are joined (`yoso.postprocess.stitching` has the rule).
                For images with more objects than queries, or that are too large for one pass. None is a single pass.

        Returns:
            A dictionary, or a list of them for a list, with `segmentation`, an int32 array (H, W) of segment ids, 0 for
            void, and `segments_info`, a list in id order, ids from 1, of `id`, `label_id` (class index), `label`,
            `is_thing`, `score` (0 to 1), `area` (pixels) and `bbox` ([x, y, w, h] in pixels), all plain Python values.
            With embeddings, also `embedding`, a float32 array (C,): the kernel of the segment's query.

        Raises:
            ImageError: an image cannot be read, an array is not RGB uint8, or there is too little memory.
            ConfigError: a size or a threshold is not valid, an exported file does not take this size or has no
                embeddings, or tiles are combined with another output size or with embeddings.
        """
        options = {
            "input_size": input_size,
            "output_size": output_size,
            "object_mask_threshold": object_mask_threshold,
            "overlap_threshold": overlap_threshold,
            "with_embeddings": with_embeddings,
            "tiles": tiles,
        }
        if isinstance(image, list | tuple):
            return [self._segmented(one, False, options)[0] for one in image]
        return self._segmented(image, False, options)[0]

    def timed(self, image: Any, **options: Any) -> tuple[Result, Timings]:
        """Segment one image and measure the duration of each step; arguments and errors as in a call.

        The host waits for a GPU after each step, not only once at the end as in a call.
        """
        return self._segmented(image, True, options)

    def _segmented(self, image: Any, timed: bool, options: dict[str, Any]) -> tuple[Result, Timings]:
        options = dict(options)
        tiles = options.pop("tiles", None)
        request = replace(self._request(**options), timed=timed)
        if tiles is not None:
            tiles = checked_tiles(tiles)
            if request.output_size != OWN_SIZE:
                raise ConfigError("output_size cannot be combined with tiles; resize the result afterwards")
            if request.with_embeddings:
                raise ConfigError("with_embeddings cannot be combined with tiles: a segment may come from several")
        start = time.perf_counter()
        pixels = rgb_array(image)
        read_seconds = time.perf_counter() - start
        if tiles is not None:
            arrays, timings = segment_tiles(self.engine, pixels, request, tiles, self.categories.is_thing)
        else:
            if request.output_size == OWN_SIZE:
                request = replace(request, output_size=(pixels.shape[0], pixels.shape[1]))
            arrays, timings = self.engine.segment(pixels, request)
        return self._plain(arrays), replace(timings, read_seconds=read_seconds)

    def outputs(self, image: ImageLike, input_size: InputSize = None) -> "tuple[Tensor, Tensor, Sizes]":
        """Run the network without the merge, for other results than a panoptic one.

        Args:
            image: a path, a PIL image, or an RGB array (H, W, 3) of uint8.
            input_size: as in a call.

        Returns:
            Class logits (N, K+1), mask logits (N, h, w), both on the predictor's device, and the sizes that the
            functions of `yoso.postprocess` take with them; the output size is the image's own.

        Raises:
            ImageError: the image cannot be read, or the array is not RGB uint8.
            ConfigError: the size is not valid, an exported file has the merge inside, or PyTorch is not installed.
        """
        with optional_packages("Predictor.outputs"):
            import torch

        pixels = rgb_array(image)
        request = replace(self._request(input_size=input_size), output_size=(pixels.shape[0], pixels.shape[1]))
        class_logits, mask_logits, sizes = self.engine.logits(pixels, request)
        return torch.as_tensor(class_logits), torch.as_tensor(mask_logits), sizes

    def _request(self, output_size: Any = None, with_embeddings: bool = False, **settings: Any) -> Request:
        """Check the arguments of a call; the size `OWN_SIZE` stands for the image's own."""
        if with_embeddings and not self.has_embeddings:
            raise ConfigError(
                "this exported file gives no embeddings; load the model with runtime='torch', or export it as ONNX "
                "with --embeddings"
            )
        given = {name: value for name, value in settings.items() if value is not None}
        size = given.get("input_size")
        if isinstance(size, str):
            if size != "native":
                raise ConfigError(f"input_size is {size!r}; give (shorter, longest) in pixels, 'native' or None")
            given["input_size"] = None
        inference = replace(self.inference, **{name: checked_setting(name, value) for name, value in given.items()})
        return Request(
            inference.input_size,
            OWN_SIZE if output_size is None else checked_size("output_size", output_size, "(height, width)"),
            inference.thresholds,
            with_embeddings=with_embeddings,
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
        if result.embeddings is not None:
            for info, embedding in zip(infos, result.embeddings, strict=True):
                info["embedding"] = embedding
        return {"segmentation": result.segmentation, "segments_info": infos}


def rgb_array(image: Any) -> np.ndarray:
    """Return an image as a uint8 RGB array (H, W, 3); an array is checked and not copied.

    Raises:
        ImageError: a file cannot be read, or an array has another shape or type.
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
