"""What a video is written to: an MP4 file, numbered pictures, numbered id maps with one JSON."""

import re
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from yoso.categories import Categories
from yoso.data.coco_panoptic import ImageRecord
from yoso.data.prediction_folder import MARK, PredictionWriter
from yoso.errors import DatasetError, OutputError
from yoso.files import PathLike, cannot_write, read_json, written_whole
from yoso.inference.results import coco_segments
from yoso.video.mp4 import Mp4Writer, is_own_video
from yoso.video.stages import VideoFrame

JPEG_QUALITY = 92


@runtime_checkable
class Output(Protocol):
    """Something that frames are written to.

    Attributes:
        path: where it is when it is closed.
    """

    path: Path

    def write(self, frame: VideoFrame) -> None:
        """Add a frame."""
        ...

    def close(self) -> None:
        """Finish, and move everything to its place; nothing is left of an output without frames."""
        ...


def check_replaceable(path: Path, source: PathLike | None) -> None:
    """Make sure that an output replaces nothing but an output of an earlier run.

    Args:
        path: of the output: an MP4, a JSON or a folder.
        source: that is read; None if it is no file.

    Raises:
        OutputError: the path is the source, or holds something else.
    """
    if source is not None and path.resolve() == Path(source).resolve():
        raise OutputError(f"{path}: is the source; choose another --output")
    if not path.exists():
        return
    own = {".mp4": is_own_video, ".json": _is_own_json}.get(path.suffix, _is_own_folder)
    if not own(path):
        raise OutputError(
            f"{path}: exists and was not written by `yoso predict` or `yoso track`; choose another --output"
        )


def _is_own_json(path: Path) -> bool:
    try:
        return isinstance(read_json(path)["info"][MARK], dict)
    except (DatasetError, KeyError, TypeError):
        return False


def _is_own_folder(path: Path) -> bool:
    return path.is_dir() and all(re.fullmatch(r"\d{6,}\.(png|jpg)", child.name) for child in path.iterdir())


class OverlayVideo:
    """The drawn frames as MP4; see `Output`."""

    def __init__(self, writer: Mp4Writer) -> None:
        """Write with `writer`."""
        self.path, self._writer = writer.path, writer

    def write(self, frame: VideoFrame) -> None:
        """See `Output`."""
        assert frame.picture is not None
        self._writer.write(frame.picture, frame.timestamp)

    def close(self) -> None:
        """See `Output`."""
        self._writer.close()


class _NewFolder:
    """A folder that is filled beside its place and takes the place of an earlier one when it is whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path.with_name(f".{path.name[:40]}-{secrets.token_hex(6)}")

    def finish(self) -> None:
        if not self.temporary.is_dir():
            return
        try:
            if self.path.exists():
                shutil.rmtree(self.path)
            self.temporary.rename(self.path)
        except OSError as error:
            raise cannot_write(self.path, error) from error


class OverlayPictures:
    """The drawn frames as `000000.png` or `.jpg`, by frame index; see `Output`."""

    def __init__(self, path: Path, kind: str) -> None:
        """Write nothing yet.

        Args:
            path: of the folder.
            kind: "png" or "jpg".
        """
        self.path, self._kind, self._folder = path, kind, _NewFolder(path)

    def write(self, frame: VideoFrame) -> None:
        """See `Output`."""
        assert frame.picture is not None
        options: dict[str, Any] = {"compress_level": 3} if self._kind == "png" else {"quality": JPEG_QUALITY}
        kind = "PNG" if self._kind == "png" else "JPEG"
        with written_whole(self._folder.temporary / f"{frame.index:06d}.{self._kind}") as temporary:
            Image.fromarray(frame.picture).save(temporary, format=kind, **options)

    def close(self) -> None:
        """See `Output`."""
        self._folder.finish()


class IdMaps:
    """The id map of each frame as `000000.png`, and one COCO panoptic JSON beside the folder; see `Output`.

    The ids are track ids where there are any, so that an id means one object in the whole video.
    """

    def __init__(self, path: Path, categories: Categories, settings: Mapping[str, Any]) -> None:
        """Write nothing yet.

        Args:
            path: of the folder; the JSON has its name and the ending `.json`.
            categories: the model's.
            settings: what the results depend on, for the JSON.
        """
        self.path = path
        self.json_path = path.with_name(f"{path.name}.json")
        self._folder, self._categories = _NewFolder(path), categories
        self._writer = PredictionWriter(path.parent, categories, settings)
        self._writer.annotations, self._writer.masks = self.json_path, self._folder.temporary

    def write(self, frame: VideoFrame) -> None:
        """See `Output`."""
        id_map, infos = by_track(frame.result)
        height, width = id_map.shape
        name = f"{frame.index:06d}.png"
        record = ImageRecord(frame.index, name, name, height, width)
        self._writer.masks.mkdir(parents=True, exist_ok=True)
        self._writer.add(record, id_map, coco_segments(infos, self._categories), {"timestamp": frame.timestamp})

    def close(self) -> None:
        """See `Output`."""
        if not len(self._writer):
            shutil.rmtree(self._folder.temporary, ignore_errors=True)
            return
        self._folder.finish()
        self._writer.close()


def by_track(result: Mapping[str, Any]) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Return the id map and segments of a result with track ids instead of segment ids.

    Args:
        result: as a predictor or a tracker returns it; without track ids it is returned as it is.

    Returns:
        int32 (H, W), and the segments.
    """
    infos = list(result["segments_info"])
    if not infos or any(info.get("track_id") is None for info in infos):
        return result["segmentation"], infos
    table = np.zeros(max(info["id"] for info in infos) + 1, np.int32)
    for info in infos:
        table[info["id"]] = info["track_id"]
    return table[result["segmentation"]], [{**info, "id": info["track_id"]} for info in infos]


class OutputGroup:
    """Some outputs as one. As a context manager it closes them in any case, so that what was done stays usable."""

    def __init__(self, outputs: list[Output]) -> None:
        """Write to all of `outputs`."""
        self.outputs = outputs

    def write(self, frame: VideoFrame) -> VideoFrame:
        """Add a frame to each output, and return it."""
        for output in self.outputs:
            output.write(frame)
        return frame

    def close(self) -> None:
        """Close all outputs.

        Raises:
            OutputError: one cannot be finished; the others are.
        """
        errors = []
        for output in self.outputs:
            try:
                output.close()
            except OutputError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def __enter__(self) -> "OutputGroup":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        with suppress(OutputError):  # the first error tells more
            self.close()
