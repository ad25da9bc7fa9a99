"""`yoso export`: write a model for ONNX Runtime, OpenVINO, TensorRT or plain torch."""

import argparse
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoso.apps.arguments import Parser
from yoso.apps.console import show, show_json
from yoso.errors import ConfigError
from yoso.export.formats import FORMATS, ExportTarget
from yoso.settings import parse_size

if TYPE_CHECKING:
    import numpy as np

    from yoso.data.dataset import PanopticDataset
    from yoso.export.check import Parity
    from yoso.inference.predictor import Predictor
    from yoso.preprocess import Size
    from yoso.weights.model_folder import Model

NUM_CALIBRATION_IMAGES = 32
NUM_CHECK_IMAGES = 4
ACCEPTABLE_LOSS = 0.01
"""PQ, 0 to 1, that 8 bits may lose without advice against them."""


def build_parser() -> Parser:
    """Return the parser of `yoso export`."""
    parser = Parser(
        "export",
        "Export a model, and compare the file with PyTorch.",
        epilog="Without --output, the file goes into the model's folder, where `yoso predict` finds it.",
    )
    parser.add_argument("--model", required=True, help="name of a model, or a model folder")
    parser.add_argument("--offline", action="store_true", help="fetch nothing; the model must be on this machine")
    parser.add_argument("--format", required=True, metavar="FORMAT", help=f"one of: {', '.join(FORMATS)}")
    parser.add_argument("--output", metavar="FILE", help="default: model.onnx, model.xml, ... in the model's folder")
    parser.add_argument(
        "--form",
        default="",
        metavar="FORM",
        help="of an ONNX file: panoptic (takes an image, gives segments) or raw (gives logits) (default: panoptic)",
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--fixed-size", type=_fixed_size, metavar="HEIGHTxWIDTH", help="take images of this size only, such as 800x1344"
    )
    size.add_argument("--size", nargs=2, type=int, metavar=("H", "W"), help=argparse.SUPPRESS)
    size.add_argument("--dynamic", action="store_true", help="take images of any size (the default)")
    parser.add_argument(
        "--precision",
        default="fp32",
        help="fp32; fp16 for tensorrt and raw onnx (the decoder stays in fp32); int8, which is experimental, for "
        "panoptic onnx (default: fp32)",
    )
    parser.add_argument(
        "--embeddings", action="store_true", help="an ONNX file that can also give an embedding of each segment"
    )
    parser.add_argument(
        "--data", metavar="DATASET", help="compare on its val; int8 is calibrated on its train and scored on its val"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="score int8 on the first N images of val (default: all)")
    parser.add_argument("--photos", nargs="+", default=[], metavar="SOURCE", help="images to compare on instead")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of sentences")
    return parser


def _fixed_size(text: str) -> tuple[int, int]:
    return parse_size(text, "--fixed-size")


def main(arguments: list[str]) -> int:
    """Run `yoso export --model MODEL --format FORMAT`.

    Args:
        arguments: the words after `yoso export`.

    Returns:
        The exit status.

    Raises:
        YosoError: no such model, format or size; a missing package; a file that differs from the network, or that
            cannot be written.
    """
    args = build_parser().parse(arguments)
    if args.size:
        height, width = args.size
        warnings.warn(f"--size H W is deprecated; give --fixed-size {height}x{width}", stacklevel=1)
        args.fixed_size = (height, width)
    target = _requested(args)
    _check_arguments(args)
    from yoso.export.formats import export
    from yoso.files import file_sha256
    from yoso.weights.find import find_model
    from yoso.weights.layout import WEIGHTS
    from yoso.weights.load import load_model

    folder = find_model(args.model, args.offline)
    target = _placed(args, target, folder)
    model = load_model(folder)
    target = replace(target, source_sha256=file_sha256(folder / WEIGHTS))
    images = _images(args, model)
    split = _split_to_score(args, model) if args.precision == "int8" else None
    _warn_of_licence(args, model, folder)
    parity = export(model, target, images)
    report = _report(args, target, parity, drawn=not (args.photos or args.data))
    if split is not None:
        report["pq"] = _scores(model, target, split, args.limit)
    if args.json:
        show_json(report)
    else:
        show(_sentences(report))
    return 0


def _requested(args: argparse.Namespace) -> ExportTarget:
    """Return the file that is asked for, checked before anything is loaded; without --output, as a bare name."""
    row = FORMATS.get(args.format)
    path = args.output or (f"model{row.suffix}" if row else "")
    return ExportTarget(args.format, Path(path), args.form, args.fixed_size, args.precision, embeddings=args.embeddings)


def _check_arguments(args: argparse.Namespace) -> None:
    if args.precision == "int8" and not args.data:
        raise ConfigError("--precision int8 needs images for calibration; give --data DATASET")
    if args.limit is not None and args.precision != "int8":
        raise ConfigError("--limit is for --precision int8, which is scored; leave it out")
    if args.limit is not None and args.limit < 1:
        raise ConfigError(f"--limit {args.limit}: at least one image is needed")


def _placed(args: argparse.Namespace, target: ExportTarget, folder: Path) -> ExportTarget:
    """Return the file with its place: without --output, in the model's folder, if `yoso predict` looks for it there.

    Raises:
        ConfigError: it needs an --output.
    """
    from yoso.weights.layout import is_bundled

    if args.output:
        return target
    if is_bundled(folder):
        raise ConfigError(f"model {args.model} belongs to the package and is not changed; give --output FILE")
    plain = ExportTarget(target.format, target.path, size=target.size, embeddings=target.embeddings)
    if target != plain or args.fixed_size:
        raise ConfigError("`yoso predict` does not look for such a file in a model folder; give --output FILE")
    return replace(target, path=folder / target.path)


def _images(args: argparse.Namespace, model: "Model") -> "list[np.ndarray]":
    """Return the images for calibration or comparison, resized if the file takes one size only."""
    from yoso.preprocess import resize

    size = args.fixed_size
    if args.precision == "int8":
        images = _of_data_set(args.data, "train", NUM_CALIBRATION_IMAGES)
    elif args.photos:
        images = _named(args.photos)
    elif args.data:
        images = _of_data_set(args.data, "val", NUM_CHECK_IMAGES)
    else:
        from yoso.export.check import drawn_images

        images = drawn_images(size or model.inference.input_size or (512, 800))
    return [resize(image, size) for image in images] if size else images


def _named(sources: list[str]) -> "list[np.ndarray]":
    from yoso.files import read_image
    from yoso.inference.sources import expand_sources

    found = expand_sources(sources)
    if found.errors:
        raise found.errors[0]
    return [read_image(path) for path in found.paths]


def _of_data_set(name: str, split: str, limit: int) -> "list[np.ndarray]":
    from yoso.data.dataset import PanopticDataset
    from yoso.data.spec import load_spec

    dataset = PanopticDataset(load_spec(name).split(split))
    count = min(len(dataset), limit)
    return [dataset.example(index * len(dataset) // count).image for index in range(count)]


def _split_to_score(args: argparse.Namespace, model: "Model") -> "PanopticDataset | None":
    """Return the val split of the data set, or None if it has none; refuse other classes before the work is done."""
    from yoso.apps.scoring import check_classes
    from yoso.data.dataset import PanopticDataset
    from yoso.data.spec import load_spec

    spec = load_spec(args.data)
    if "val" not in spec.splits:
        return None
    dataset = PanopticDataset(spec.split("val"))
    check_classes(model.categories, dataset.categories, args.model, args.data)
    return dataset


def _scores(model: "Model", target: ExportTarget, dataset: "PanopticDataset", limit: int | None) -> dict[str, Any]:
    """Return PQ of the network and of the exported file, 0 to 1, and the number of images."""
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
    """Return PQ on the first images of a split, 0 to 1; None if they have no segment.

    Args:
        predictor: the model.
        dataset: the split.
        count: number of images.
        size: (height, width) to which every image is resized first; None leaves resizing to the model.
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
            f"model {args.model} names no licence, so the exported file has none; set about.license in "
            f"{folder / 'config.json'} and export again (`yoso train --about.license NAME` writes it there)",
            stacklevel=1,
        )


def _report(args: argparse.Namespace, target: ExportTarget, parity: "Parity | None", drawn: bool) -> dict[str, Any]:
    return {
        "model": args.model,
        "file": str(target.path),
        "megabytes": round(target.path.stat().st_size / 1e6, 1),
        "format": target.format,
        "form": target.form,
        "precision": target.precision,
        "size": target.size,
        "checked_on": "drawn images" if drawn else "images",
        "parity": asdict(parity) if parity else None,
        "experimental": target.precision == "int8",
        "pq": None,
    }


def _sentences(report: dict[str, Any]) -> str:
    lines = [f"{report['file']} ({report['megabytes']} MB)"]
    parity = report["parity"]
    if parity is None:
        return "\n".join([*lines, _loss(report["pq"])])
    on = f"compared with PyTorch on {parity['num_images']} {report['checked_on']}: at most"
    if report["precision"] == "fp16":
        lines.append(f"{on} {100 * parity['resized']:.4f}% of the pixels have another class")
    else:
        lines.append(f"{on} {100 * parity['pixels']:.4f}% of the pixels and {parity['score']:.1e} of a score differ")
    if parity["num_flipped"]:
        lines.append(
            f"left out: {parity['num_flipped']}, where rounding moved a pixel of a hard mask to the other side of zero"
        )
    if parity["logits"] is not None:
        lines.append(f"logits differ by at most {parity['logits']:.1e} of the largest")
    if report["format"] == "tensorrt":
        lines.append("this is the ONNX file that the engine was built from; the engine itself was not run")
    return "\n".join(lines)


def _loss(pq: dict[str, Any] | None) -> str:
    """Return a sentence on the loss through 8 bits."""
    if pq is None or pq["before"] is None:
        missing = "no val" if pq is None else "no segment in val"
        measured = f"the data set has {missing} to measure the loss on: yoso eval --model FILE --data DATASET"
    else:
        before, after = 100 * pq["before"], 100 * pq["after"]
        measured = f"PQ on {pq['images']} images of val {before:.1f} before, {after:.1f} after"
        if pq["before"] - pq["after"] > ACCEPTABLE_LOSS:
            measured += "; the loss is above 1, so prefer fp32 where accuracy matters"
    return f"experimental: 8 bits change the results; {measured}"
