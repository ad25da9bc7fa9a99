"""Images and panoptic PNGs, read with errors that say how to fix them."""

import os
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from yoso.errors import DatasetError, ImageError
from yoso.files.paths import CANNOT_OPEN, PathLike, cannot_open
from yoso.files.writing import written_whole

MAX_PIXELS = 10**9
"""Images with more pixels are refused: as RGB they take more than 3 GB."""

UPLOAD_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
"""What strangers may send. Pillow reads many more formats, some with decoders that are little used and tested."""

_ORIENTATION = 0x0112
_TAIL_BYTES = 4096


class UnknownFormatError(ImageError):
    """Bytes that are not an image in one of `UPLOAD_FORMATS`."""


class _LargeImagesAllowed:
    """Lifts Pillow's limit on pixels, a global of all threads, while any thread opens an image.

    Pillow warns above 89 megapixels and refuses above 179; `_opened` applies `MAX_PIXELS` instead.
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


_large_images_allowed = _LargeImagesAllowed()


@contextmanager
def _opened(
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
        formats: of Pillow; None is all.
    """
    try:
        with ExitStack() as stack:
            with _large_images_allowed:
                image = stack.enter_context(Image.open(content or path, formats=formats))
                _check_size(path, image, error_class)
                if decode:
                    image.load()
            yield image
    except (ImageError, DatasetError):
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
    if width * height > MAX_PIXELS:
        raise error_class(
            f"{path}: is {width} x {height}, more than {MAX_PIXELS // 10**6:,} megapixels; resize or crop it"
        )


def _unidentified(path: PathLike, kind: str) -> str:
    if Path(path).is_file() and Path(path).stat().st_size == 0:
        return f"{path}: is empty; replace it"
    return f"{path}: is not {kind} (or its format is not supported); use a JPEG or PNG file"


def read_image(path: PathLike) -> np.ndarray:
    """Read an image as upright RGB.

    The EXIF orientation is applied; grayscale, palette, CMYK, 16-bit and floating-point images are converted;
    transparent pixels become white; an animation gives its first frame.

    Returns:
        uint8 array (H, W, 3), writable.

    Raises:
        ImageError: the file is missing, empty, truncated, damaged, not an image, not readable or a folder, or the image
            has no pixels or more than `MAX_PIXELS`.
    """
    with _opened(path, ImageError, "an image") as image:
        return to_rgb(image)


def upload_size(content: bytes) -> tuple[int, int]:
    """Return (width, height) of an image that somebody sent; its pixels are not decoded.

    Raises:
        UnknownFormatError: it is not an image in one of `UPLOAD_FORMATS`.
        ImageError: it is damaged, or has no pixels or more than `MAX_PIXELS`.
    """
    with _opened("image", ImageError, "an image", BytesIO(content), decode=False, formats=UPLOAD_FORMATS) as image:
        return image.size


def read_upload(content: bytes) -> np.ndarray:
    """Read an image that somebody sent as upright RGB; see `read_image`. Check `upload_size` first.

    Returns:
        uint8 array (H, W, 3), writable.

    Raises:
        UnknownFormatError: it is not an image in one of `UPLOAD_FORMATS`.
        ImageError: it is damaged or truncated, or has no pixels or more than `MAX_PIXELS`.
    """
    with _opened("image", ImageError, "an image", BytesIO(content), formats=UPLOAD_FORMATS) as image:
        return to_rgb(image)


def to_rgb(image: Image.Image) -> np.ndarray:
    """Convert a PIL image of any mode to upright RGB; the image itself is not changed.

    Returns:
        uint8 array (H, W, 3), writable.

    Raises:
        ImageError: the image has no pixels.
    """
    if 0 in image.size:
        raise ImageError(f"the image has no pixels ({image.width} x {image.height}); give another image")
    image = _upright(image)
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        # Pillow scales a deep PGM file to 16 bits but holds it in 32.
        bits = 32 if image.mode == "F" or (image.mode == "I" and image.format != "PPM") else 16
        gray = _gray_from_deep(np.asarray(image), bits, image.info.get("transparency"))
        return np.repeat(gray[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(image, mask=image.getchannel("A"))
        image = white
    return np.array(image.convert("RGB"))


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; an image with damaged EXIF data is taken as it is."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
        return ImageOps.exif_transpose(image) if orientation in range(2, 9) else image
    except Exception:  # damaged EXIF data raises errors of any class
        return image


def _gray_from_deep(values: np.ndarray, bits: int, transparent: object) -> np.ndarray:
    """Convert grayscale of more than 8 bits to uint8.

    16-bit integers are scaled from 0-65535. 32-bit integers and floats do not say their range: it is 0 to the smallest
    of 1, 255 and 65535 that is not below the largest value, else 0 to that value.

    Args:
        values: (H, W) integers or floats; NaN and infinity count as 0, as do values below 0.
        bits: 16 for integers with a range of 0-65535, or 32.
        transparent: the value of transparent pixels, which become white; anything but an integer means none.

    Returns:
        uint8 array (H, W); integers and floats of equal values give equal arrays.
    """
    scaled = values.astype(np.float32)
    if values.dtype.kind == "f":
        scaled = np.nan_to_num(scaled, copy=False, posinf=0.0, neginf=0.0)
    highest = 65535.0 if bits == 16 else float(scaled.max())
    full = next((limit for limit in (1.0, 255.0, 65535.0) if highest <= limit), highest)
    scaled *= np.float32(255 / full)
    gray = np.clip(np.rint(scaled, out=scaled), 0, 255, out=scaled).astype(np.uint8)
    if isinstance(transparent, int):
        gray[values == transparent] = 255
    return gray


def read_id_map(path: PathLike) -> np.ndarray:
    """Read a COCO panoptic PNG: id = R + 256 G + 65536 B.

    Returns:
        int32 array (H, W); 0 is void.

    Raises:
        DatasetError: the file is missing, damaged or not an RGB PNG.
    """
    with _opened(path, DatasetError, "a panoptic PNG") as image:
        if image.mode not in {"RGB", "RGBA"}:
            raise DatasetError(
                f"{path}: a panoptic PNG is RGB (id = R + 256 G + 65536 B); this one is {image.mode}; write it as RGB"
            )
        return rgb_to_id(np.asarray(image.convert("RGB")))


def read_labels(path: PathLike, content: BytesIO | None = None) -> np.ndarray:
    """Read an image of labels or instance numbers, as benchmarks publish them.

    Args:
        path: of the file, or its name in messages.
        content: what to read instead of the file, such as a member of an archive.

    Returns:
        Palette indices or 8-bit grayscale as uint8 (H, W); deeper grayscale as int32 (H, W); colors as uint8 (H, W, 3).

    Raises:
        DatasetError: the file is missing, damaged, or of another kind.
    """
    with _opened(path, DatasetError, "an image of labels", content) as image:
        if image.mode in {"L", "P", "RGB"}:
            return np.array(image)
        if image.mode == "RGBA":
            return np.array(image.convert("RGB"))
        if image.mode == "I" or image.mode.startswith("I;16"):
            return np.asarray(image).astype(np.int32)
        raise DatasetError(f"{path}: has mode {image.mode}, but labels are 8-bit, 16-bit or RGB; use the original file")


def read_mask(content: BytesIO, name: str) -> np.ndarray:
    """Read the image of a mask, of which all pixels are set that are not 0.

    Args:
        content: the image file.
        name: what messages call it.

    Returns:
        bool array (H, W).

    Raises:
        DatasetError: it is damaged or not an image.
    """
    with _opened(name, DatasetError, "a mask", content) as image:
        values = np.asarray(image if image.mode in {"1", "L", "P", "I", "I;16"} else image.convert("L"))
    return values != 0


def probe_image(path: PathLike, content: BytesIO | None = None) -> tuple[tuple[int, int], str]:
    """Return the size and mode of an image file, and check that the file is complete, if possible without decoding it.

    A PNG must have the right checksums and a JPEG its end marker; all other files are decoded.

    Args:
        path: of the file, or its name in messages.
        content: what to read instead of the file, such as a member of an archive.

    Returns:
        (height, width) in pixels, of the upright image as `read_image` returns it, and Pillow's mode.

    Raises:
        ImageError: see `read_image`.
    """
    with _opened(path, ImageError, "an image", content, decode=False) as image:
        width, height = image.size
        if image.format == "JPEG" and image.getexif().get(_ORIENTATION, 1) in range(5, 9):
            width, height = height, width
        found = ((height, width), image.mode)
        if image.format == "PNG":
            image.verify()
        elif image.format != "JPEG" or not _has_end(image):
            image.load()
    return found


def _has_end(image: Image.Image) -> bool:
    """Look for the end marker of a JPEG; some programs write other bytes after it."""
    stream = getattr(image, "fp", None)
    if stream is None:
        return False
    place = stream.tell()
    length = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, length - _TAIL_BYTES))
    tail = stream.read()
    stream.seek(place)
    return b"\xff\xd9" in tail


def rgb_to_id(rgb: np.ndarray) -> np.ndarray:
    """Decode uint8 colors (H, W, 3) to int32 ids (H, W): R + 256 G + 65536 B."""
    wide = rgb.astype(np.int32)
    return wide[..., 0] | wide[..., 1] << 8 | wide[..., 2] << 16


def id_to_rgb(id_map: np.ndarray) -> np.ndarray:
    """Encode ids (H, W) from 0 to 2^24 - 1 as uint8 colors (H, W, 3); the inverse of `rgb_to_id`."""
    rgb = np.empty((*id_map.shape, 3), np.uint8)
    for channel in range(3):
        rgb[..., channel] = (id_map >> (8 * channel)) & 255
    return rgb


def write_id_map(path: PathLike, id_map: np.ndarray) -> None:
    """Write ids (H, W) as a COCO panoptic PNG, whole or not at all; see `written_whole` for errors."""
    with written_whole(path) as temporary:
        Image.fromarray(id_to_rgb(id_map)).save(temporary, format="PNG", compress_level=1)
