"""From an uploaded image to its result: checks, queue, network, encoding."""

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from yoso.errors import ImageError
from yoso.files import UnknownFormatError, read_upload, upload_size
from yoso.inference.predictor import Predictor, Result
from yoso.preprocess import resized_size
from yoso.serve.metrics import Metrics
from yoso.serve.models import Models
from yoso.serve.problems import Problem
from yoso.serve.settings import Limits, ServerSettings
from yoso.serve.work import WorkQueue

T = TypeVar("T")
Source = bytes | np.ndarray
"""An image file's bytes, or RGB pixels, uint8 (H, W, 3)."""

STAGES = ("resize", "network", "merge")


class Service:
    """What all interfaces of the server share.

    Attributes:
        settings: of the server.
        metrics: to record in.
        models: to use.
        queue: of images that wait.
    """

    def __init__(self, settings: ServerSettings) -> None:
        """Put the parts together; nothing is loaded or started."""
        self.settings = settings
        self.metrics = Metrics()
        self.models = Models(settings.sources, settings.options)
        self.queue = WorkQueue(settings.threads, settings.limits.queue_length, self.metrics)

    @property
    def limits(self) -> Limits:
        """Limits on requests."""
        return self.settings.limits

    @property
    def is_ready(self) -> bool:
        """Say whether requests are accepted."""
        return self.models.is_ready and not self.queue.is_draining

    async def segment(
        self,
        model: str | None,
        source: Source,
        options: Mapping[str, Any],
        finish: Callable[[str, Predictor, np.ndarray, Result], T],
    ) -> T:
        """Segment an image in one of the threads.

        Args:
            model: name; None is the default one.
            source: the image, not yet checked.
            options: arguments of the predictor's call, checked.
            finish: turns name and predictor, pixels and result into what is returned, in the same thread.

        Raises:
            Problem: there is no such model, it is not ready, the queue is full, or the time is over.
            YosoError: the image is refused or unreadable; see `checked_pixels`.
        """
        name, predictor = self.models.get(model)

        def work() -> T:
            start = time.perf_counter()
            pixels = checked_pixels(source, predictor, options, self.limits)
            self.metrics.stage("read", time.perf_counter() - start)
            result, timings = predictor.timed(pixels, **options)
            for stage in STAGES:
                self.metrics.stage(stage, getattr(timings, f"{stage}_seconds"))
            start = time.perf_counter()
            finished = finish(name, predictor, pixels, result)
            self.metrics.stage("encode", time.perf_counter() - start)
            return finished

        return await self.queue.run(work, self.limits.request_seconds)


def checked_pixels(source: Source, predictor: Predictor, options: Mapping[str, Any], limits: Limits) -> np.ndarray:
    """Decode an image if its size is within the limits.

    Args:
        source: file or pixels.
        predictor: whose input size counts if `options` has none.
        options: arguments of the predictor's call.
        limits: on pixels and shape; checked before decoding.

    Raises:
        Problem: the format is not supported, or the image or the network's input would be too large or too narrow.
        ImageError: the image is damaged.
    """
    try:
        width, height = upload_size(source) if isinstance(source, bytes) else (source.shape[1], source.shape[0])
    except UnknownFormatError as error:
        raise Problem("unsupported-media-type", str(error)) from error
    if min(width, height) < 1:
        raise ImageError(f"the image has no pixels ({width} x {height}); give another image")
    _check_pixels(f"the image is {width} x {height}", width * height, limits.pixels, "resize it")
    if max(width, height) > limits.aspect_ratio * min(width, height):
        raise ImageError(
            f"the image is {width} x {height}; the longer side is at most {limits.aspect_ratio:g} times the shorter"
        )
    size = options.get("input_size", predictor.inference.input_size)
    rows, columns = resized_size((height, width), None if size == "native" else size)
    said = f"the image would be resized to {columns} x {rows}"
    _check_pixels(said, rows * columns, limits.network_pixels, "give a smaller input_size")
    return read_upload(source) if isinstance(source, bytes) else source


def _check_pixels(said: str, pixels: int, limit: int, advice: str) -> None:
    if pixels > limit:
        raise Problem("too-large", f"{said}, more than {limit / 1e6:g} million pixels; {advice}")
