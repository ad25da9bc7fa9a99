"""`yoso predict`: images or a video in, overlays and COCO panoptic files out."""

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoso.apps.arguments import Parser, add_model_options, add_tiles_option
from yoso.apps.console import milliseconds, show, show_error, show_json
from yoso.apps.signals import exit_status, sigterm_raises
from yoso.apps.video_options import add_video_options, refuse_video_options
from yoso.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from yoso.apps.predict_run import Outcome, Segmented

DEFAULT_MODEL = "facades-mnv2"
DEFAULT_OUTPUT = "yoso-output"
STEPS = ("read", "resize", "network", "merge")
EPILOG = """\
Output in DIR: NAME.overlay.png and panoptic/NAME.png for each image, and panoptic.json (COCO panoptic). A file that \
cannot be read is reported and skipped; the exit status is then 2. Only output of an earlier run is replaced. A \
video gives NAME.overlay.mp4.

examples:
  yoso predict street.jpg
  yoso predict photos/ 'more/**/*.jpg' --model coco-r50 --output out
  yoso predict clip.mp4 --every 2                 # a video; `yoso track` adds identities
  yoso predict photos/ --output out --resume      # continue after Ctrl-C
  yoso predict --data mine.yaml --split val       # keep the data set's image ids
  yoso predict slide.png --tiles 512              # a large image with many objects, in overlapping tiles
"""


def build_parser() -> Parser:
    """Return the parser of `yoso predict`."""
    parser = Parser("predict", "Segment images, or a video.", usage="yoso predict SOURCE ... [options]", epilog=EPILOG)
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="an image, a folder, a pattern, or - for a list of them on standard input; or one video, camera or stream",
    )
    add_tiles_option(add_model_options(parser, DEFAULT_MODEL))
    data = parser.add_argument_group("data set")
    data.add_argument(
        "--data",
        metavar="DATASET",
        help="segment the images of a data set, or the SOURCEs among them, under its image ids and file names",
    )
    data.add_argument("--split", default="val", help="with --data: train or val (default: val)")
    output = parser.add_argument_group("output")
    output.add_argument("--output", default=DEFAULT_OUTPUT, metavar="DIR", help=f"default: {DEFAULT_OUTPUT}")
    output.add_argument("--resume", action="store_true", help="skip the images that DIR/panoptic.json lists already")
    output.add_argument("--no-overlay", action="store_true", help="draw no overlays")
    output.add_argument("--json", action="store_true", help="print one JSON document instead of the table")
    add_video_options(parser)
    return parser


def main(arguments: list[str]) -> int:
    """Run `yoso predict SOURCE ...`.

    Args:
        arguments: what stands after `yoso predict`.

    Returns:
        The exit status: 2 if an image could not be segmented, 130 after Ctrl-C, 143 after SIGTERM.

    Raises:
        YosoError: see `yoso.apps.predict_run.run`.
    """
    parser = build_parser()
    args = parser.parse(arguments)
    if not args.sources and not args.data:
        raise ConfigError("yoso predict: give a SOURCE (an image, a folder or a pattern) or --data DATASET")
    from yoso.video.sources import is_video

    if any(is_video(source) for source in args.sources):
        return _main_of_video(args)
    refuse_video_options(parser, args)
    from yoso.apps.predict_run import run

    with sigterm_raises():
        outcome = run(args)
    if args.json:
        show_json(_as_json(args, outcome))
    else:
        _show(args, outcome)
    for failure in outcome.failures:
        show_error(failure.message)
    return _conclude(args, outcome)


def _main_of_video(args: argparse.Namespace) -> int:
    """Segment one video.

    Raises:
        YosoError: see `yoso.apps.video_run.run_video`; also for options of images.
    """
    from yoso.apps.video_report import conclude
    from yoso.apps.video_run import TrackOptions, check_one, run_video

    if args.resume or args.data:
        raise ConfigError(f"--{'resume' if args.resume else 'data'} is for images; leave it out for a video")
    source = check_one(args.sources, "yoso predict")
    with sigterm_raises():
        outcome = run_video(args, source, TrackOptions())
    return conclude(outcome, args.json)


def _conclude(args: argparse.Namespace, outcome: "Outcome") -> int:
    """Print how the run ended, unless all is well, and return the exit status."""
    num_failed, num_done = len(outcome.failures), len(outcome.segmented)
    if outcome.stop is not None:
        done = outcome.num_earlier + num_done
        show_error(
            f"stopped after {done} of {outcome.total} images; add --resume to the command to do the others"
            if done
            else "stopped before the first image was done"
        )
        return exit_status(outcome.stop)
    if num_failed and num_failed + num_done > 1:
        show_error(f"{num_failed} of {num_failed + num_done} could not be segmented; the others are done")
    return 2 if num_failed else 0


def _show(args: argparse.Namespace, outcome: "Outcome") -> None:
    lines = []
    if outcome.num_earlier:
        lines.append(f"earlier:  {outcome.num_earlier} of {outcome.total} images were done before")
    if outcome.segmented:
        show(_table(outcome.segmented), "")
        first, more = outcome.segmented[0], len(outcome.segmented) - 1
        if first.overlay is not None:
            lines.append(f"overlay:  {first.overlay}" + (f" and {more} more" if more else ""))
    if outcome.segmented or outcome.num_earlier:
        lines.append(f"panoptic: {Path(args.output, 'panoptic.json')}")
        lines.append(f"runtime:  {outcome.runtime} on {outcome.device}")
        show("\n".join(lines))


def _table(segmented: list["Segmented"]) -> "Table":
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
        table.add_column(step, justify="right", no_wrap=True)
    names = Counter(item.path.name for item in segmented)
    for item in segmented:
        height, width = item.size
        times = item.timings
        seconds = (times.read_seconds + times.resize_seconds, times.network_seconds, times.merge_seconds)
        table.add_row(
            Text(item.path.name if names[item.path.name] == 1 else str(item.path)),
            f"{width} x {height}",
            Text(item.summary),
            *milliseconds(seconds),
        )
    return table


def _as_json(args: argparse.Namespace, outcome: "Outcome") -> dict[str, Any]:
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
        for item in outcome.segmented
    ]
    return {
        "model": args.model,
        "runtime": outcome.runtime,
        "device": outcome.device,
        "panoptic_json": str(Path(args.output, "panoptic.json")) if images or outcome.num_earlier else None,
        "earlier": outcome.num_earlier,
        "images": images,
        "errors": [{"file": failure.source, "error": failure.message} for failure in outcome.failures],
    }
