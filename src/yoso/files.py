"""Files, read with errors a person can act on and written whole or not at all."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from yoso.errors import DatasetError, ImageError, OutputError

PathLike = str | os.PathLike[str]


@contextmanager
def written_whole(path: PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds, remove it if not.

    Raises:
        OutputError: the folder cannot be made or written, or the disk is full.
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror or error})") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def read_json(path: PathLike) -> Any:
    """Read a JSON file.

    Raises:
        DatasetError: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DatasetError(f"{path}: is not a JSON file ({error})") from error


def write_json(path: PathLike, content: Any, indent: int | None = None) -> None:
    """Write a JSON file whole or not at all; see `written_whole` for errors."""
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(content, indent=indent))


def read_image(path: PathLike) -> np.ndarray:
    """Read a photograph as RGB, upright.

    EXIF orientation is applied; greyscale, palette, CMYK and 16-bit images are converted; transparency is laid over
    white.

    Returns:
        uint8 array (H, W, 3).

    Raises:
        ImageError: the file is missing, empty, truncated or not an image.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return to_rgb(image)
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file") from error
    except UnidentifiedImageError as error:
        size = Path(path).stat().st_size
        raise ImageError(f"{path}: is empty" if size == 0 else f"{path}: is not an image Pillow can read") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path}: cannot be read as an image ({error})") from error


def to_rgb(image: Image.Image) -> np.ndarray:
    """Convert a PIL image of any mode to an upright RGB array (H, W, 3), uint8."""
    image = ImageOps.exif_transpose(image)
    if image.mode in {"I;16", "I;16B", "I;16L", "I", "F"}:
        values = np.asarray(image).astype(np.float64)
        scale = 255 / 65535 if image.mode != "F" or values.max(initial=0) > 255 else 1.0
        grey = np.clip(np.rint(values * scale), 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return np.asarray(image.convert("RGB"))


def read_id_map(path: PathLike) -> np.ndarray:
    """Read a COCO panoptic PNG: id = R + 256 G + 65536 B.

    Returns:
        int32 array (H, W); 0 is void.

    Raises:
        DatasetError: the file is missing, damaged or not an RGB PNG.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in {"RGB", "RGBA"}:
                raise DatasetError(
                    f"{path}: a panoptic PNG is RGB (id = R + 256 G + 65536 B); this one is {image.mode}"
                )
            rgb = np.asarray(image.convert("RGB"))
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such file") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path}: cannot be read as a panoptic PNG ({error})") from error
    return rgb_to_id(rgb)


def rgb_to_id(rgb: np.ndarray) -> np.ndarray:
    """Decode (H, W, 3) uint8 colours to (H, W) int32 ids: R + 256 G + 65536 B."""
    wide = rgb.astype(np.int32)
    return wide[..., 0] | wide[..., 1] << 8 | wide[..., 2] << 16


def id_to_rgb(id_map: np.ndarray) -> np.ndarray:
    """Encode (H, W) ids from 0 to 2^24 - 1 as (H, W, 3) uint8 colours; the inverse of `rgb_to_id`."""
    rgb = np.empty((*id_map.shape, 3), np.uint8)
    for channel in range(3):
        rgb[..., channel] = (id_map >> (8 * channel)) & 255
    return rgb


def write_id_map(path: PathLike, id_map: np.ndarray) -> None:
    """Write (H, W) ids as a COCO panoptic PNG, whole or not at all."""
    with written_whole(path) as temporary:
        Image.fromarray(id_to_rgb(id_map)).save(temporary, format="PNG", compress_level=1)
