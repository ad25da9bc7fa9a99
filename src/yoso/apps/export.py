"""`yoso export`: a model folder becomes a file for ONNX Runtime, OpenVINO, TensorRT or plain torch."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoso.apps.arguments import Parser
from yoso.apps.console import show, show_json
from yoso.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    import numpy as np

    from yoso.export.check import Parity
    from yoso.export.formats import Target
    from yoso.model.checkpoint import Model

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "tensorrt": ".engine", "torch": ".pt2"}
PRECISIONS = {
    "onnx": ("fp32", "int8"),
    "openvino": ("fp32",),
    "tensorrt": ("fp32", "fp16"),
    "torch": ("fp32",),
}
CALIBRATION_PHOTOGRAPHS = 32
CHECK_PHOTOGRAPHS = 4
SMALLEST = 64
"""Pixels; below it the coarsest map has a single position."""


def build_parser() -> Parser:
    """Return the parser of `yoso export`."""
    parser = Parser(
        "export",
        "Export a model, and check the file against PyTorch.",
        epilog="Without --output the file goes into the model's folder, where `yoso predict` finds it.",
    )
    parser.add_argument("--model", required=True, help="a model's name or a model folder")
    parser.add_argument("--offline", action="store_true", help="fetch nothing; the model must be here already")
    parser.add_argument("--format", required=True, metavar="FORMAT", help=f"one of: {', '.join(SUFFIXES)}")
    parser.add_argument("--output", metavar="FILE", help="default: model.onnx, model.xml, ... in the model's folder")
    parser.add_argument(
        "--form",
        default="panoptic",
        metavar="FORM",
        help="of an ONNX file: panoptic (a photograph in, segments out) or raw (logits out) (default: panoptic)",
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--size", nargs=2, type=int, metavar=("H", "W"), help="take images of this size alone")
    size.add_argument("--dynamic", action="store_true", help="take images of any size (the default)")
    parser.add_argument("--precision", default="fp32", help="fp32; int8 for onnx; fp16 for tensorrt (default: fp32)")
    parser.add_argument("--data", metavar="DATASET", help="calibrate int8 on its train, check on its val")
    parser.add_argument("--photos", nargs="+", default=[], metavar="SOURCE", help="photographs to check on instead")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of sentences")
    return parser


def main(arguments: list[str]) -> int:
    """Run `yoso export --model MODEL --format FORMAT`.

    Args:
        arguments: what stands after `yoso export`.

    Returns:
        The exit status.

    Raises:
        YosoError: no such model, format or size; a missing package; a file that differs from the network, or that
            cannot be written.
    """
    args = build_parser().parse(arguments)
    _check_arguments(args)
    from yoso.export.formats import export
    from yoso.inference.onnx_engine import file_sha256
    from yoso.model.checkpoint import find_model, load_model
    from yoso.model.folder import WEIGHTS

    folder = find_model(args.model, args.offline)
    model = load_model(folder)
    target = _target(args, folder, file_sha256(folder / WEIGHTS))
    photographs = _photographs(args, model)
    parity = export(model, target, photographs)
    report = _report(args, target, parity, drawn=not (args.photos or args.data))
    if args.json:
        show_json(report)
    else:
        show(_sentences(report))
    return 0


def _check_arguments(args: argparse.Namespace) -> None:
    """Refuse what cannot be, before anything is loaded."""
    if args.format not in SUFFIXES:
        raise ConfigError(f"--format {args.format}: unknown.{did_you_mean(args.format, SUFFIXES)}")
    if args.form not in {"panoptic", "raw"}:
        raise ConfigError(f"--form {args.form}: unknown.{did_you_mean(args.form, ['panoptic', 'raw'])}")
    known = PRECISIONS[args.format]
    if args.precision not in known:
        raise ConfigError(f"--precision {args.precision}: {args.format} files are written in {' or '.join(known)}")
    if args.size and min(args.size) < SMALLEST:
        raise ConfigError(f"--size {args.size[0]} {args.size[1]}: both sides must be at least {SMALLEST} pixels")
    if args.size and args.format in {"openvino", "torch"} and any(side % 32 for side in args.size):
        raise ConfigError(f"--size {args.size[0]} {args.size[1]}: sides of {args.format} files are multiples of 32")
    if args.format == "tensorrt" and not args.size:
        raise ConfigError("TensorRT engines are built for one size; give --size H W")
    if args.precision == "int8" and not args.data:
        raise ConfigError("--precision int8 needs photographs to calibrate with; give --data DATASET")
    if args.precision == "int8" and args.form != "panoptic":
        raise ConfigError("--precision int8 writes panoptic files; leave --form out")
    if args.output and Path(args.output).suffix != SUFFIXES[args.format]:
        raise ConfigError(f"--output {args.output}: a file of this format ends in {SUFFIXES[args.format]}")


def _target(args: argparse.Namespace, folder: Path, sha256: str) -> "Target":
    from yoso.export.formats import Target
    from yoso.model.folder import bundled_models

    stem = "model" if args.precision == "fp32" and args.form == "panoptic" and not args.size else None
    if args.output:
        path = Path(args.output)
    elif folder in bundled_models().values():
        raise ConfigError(f"model {args.model} belongs to the package; say where the file goes: --output FILE")
    elif stem is None:
        raise ConfigError("this is not the file that `yoso predict` looks for; say where it goes: --output FILE")
    else:
        path = folder / f"model{SUFFIXES[args.format]}"
    size = tuple(args.size) if args.size else None
    form = "raw" if args.format != "onnx" else args.form
    return Target(args.format, path, form, size, args.precision, sha256)


def _photographs(args: argparse.Namespace, model: "Model") -> "list[np.ndarray]":
    """Return what the file is calibrated or checked with, resized where it takes one size alone."""
    from yoso.preprocess import resize

    if args.photos:
        photographs = _named(args.photos)
    elif args.data:
        photographs = _of_data_set(args.data, args.precision == "int8")
    else:
        from yoso.export.check import drawn_photographs

        photographs = drawn_photographs(tuple(args.size) if args.size else model.inference.input_size or (512, 800))
    return [resize(photograph, tuple(args.size)) for photograph in photographs] if args.size else photographs


def _named(sources: list[str]) -> "list[np.ndarray]":
    from yoso.files import read_image
    from yoso.inference.sources import expand_sources

    found = expand_sources(sources)
    if found.errors:
        raise found.errors[0]
    return [read_image(path) for path in found.paths]


def _of_data_set(name: str, calibration: bool) -> "list[np.ndarray]":
    from yoso.data.dataset import PanopticDataset
    from yoso.data.spec import load_spec

    dataset = PanopticDataset(load_spec(name).split("train" if calibration else "val"))
    count = min(len(dataset), CALIBRATION_PHOTOGRAPHS if calibration else CHECK_PHOTOGRAPHS)
    return [dataset.example(index * len(dataset) // count).image for index in range(count)]


def _report(args: argparse.Namespace, target: "Target", parity: "Parity | None", drawn: bool) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "model": args.model,
        "file": str(target.path),
        "megabytes": round(target.path.stat().st_size / 1e6, 1),
        "format": target.format,
        "form": target.form,
        "precision": target.precision,
        "size": target.size,
        "checked_on": "drawn pictures" if drawn else "photographs",
        "parity": asdict(parity) if parity else None,
    }


def _sentences(report: dict[str, Any]) -> str:
    lines = [f"{report['file']} ({report['megabytes']} MB)"]
    parity = report["parity"]
    if report["precision"] == "int8":
        lines.append("8 bits change the result; see by how much: yoso eval --model FILE --data DATASET")
    elif parity is None:
        lines.append("not compared with PyTorch: run it where its runtime is")
    else:
        if parity["photographs"]:
            lines.append(
                f"compared with PyTorch on {parity['photographs']} {report['checked_on']}: at most "
                f"{100 * parity['pixels']:.4f}% of the pixels and {parity['score']:.1e} of a score differ"
            )
        if parity["logits"] is not None:
            lines.append(f"logits differ by at most {parity['logits']:.1e} of the largest")
    return "\n".join(lines)
