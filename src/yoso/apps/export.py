"""`yoso export`: a model folder becomes a file for ONNX Runtime, OpenVINO, TensorRT or plain torch."""

import argparse
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoso.apps.arguments import Parser
from yoso.apps.console import show, show_json
from yoso.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    import numpy as np

    from yoso.data.dataset import PanopticDataset
    from yoso.export.check import Parity
    from yoso.export.formats import Target
    from yoso.inference.predictor import Predictor
    from yoso.preprocess import Size
    from yoso.weights.model_folder import Model

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "tensorrt": ".engine", "torch": ".pt2"}
PRECISIONS = {
    "onnx": ("fp32", "fp16", "int8"),
    "openvino": ("fp32",),
    "tensorrt": ("fp32", "fp16"),
    "torch": ("fp32",),
}
CALIBRATION_PHOTOGRAPHS = 32
CHECK_PHOTOGRAPHS = 4
ACCEPTABLE_LOSS = 0.01
"""Of PQ, 0 to 1: what 8 bits may cost."""
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
    parser.add_argument(
        "--precision",
        default="fp32",
        help="fp32; fp16 for tensorrt and raw onnx (the decoder stays in fp32); int8, which is experimental, for "
        "panoptic onnx (default: fp32)",
    )
    parser.add_argument(
        "--data", metavar="DATASET", help="check on its val; int8 is calibrated on its train and scored on its val"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="score int8 on the first N images of val (default: all)")
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
    from yoso.files import file_sha256
    from yoso.weights.find import find_model
    from yoso.weights.layout import WEIGHTS
    from yoso.weights.load import load_model

    folder = find_model(args.model, args.offline)
    model = load_model(folder)
    target = _target(args, folder, file_sha256(folder / WEIGHTS))
    photographs = _photographs(args, model)
    split = _split_to_score(args, model) if args.precision == "int8" else None
    _warn_of_licence(args, model, folder)
    parity = export(model, target, photographs)
    report = _report(args, target, parity, drawn=not (args.photos or args.data))
    if split is not None:
        report["pq"] = _scores(model, target, split, args.limit)
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
    _check_precision(args)
    if args.size and min(args.size) < SMALLEST:
        raise ConfigError(f"--size {args.size[0]} {args.size[1]}: both sides must be at least {SMALLEST} pixels")
    if args.size and args.format in {"openvino", "torch"} and any(side % 32 for side in args.size):
        raise ConfigError(f"--size {args.size[0]} {args.size[1]}: sides of {args.format} files are multiples of 32")
    if args.format == "tensorrt" and not args.size:
        raise ConfigError("TensorRT engines are built for one size; give --size H W")
    if args.output and Path(args.output).suffix != SUFFIXES[args.format]:
        raise ConfigError(f"--output {args.output}: a file of this format ends in {SUFFIXES[args.format]}")


def _check_precision(args: argparse.Namespace) -> None:
    known = PRECISIONS[args.format]
    if args.precision not in known:
        raise ConfigError(
            f"--precision {args.precision}: {args.format} files are written in {' or '.join(known)}; give "
            f"{'one of them' if len(known) > 1 else 'that'}, or another --format"
        )
    if args.precision == "fp16" and args.format == "onnx" and args.form != "raw":
        raise ConfigError("--precision fp16 writes raw ONNX files, for runtimes on a GPU; give --form raw")
    if args.precision == "int8" and not args.data:
        raise ConfigError("--precision int8 needs photographs to calibrate with; give --data DATASET")
    if args.precision == "int8" and args.form != "panoptic":
        raise ConfigError("--precision int8 writes panoptic files; leave --form out")
    if args.limit is not None and args.precision != "int8":
        raise ConfigError("--limit is for --precision int8, which is scored; leave it out")
    if args.limit is not None and args.limit < 1:
        raise ConfigError(f"--limit {args.limit}: at least one image is needed")


def _target(args: argparse.Namespace, folder: Path, sha256: str) -> "Target":
    from yoso.export.formats import Target
    from yoso.weights.layout import bundled_models

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

    if args.precision == "int8":
        photographs = _of_data_set(args.data, "train", CALIBRATION_PHOTOGRAPHS)
    elif args.photos:
        photographs = _named(args.photos)
    elif args.data:
        photographs = _of_data_set(args.data, "val", CHECK_PHOTOGRAPHS)
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


def _of_data_set(name: str, split: str, most: int) -> "list[np.ndarray]":
    from yoso.data.dataset import PanopticDataset
    from yoso.data.spec import load_spec

    dataset = PanopticDataset(load_spec(name).split(split))
    count = min(len(dataset), most)
    return [dataset.example(index * len(dataset) // count).image for index in range(count)]


def _split_to_score(args: argparse.Namespace, model: "Model") -> "PanopticDataset | None":
    """Return the data set's val, or None if it has none; refuse one of other classes before the work is done."""
    from yoso.apps.scoring import check_classes
    from yoso.data.dataset import PanopticDataset
    from yoso.data.spec import load_spec

    spec = load_spec(args.data)
    if "val" not in spec.splits:
        return None
    dataset = PanopticDataset(spec.split("val"))
    check_classes(model.categories, dataset.categories, args.model, args.data)
    return dataset


def _scores(model: "Model", target: "Target", dataset: "PanopticDataset", limit: int | None) -> dict[str, Any]:
    """Return PQ of the network and of the exported file, 0 to 1, and on how many images."""
    import torch

    from yoso.inference.loading import load
    from yoso.inference.predictor import Predictor
    from yoso.inference.torch_engine import TorchEngine

    exported = load(target.path, "cpu")
    before = Predictor(TorchEngine(model, torch.device("cpu")), model.categories, exported.inference, model.about)
    count = min(len(dataset), limit or len(dataset))
    scores = [_pq(predictor, dataset, count, target.size) for predictor in (before, exported)]
    return {"images": count, "before": scores[0], "after": scores[1]}


def _pq(predictor: "Predictor", dataset: "PanopticDataset", count: int, size: "Size | None") -> float | None:
    """Return PQ on the first images of a split, 0 to 1; None if there is no segment to find.

    Args:
        predictor: the model.
        dataset: the split.
        count: how many images.
        size: (height, width) that every image is resized to first; None leaves that to the model.
    """
    from yoso.apps.console import watch
    from yoso.evaluation.report import as_json
    from yoso.preprocess import resize
    from yoso.scoring.loop import Prediction, score_split
    from yoso.scoring.predicting import with_segments
    from yoso.scoring.tasks import MatchedSegments

    def predict(image: "np.ndarray") -> Prediction:
        small = image if size is None else resize(image, size)
        return with_segments(predictor, output_size=image.shape[:2])(small)

    matches = MatchedSegments(dataset.categories)
    score_split(dataset, predict, [matches], limit=count, watch=watch("scoring"))
    return as_json(matches.result, dataset.categories)["all"]["pq"]


def _warn_of_licence(args: argparse.Namespace, model: "Model", folder: Path) -> None:
    if not any(model.about.get(key) for key in ("license", "licence")):
        warnings.warn(
            f"model {args.model} names no licence, so the exported file carries none; set about.license in "
            f"{folder / 'config.json'} and export again (a training writes it there: --about.license NAME)",
            stacklevel=1,
        )


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
        "experimental": target.precision == "int8",
        "pq": None,
    }


def _sentences(report: dict[str, Any]) -> str:
    lines = [f"{report['file']} ({report['megabytes']} MB)"]
    parity = report["parity"]
    if parity is None:
        return "\n".join([*lines, _loss(report["pq"])])
    what = "the ONNX file that it was built from " if report["format"] == "tensorrt" else ""
    on = f"compared with PyTorch on {parity['photographs']} {report['checked_on']}: at most"
    if report["precision"] == "fp16":
        lines.append(f"{what}{on} {100 * parity['resized']:.4f}% of the pixels are of another class")
    else:
        lines.append(
            f"{what}{on} {100 * parity['pixels']:.4f}% of the pixels and {parity['score']:.1e} of a score differ"
        )
    if parity["turned"]:
        lines.append(
            f"left out: {parity['turned']}, where a pixel of a hard mask fell on the other side of zero by rounding"
        )
    if parity["logits"] is not None:
        lines.append(f"logits differ by at most {parity['logits']:.1e} of the largest")
    if report["format"] == "tensorrt":
        lines.append("the engine itself was not run")
    return "\n".join(lines)


def _loss(pq: dict[str, Any] | None) -> str:
    """Say what 8 bits cost."""
    if pq is None or pq["before"] is None:
        missing = "no val" if pq is None else "no segment in val"
        measured = f"the data set has {missing} to measure that on: yoso eval --model FILE --data DATASET"
    else:
        before, after = 100 * pq["before"], 100 * pq["after"]
        measured = f"PQ on {pq['images']} images of val {before:.1f} before, {after:.1f} after"
        if pq["before"] - pq["after"] > ACCEPTABLE_LOSS:
            measured += "; more than 1 is lost, so prefer fp32 where accuracy counts"
    return f"experimental: 8 bits change the result; {measured}"
