"""Opening image files from anybody: known formats only, with a limit on pixels, and errors that say how to fix them."""

import os
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib import import_module
from io import BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from yoso.errors import ConfigError, DatasetError, ImageError
from yoso.files.paths import CANNOT_OPEN, PathLike, cannot_open, refuse_special
from yoso.settings import MAX_PIXELS_VARIABLE, max_pixels

_PLUGINS = {
    "PNG": "Png",
    "JPEG": "Jpeg",
    "GIF": "Gif",
    "BMP": "Bmp",
    "PPM": "Ppm",
    "WEBP": "WebP",
    "TIFF": "Tiff",
    "JPEG2000": "Jpeg2K",
    "AVIF": "Avif",
    "TGA": "Tga",
}
"""The formats that are decoded, with the names of their Pillow plugins. Others, such as PostScript, start programs."""

UPLOAD_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
"""What strangers may send to a server: the formats that browsers and cameras write."""


class UnknownFormatError(ImageError):
    """Bytes that are not an image in one of the formats asked for."""


@cache
def image_formats() -> tuple[str, ...]:
    """Return the formats that are decoded, as far as this Pillow has them."""
    known = []
    for name, plugin in _PLUGINS.items():
        try:
            import_module(f"PIL.{plugin}ImagePlugin")
        except ImportError:
            continue
        if name in Image.OPEN:
            known.append(name)
    return tuple(known)


class _LargeImagesAllowed:
    """Lifts Pillow's limit on pixels, a global of all threads, while any thread opens an image.

    Pillow warns above 89 megapixels and refuses above 179; `opened` applies `max_pixels` instead.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._limit: int | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                Image.MAX_IMAGE_PIXELS = self._limit


class _PixelBudget:
    """Lets the threads of a process decode at most `max_pixels` pixels at a time, or one image."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what other threads decode: after a fork, they do not exist."""
        self._changed = threading.Condition()
        self._pixels = 0

    @contextmanager
    def taken(self, pixels: int) -> Generator[None, None, None]:
        """Wait until the image fits, and count it inside the block."""
        limit = max_pixels()
        with self._changed:
            self._changed.wait_for(lambda: self._pixels == 0 or self._pixels + pixels <= limit)
            self._pixels += pixels
        try:
            yield
        finally:
            with self._changed:
                self._pixels -= pixels
                self._changed.notify_all()


large_images_allowed = _LargeImagesAllowed()
budget = _PixelBudget()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=budget.reset)


@contextmanager
def opened(
    path: PathLike,
    error_class: type[ImageError] | type[DatasetError],
    kind: str,
    content: BytesIO | None = None,
    *,
    decode: bool = True,
    formats: tuple[str, ...] | None = None,
) -> Generator[Image.Image, None, None]:
    """Open and decode an image file; every error of a damaged file becomes one line of `error_class`.

    Args:
        path: of the file, or its name in messages.
        error_class: of the error.
        kind: what the file should be, with its article.
        content: what to read instead of the file, such as a member of an archive.
        decode: read the pixels, not only the header.
        formats: to choose from; by default, `image_formats`.
    """
    if content is None:
        refuse_special(path, kind, error_class)
    try:
        with ExitStack() as stack:
            with large_images_allowed:
                image = stack.enter_context(Image.open(content or path, formats=formats or image_formats()))
                _check_size(path, image, error_class)
            stack.enter_context(budget.taken(image.width * image.height))
            if decode:
                image.load()
            yield image
    except (ImageError, DatasetError, ConfigError):
        raise
    except CANNOT_OPEN as error:
        raise error_class(cannot_open(path, error, kind)) from error
    except UnidentifiedImageError as error:
        if formats is not None:
            raise UnknownFormatError(f"{path}: is not {kind} in one of the formats {', '.join(formats)}") from error
        raise error_class(_unidentified(path, kind)) from error
    except Exception as error:  # damaged files make decoders raise errors of any class, even SyntaxError
        reason = " ".join(str(error).split()) or type(error).__name__
        raise error_class(f"{path}: is damaged and cannot be read as {kind} ({reason}); replace it") from error


def _check_size(path: PathLike, image: Image.Image, error_class: type[ImageError] | type[DatasetError]) -> None:
    width, height = image.size
    if width == 0 or height == 0:
        raise error_class(f"{path}: has no pixels ({width} x {height}); replace it")
    if width * height > max_pixels():
        raise error_class(
            f"{path}: is {width} x {height}, more than {max_pixels() / 10**6:,g} megapixels; resize or crop it, or "
            f"raise the limit with --max-pixels or {MAX_PIXELS_VARIABLE}"
        )


def _unidentified(path: PathLike, kind: str) -> str:
    if Path(path).is_file() and Path(path).stat().st_size == 0:
        return f"{path}: is empty; replace it"
    return f"{path}: is not {kind} (or its format is not supported); use a JPEG or PNG file"
