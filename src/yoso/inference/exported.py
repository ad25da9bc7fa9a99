"""What all exported files share: the document that describes them, and running a network that ends in logits."""

import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from yoso.categories import Categories
from yoso.errors import CheckpointError, ConfigError, DatasetError
from yoso.files import PathLike
from yoso.inference.engine import Request, Timings
from yoso.inference.memory import memory_errors
from yoso.installation import installed_version
from yoso.postprocess.numpy_merge import PanopticArrays, panoptic_numpy
from yoso.postprocess.segments import Sizes
from yoso.preprocess import SIZE_DIVISOR, Size, pad_with, resize, resized_size
from yoso.settings import InferenceConfig, checked_size, config_from_json

METADATA = "yoso"
"""Key of a file's metadata under which `yoso export` stores its description, one JSON document."""

STRIDE = 4
"""Of the mask logits."""

Logits = tuple[np.ndarray, np.ndarray]
"""Class logits (N, K+1) and mask logits (N, h, w) of one image."""


@dataclass(frozen=True)
class Description:
    """What an exported file says about itself: enough to use it without the model folder.

    Attributes:
        form: "panoptic" takes an image and gives segments; "raw" gives logits.
        size: the only (height, width) that the file takes, or None for any.
        categories: what its classes are.
        inference: thresholds and input size.
        pixel_mean: RGB, 0 to 255; subtracted from the pixels by the network.
        pixel_std: divides what is left.
        about: free facts: licence, data, training.
        source_sha256: of the weights' file that it was made from; empty if there was none.
    """

    form: str
    size: Size | None
    categories: Categories
    inference: InferenceConfig
    pixel_mean: tuple[float, ...]
    pixel_std: tuple[float, ...]
    about: Mapping[str, Any]
    source_sha256: str

    def to_json(self) -> str:
        """Return the document."""
        content = {
            "form": self.form,
            "size": self.size,
            "categories": self.categories.to_json(),
            "inference": asdict(self.inference),
            "pixel_mean": self.pixel_mean,
            "pixel_std": self.pixel_std,
            "about": self.about,
            "source_sha256": self.source_sha256,
            "yoso": installed_version(),
        }
        return json.dumps(content)

    @classmethod
    def from_json(cls, text: str, path: PathLike) -> "Description":
        """Read the document.

        Args:
            text: the document.
            path: of the file, for errors.

        Raises:
            CheckpointError: a key is missing, or a value is wrong.
        """
        try:
            content = json.loads(text)
            size = content["size"]
            return cls(
                _one_of(content["form"], ("panoptic", "raw")),
                None if size is None else checked_size("size", size, "(height, width)"),
                Categories.from_json(content["categories"], "categories"),
                config_from_json(InferenceConfig, content["inference"]),
                _channels("pixel_mean", content["pixel_mean"]),
                _channels("pixel_std", content["pixel_std"]),
                dict(content["about"]),
                str(content["source_sha256"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{path}: its metadata is not what `yoso export` writes ({error!r}); export the model again"
            ) from error
        except (ConfigError, DatasetError) as error:
            raise CheckpointError(f"{path}: its metadata: {error}") from error


def _one_of(value: Any, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ConfigError(f"form is {value!r}; it must be {' or '.join(known)}")
    return value


def _channels(name: str, values: Any) -> tuple[float, ...]:
    numbers = tuple(values) if isinstance(values, list) else ()
    good = [
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) for value in numbers
    ]
    if good != [True] * 3:
        raise ConfigError(f"{name} is {values!r}; three numbers are needed")
    return numbers


class ExportedEngine:
    """An exported network in one runtime. A runtime's engine sets `runtime` and implements `run`.

    A pickle of it holds the file's path: unpickling opens the file again, so the file must still exist.

    Attributes:
        path: of the file.
        device: "cpu", "cuda:0", ...
        categories: what the classes are.
        inference: thresholds and input size of the file.
        about: free facts: licence, data, training.
        source_sha256: of the weights that the file was made from; empty if they came from no file.
        size: the only (height, width) that the network takes, or None for any.
        size_divisor: `run` takes images whose sides are multiples of this.
        has_embeddings: whether the file gives the kernels of its queries.
    """

    runtime: str
    has_embeddings = False
    size_divisor = SIZE_DIVISOR

    def __init__(self, path: PathLike, device: str, description: Description) -> None:
        """Keep what the file says about itself.

        Args:
            path: of the file.
            device: where the network runs; opening the file again takes the same name.
            description: of the file.
        """
        self.path = Path(os.path.abspath(path))
        self.device = device
        self.categories = description.categories
        self.inference = description.inference
        self.about = dict(description.about)
        self.source_sha256 = description.source_sha256
        self.size = description.size
        self._mean = description.pixel_mean

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.device)

    @property
    def precision(self) -> str:
        """Precision of most of the network: "fp32", "fp16", "bf16" or "int8"."""
        return "fp32"

    def run(self, images: np.ndarray) -> Logits:
        """Run the network on one prepared image.

        Args:
            images: float32 (1, 3, H, W), RGB 0 to 255, C-contiguous, padded with the mean colour.
        """
        raise NotImplementedError

    def run_with_kernels(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Run the network as `run` does, and also return the kernels (N, C); for files with `has_embeddings`."""
        raise NotImplementedError

    def segment(self, pixels: np.ndarray, request: Request) -> tuple[PanopticArrays, Timings]:
        """Segment one image; see `Engine`."""
        with memory_errors((pixels.shape[0], pixels.shape[1])):
            start = time.perf_counter()
            images, size = self._prepared(pixels, request)
            resized = time.perf_counter()
            kernels = None
            if request.with_embeddings:
                class_logits, mask_logits, kernels = self.run_with_kernels(images)
            else:
                class_logits, mask_logits = self.run(images)
            ran = time.perf_counter()
            sizes = _sizes(mask_logits, size, request)
            result = panoptic_numpy(class_logits, mask_logits, sizes, self.categories.is_thing, request.thresholds)
            if kernels is not None:
                result = replace(result, embeddings=kernels[[segment.query for segment in result.segments]])
        return result, Timings(0.0, resized - start, ran - resized, time.perf_counter() - ran)

    def logits(self, pixels: np.ndarray, request: Request) -> tuple[np.ndarray, np.ndarray, Sizes]:
        """Run the network without the merge on one image; see `Engine`."""
        with memory_errors((pixels.shape[0], pixels.shape[1])):
            images, size = self._prepared(pixels, request)
            class_logits, mask_logits = self.run(images)
        return class_logits, mask_logits, _sizes(mask_logits, size, request)

    def _prepared(self, pixels: np.ndarray, request: Request) -> tuple[np.ndarray, Size]:
        """Return the network's input, and the size of the part that is not padding."""
        small = self.resized(pixels, request)
        # Padding with the mean becomes the zeros after normalisation that the network was trained with.
        padded = pad_with(small, self._mean, self.size_divisor)
        return np.ascontiguousarray(padded.transpose(2, 0, 1)[None]), (small.shape[0], small.shape[1])

    def resized(self, pixels: np.ndarray, request: Request) -> np.ndarray:
        """Return the image at the request's input size.

        Raises:
            ConfigError: the network was exported for another size.
        """
        size = resized_size((pixels.shape[0], pixels.shape[1]), request.input_size)
        if self.size is not None and size != self.size:
            raise ConfigError(
                f"{self.path}: was exported for {self.size[0]} x {self.size[1]} (height x width) only, and this image "
                f"becomes {size[0]} x {size[1]}; give another input size or image, or export without --fixed-size"
            )
        return resize(pixels, size)


def _sizes(mask_logits: np.ndarray, size: Size, request: Request) -> Sizes:
    padded = (STRIDE * mask_logits.shape[1], STRIDE * mask_logits.shape[2])
    return Sizes(padded, size, request.output_size)


def num_threads() -> int:
    """Return OMP_NUM_THREADS, or 0 for as many threads as there are cores."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isdigit() else 0
