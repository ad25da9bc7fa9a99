"""Images and panoptic PNGs, read with errors that say how to fix them."""

import os
from collections.abc import Iterator
from io import BytesIO

import numpy as np
from PIL import Image

from yoso.errors import DatasetError, ImageError
from yoso.files.opening import UPLOAD_FORMATS, opened
from yoso.files.paths import PathLike
from yoso.files.writing import written_whole

_ORIENTATION = 0x0112
_TAIL_BYTES = 4096

_STRIP_PIXELS = 2**20
"""Pixels that are converted at a time, so that no second copy of a large image is needed."""


def read_image(path: PathLike) -> np.ndarray:
    """Read an image as upright RGB.

    The EXIF orientation is applied; grayscale, palette, CMYK, 16-bit and floating-point images are converted;
    transparent pixels become white; an animation gives its first frame. Only common formats are decoded.

    Returns:
        uint8 array (H, W, 3), writable.

    Raises:
        ImageError: the file is missing, empty, truncated, damaged, not an image, not readable or a folder, or the image
            has no pixels or more than `max_pixels()`.
    """
    with opened(path, ImageError, "an image") as image:
        return to_rgb(image)


def upload_size(content: bytes) -> tuple[int, int]:
    """Return (width, height) of an image that somebody sent; its pixels are not decoded.

    Raises:
        UnknownFormatError: it is not an image in one of `UPLOAD_FORMATS`.
        ImageError: it is damaged, or has no pixels or more than `max_pixels`.
    """
    with opened("image", ImageError, "an image", BytesIO(content), decode=False, formats=UPLOAD_FORMATS) as image:
        return image.size


def read_upload(content: bytes) -> np.ndarray:
    """Read an image that somebody sent as upright RGB; see `read_image`. Check `upload_size` first.

    Returns:
        uint8 array (H, W, 3), writable.

    Raises:
        UnknownFormatError: it is not an image in one of `UPLOAD_FORMATS`.
        ImageError: it is damaged or truncated, or has no pixels or more than `max_pixels`.
    """
    with opened("image", ImageError, "an image", BytesIO(content), formats=UPLOAD_FORMATS) as image:
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
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        pixels = _rgb_of_deep(image)
    else:
        is_transparent = image.has_transparency_data
        pixels = np.empty((image.height, image.width, 3), np.uint8)
        for rows, strip in _strips(image):
            pixels[rows] = np.asarray(_on_white(strip) if is_transparent else strip.convert("RGB"))
    return _upright(pixels, _orientation(image))


def _strips(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """Yield slices of rows, and the part of the image that they are."""
    step = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, step):
        bottom = min(top + step, image.height)
        yield slice(top, bottom), image.crop((0, top, image.width, bottom))


def _on_white(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    white = Image.new("RGB", image.size, (255, 255, 255))
    white.paste(image, mask=image.getchannel("A"))
    return white


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; that of an image with damaged EXIF data is 1."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF data raises errors of any class
        return 1
    return orientation if orientation in range(2, 9) else 1


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn and mirror an array (H, W, 3) as its EXIF orientation says."""
    transposed = pixels.transpose(1, 0, 2)
    turned = {
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: transposed,
        6: transposed[:, ::-1],
        7: transposed[::-1, ::-1],
        8: transposed[::-1],
    }
    return np.ascontiguousarray(turned.get(orientation, pixels))


def _rgb_of_deep(image: Image.Image) -> np.ndarray:
    """Return grayscale of more than 8 bits as RGB.

    16-bit integers are scaled from 0-65535. 32-bit integers and floats do not say their range: it is 0 to the smallest
    of 1, 255 and 65535 that is not below the largest value, else 0 to that value. NaN and infinity count as 0, as do
    values below 0. Integers and floats of equal values give equal pixels.
    """
    highest = 65535.0
    # Pillow scales a deep PGM file to 16 bits but holds it in 32.
    if image.mode == "F" or (image.mode == "I" and image.format != "PPM"):
        highest = max(float(_finite(strip).max()) for _, strip in _strips(image))
    full = next((limit for limit in (1.0, 255.0, 65535.0) if highest <= limit), highest)
    transparent = image.info.get("transparency")
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for rows, strip in _strips(image):
        scaled = _finite(strip)
        scaled *= np.float32(255 / full)
        gray = np.clip(np.rint(scaled, out=scaled), 0, 255, out=scaled).astype(np.uint8)
        if isinstance(transparent, int):
            gray[np.asarray(strip) == transparent] = 255
        pixels[rows] = gray[..., None]
    return pixels


def _finite(image: Image.Image) -> np.ndarray:
    """Return the values as float32 (H, W), with 0 for NaN and infinity."""
    return np.nan_to_num(np.asarray(image).astype(np.float32), copy=False, posinf=0.0, neginf=0.0)


def read_id_map(path: PathLike) -> np.ndarray:
    """Read a COCO panoptic PNG: id = R + 256 G + 65536 B.

    Returns:
        int32 array (H, W); 0 is void.

    Raises:
        DatasetError: the file is missing, damaged or not an RGB PNG.
    """
    with opened(path, DatasetError, "a panoptic PNG") as image:
        if image.mode not in {"RGB", "RGBA"}:
            raise DatasetError(
                f"{path}: a panoptic PNG is RGB (id = R + 256 G + 65536 B); this one is {image.mode}; write it as RGB"
            )
        id_map = np.empty((image.height, image.width), np.int32)
        for rows, strip in _strips(image):
            id_map[rows] = rgb_to_id(np.asarray(strip.convert("RGB")))
        return id_map


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
    with opened(path, DatasetError, "an image of labels", content) as image:
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
    with opened(name, DatasetError, "a mask", content) as image:
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
    with opened(path, ImageError, "an image", content, decode=False) as image:
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
