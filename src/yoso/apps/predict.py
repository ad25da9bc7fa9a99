"""`yoso predict`: photographs in, overlays and COCO panoptic files out."""

import argparse
import errno
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoso.apps.arguments import Parser, add_model_options, open_model
from yoso.apps.console import make_folder, milliseconds, show, show_error, show_json, with_progress
from yoso.errors import OutputError, YosoError

if TYPE_CHECKING:
    from rich.table import Table

    from yoso.data.coco_panoptic import PanopticWriter
    from yoso.inference.engine import Timings
    from yoso.inference.predictor import Predictor

DEFAULT_MODEL = "facades-mnv2"
DEFAULT_OUTPUT = "yoso-output"
STEPS = ("read", "resize", "network", "merge")
EPILOG = (
    "Written for each photograph: NAME.overlay.png and panoptic/NAME.png; once: panoptic.json (COCO panoptic). A "
    "file that cannot be read does not stop the others; the exit status is then 2."
)


@dataclass(frozen=True)
class Done:
    """One photograph that was segmented and written.

    Attributes:
        path: of the photograph.
        overlay: the picture drawn over it, or None if none was wanted.
        panoptic: the PNG of segment ids.
        segments_info: of the result.
        size: (height, width) in pixels.
        timings: what the steps took.
        runtime: what ran the network.
        device: and where.
    """

    path: Path
    overlay: Path | None
    panoptic: Path
    segments_info: list[dict[str, Any]]
    size: tuple[int, int]
    timings: "Timings"
    runtime: str
    device: str


@dataclass(frozen=True)
class Failed:
    """One photograph that was not.

    Attributes:
        source: the file; empty for a word of the command line that stands for none.
        message: the error, one line.
    """

    source: str
    message: str


def build_parser() -> Parser:
    """Return the parser of `yoso predict`."""
    parser = Parser("predict", "Segment photographs.", epilog=EPILOG)
    parser.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="a photograph, a folder, a pattern, or - for a list on stdin"
    )
    add_model_options(parser, DEFAULT_MODEL)
    parser.add_argument("--output", default=DEFAULT_OUTPUT, metavar="DIR", help=f"default: {DEFAULT_OUTPUT}")
    parser.add_argument("--no-overlay", action="store_true", help="draw no pictures")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the table")
    return parser


def main(arguments: list[str]) -> int:
    """Run `yoso predict SOURCE ...`.

    Args:
        arguments: what stands after `yoso predict`.

    Returns:
        The exit status: 2 if any photograph could not be segmented.

    Raises:
        YosoError: nothing could be done at all: no such model or device, or an output that cannot be written.
    """
    args = build_parser().parse(arguments)
    from yoso.inference.sources import expand_sources

    sources = expand_sources(args.sources)
    failed = [Failed("", str(error)) for error in sources.errors]
    done: list[Done] = []
    if sources.paths:
        done, more = _run(args, sources.paths)
        failed += more
    if args.json:
        show_json(_as_json(args, done, failed))
    elif done:
        show(_table(done), f"\n{_where(args, done)}")
    for failure in failed:
        show_error(failure.message)
    if failed and len(failed) + len(done) > 1:
        show_error(f"{len(failed)} of {len(failed) + len(done)} could not be segmented; the others are done")
    return 2 if failed else 0


def _run(args: argparse.Namespace, paths: list[Path]) -> tuple[list[Done], list[Failed]]:
    from yoso.data.coco_panoptic import PanopticWriter
    from yoso.inference.sources import output_stem

    # The model first, so that a name that is none leaves no empty folder behind.
    predictor = open_model(args)
    was_there = Path(args.output).exists()
    output = make_folder(args.output)
    writer = PanopticWriter(output / "panoptic.json", output / "panoptic", predictor.categories)
    done: list[Done] = []
    failed: list[Failed] = []
    work = list(zip(paths, output_stem(paths), strict=True))
    for path, stem in with_progress(work, len(work), "segmenting"):
        try:
            done.append(_one(args, predictor, writer, path, stem))
        except YosoError as error:
            failed.append(Failed(str(path), _named(path, error)))
            if _is_full(error):
                break
    if done:
        writer.close()
    elif not was_there:
        for folder in (writer.masks, output):
            with suppress(OSError):  # what holds something stays
                folder.rmdir()
    return done, failed


def _one(args: argparse.Namespace, predictor: "Predictor", writer: "PanopticWriter", path: Path, stem: str) -> Done:
    """Segment one photograph and write what belongs to it."""
    from yoso.data.coco_panoptic import ImageRecord
    from yoso.drawing.pictures import drawn, write_picture
    from yoso.files import read_image
    from yoso.inference.results import coco_segments

    start = time.perf_counter()
    pixels = read_image(path)
    read_seconds = time.perf_counter() - start
    result, timings = predictor.timed(
        pixels,
        input_size=args.input_size,
        object_mask_threshold=args.object_mask_threshold,
        overlap_threshold=args.overlap_threshold,
    )
    infos = result["segments_info"]
    overlay = None
    if not args.no_overlay:
        overlay = Path(args.output, f"{stem}.overlay.png")
        write_picture(overlay, drawn(pixels, result, predictor.categories))
    height, width = pixels.shape[:2]
    record = ImageRecord(len(writer.images) + 1, str(path), f"{stem}.png", height, width)
    writer.add(record, result["segmentation"], coco_segments(infos, predictor.categories))
    timings = replace(timings, read_seconds=read_seconds)
    panoptic = writer.masks / record.mask_name
    return Done(path, overlay, panoptic, infos, (height, width), timings, predictor.runtime, predictor.device)


def _is_full(error: YosoError) -> bool:
    """Tell whether nothing more can be written, so that going on would only waste time."""
    cause = error.__cause__
    return isinstance(error, OutputError) and getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT)


def _named(path: Path, error: YosoError) -> str:
    """Return the error with the file's name in it, which errors about arrays do not know."""
    text = str(error)
    return text if str(path) in text or isinstance(error, OutputError) else f"{path}: {text}"


def _table(done: list[Done]) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=SIMPLE_HEAD, caption="read (with resizing), network, merge: milliseconds", caption_justify="right"
    )
    table.add_column("file", overflow="fold")
    table.add_column("size", no_wrap=True)
    table.add_column("segments")
    for step in ("read", "network", "merge"):
        table.add_column(step, justify="right")
    names = Counter(item.path.name for item in done)
    for item in done:
        height, width = item.size
        times = item.timings
        seconds = (times.read_seconds + times.resize_seconds, times.network_seconds, times.merge_seconds)
        table.add_row(
            Text(item.path.name if names[item.path.name] == 1 else str(item.path)),
            f"{width} x {height}",
            Text(f"{len(item.segments_info)}: {_what(item.segments_info)}" if item.segments_info else "0"),
            *milliseconds(seconds),
        )
    return table


def _what(infos: list[dict[str, Any]], most: int = 6) -> str:
    """Return what was found, the most frequent class first: `12 window, 2 car, facade`."""
    counts = Counter((info["label"], info["is_thing"]) for info in infos)
    parts = [f"{number} {label}" if is_thing else label for (label, is_thing), number in counts.most_common(most)]
    return ", ".join(parts) + (", ..." if len(counts) > most else "")


def _where(args: argparse.Namespace, done: list[Done]) -> str:
    lines = []
    if not args.no_overlay:
        lines.append(f"overlay:  {done[0].overlay}" + (f" and {len(done) - 1} more" if len(done) > 1 else ""))
    lines.append(f"panoptic: {Path(args.output, 'panoptic.json')}")
    lines.append(f"runtime:  {done[0].runtime} on {done[0].device}")
    return "\n".join(lines)


def _as_json(args: argparse.Namespace, done: list[Done], failed: list[Failed]) -> dict[str, Any]:
    images = [
        {
            "file": str(item.path),
            "height": item.size[0],
            "width": item.size[1],
            "overlay": str(item.overlay) if item.overlay else None,
            "panoptic": str(item.panoptic),
            "milliseconds": {step: round(1000 * getattr(item.timings, f"{step}_seconds"), 3) for step in STEPS},
            "segments_info": item.segments_info,
        }
        for item in done
    ]
    errors = [{"file": failure.source, "error": failure.message} for failure in failed]
    return {
        "model": args.model,
        "runtime": done[0].runtime if done else None,
        "device": done[0].device if done else None,
        "panoptic_json": str(Path(args.output, "panoptic.json")) if done else None,
        "images": images,
        "errors": errors,
    }
