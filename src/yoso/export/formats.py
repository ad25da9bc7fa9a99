"""The table of export formats. Loads no torch; to add a format, add a row to `FORMATS`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from yoso.errors import ConfigError, did_you_mean
from yoso.inference.runtimes import RUNTIMES

if TYPE_CHECKING:
    import numpy as np

    from yoso.export.check import Parity
    from yoso.weights.model_folder import Model

MIN_SIDE = 64
"""Of a fixed size, in pixels; below it, the coarsest map has a single position."""


@dataclass(frozen=True)
class ExportFormat:
    """A format of exported files.

    Attributes:
        name: for `yoso export --format`.
        suffix: of its files.
        runtime: that runs its files here (see `yoso.inference.runtimes`); None if only other programs do.
        precisions: that files of each form have; the first form is the default.
        writer: `module:function` that takes a model, an `ExportTarget` and images, and returns a `Parity` or None.
        divisor: both sides of a fixed size are multiples of it.
        needs_size: every file takes images of one size only.
    """

    name: str
    suffix: str
    runtime: str | None
    precisions: Mapping[str, tuple[str, ...]]
    writer: str
    divisor: int = 1
    needs_size: bool = False

    @property
    def all_precisions(self) -> tuple[str, ...]:
        """Precisions of any form."""
        return tuple(dict.fromkeys(precision for some in self.precisions.values() for precision in some))


FORMATS = {
    row.name: row
    for row in (
        ExportFormat(
            "onnx",
            RUNTIMES["onnxruntime"].suffix,
            "onnxruntime",
            {"panoptic": ("fp32", "int8"), "raw": ("fp32", "fp16")},
            "yoso.export.writing:write_onnx",
        ),
        ExportFormat(
            "openvino",
            RUNTIMES["openvino"].suffix,
            "openvino",
            {"raw": ("fp32",)},
            "yoso.export.writing:write_openvino",
            divisor=32,
        ),
        ExportFormat(
            "tensorrt",
            ".engine",
            None,
            {"raw": ("fp32", "fp16")},
            "yoso.export.writing:write_tensorrt",
            needs_size=True,
        ),
        ExportFormat("torch", ".pt2", None, {"raw": ("fp32",)}, "yoso.export.writing:write_torch", divisor=32),
    )
}


@dataclass(frozen=True)
class ExportTarget:
    """The file to write; all values are checked.

    Attributes:
        format: one of `FORMATS`.
        path: of the file; of OpenVINO's two files, the .xml.
        form: "panoptic" takes an image and gives segments, "raw" gives logits; empty is the format's default.
        size: (height, width) of the only images that the file takes, or None for any.
        precision: "fp32"; "fp16" (backbone and aggregator; the decoder stays in float32); "int8" (the convolutions).
        source_sha256: of the weights' file, or empty.
        embeddings: the file can also give the kernel of each segment's query; ONNX files only.
    """

    format: str
    path: Path
    form: str = ""
    size: tuple[int, int] | None = None
    precision: str = "fp32"
    source_sha256: str = ""
    embeddings: bool = False

    def __post_init__(self) -> None:
        """Check what is asked for.

        Raises:
            ConfigError: the format does not exist, or does not have the form, the precision, the size or the suffix.
        """
        if self.format not in FORMATS:
            raise ConfigError(f"format {self.format!r} is unknown.{did_you_mean(self.format, FORMATS)}")
        row = FORMATS[self.format]
        object.__setattr__(self, "form", self.form or next(iter(row.precisions)))
        if self.form not in row.precisions:
            raise ConfigError(
                f"form {self.form!r}: {row.name} files do not have it.{did_you_mean(self.form, row.precisions)}"
            )
        self._check_precision(row)
        self._check_size(row)
        if self.embeddings and row.name != "onnx":
            raise ConfigError(f"embeddings: {row.name} files cannot have them; use format onnx")
        if self.path.suffix != row.suffix:
            raise ConfigError(f"{self.path}: the name of a file in format {row.name} ends in {row.suffix}")

    def _check_precision(self, row: ExportFormat) -> None:
        if self.precision in row.precisions[self.form]:
            return
        for form, precisions in row.precisions.items():
            if self.precision in precisions:
                raise ConfigError(
                    f"precision {self.precision} is not for {row.name} files of form {self.form}; give --form {form}"
                )
        known = row.all_precisions
        advice = "give one of them" if len(known) > 1 else "give that"
        raise ConfigError(
            f"precision {self.precision}: {row.name} files are written in {' or '.join(known)}; {advice}, or another "
            "format"
        )

    def _check_size(self, row: ExportFormat) -> None:
        if self.size is None:
            if row.needs_size:
                raise ConfigError(f"{row.name} files take images of one size only; give --fixed-size HEIGHTxWIDTH")
            return
        text = f"fixed size {self.size[0]}x{self.size[1]}"
        if min(self.size) < MIN_SIDE:
            raise ConfigError(f"{text}: both sides must be at least {MIN_SIDE} pixels")
        if any(side % row.divisor for side in self.size):
            raise ConfigError(f"{text}: both sides must be multiples of {row.divisor} in {row.name} files")


def export(model: "Model", target: ExportTarget, images: "Sequence[np.ndarray]") -> "Parity | None":
    """Write a file, completely or not at all, after comparing it with PyTorch.

    Args:
        model: network, categories, thresholds; the network in float32.
        target: the file.
        images: uint8 (H, W, 3), RGB: to compare on, or to calibrate "int8" with.

    Returns:
        How the file compares; None for "int8", which changes results on purpose. For TensorRT it is the ONNX file from
        which the engine is built that was compared.

    Raises:
        ExportError: the file differs from the network.
        ConfigError: a package is not installed.
        OutputError: the file cannot be written.
    """
    module, _, name = FORMATS[target.format].writer.partition(":")
    return getattr(import_module(module), name)(model, target, images)
