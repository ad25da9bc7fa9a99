"""The options of videos, which `yoso predict` and `yoso track` share."""

import argparse
from typing import TYPE_CHECKING, Any

from yoso.apps.arguments import Parser
from yoso.apps.console import show_warning
from yoso.errors import ConfigError

if TYPE_CHECKING:
    from yoso.video.frames import Selection
    from yoso.video.sources import SourceOptions

OVERLAY_FORMATS = ("mp4", "png", "jpg")


def add_video_options(parser: Parser) -> None:
    """Add the options that choose frames of a video and what is written of it."""
    frames = parser.add_argument_group("frames of a video").add_argument
    frames("--start", type=float, metavar="S", help="start at this second")
    frames("--end", type=float, metavar="S", help="stop at this second")
    frames("--every", type=int, default=1, metavar="N", help="take every Nth frame (default: 1)")
    frames("--fps", type=float, metavar="F", help="take at most F frames per second")
    frames("--max-frames", type=int, metavar="N", help="stop after N frames")
    frames(
        "--frame-rate", type=float, default=25.0, metavar="F", help="of numbered images and raw frames (default: 25)"
    )
    frames("--raw", metavar="WxH", help="standard input holds raw RGB frames of this size")
    timeout = "seconds without a frame after which a live source counts as lost (default: 10)"
    frames("--timeout", type=float, default=10.0, metavar="S", help=timeout)
    output = parser.add_argument_group("output of a video").add_argument
    formats = "mp4, or a folder of png or jpg (default: mp4)"
    output("--overlay-format", choices=OVERLAY_FORMATS, default="mp4", help=formats)
    output("--ids", action="store_true", help="write the segment ids of each frame as PNG, and one JSON")
    output("--show", action="store_true", help="show the drawn frames in a window")


def refuse_video_options(parser: Parser, args: argparse.Namespace) -> None:
    """Refuse options of videos for images.

    Raises:
        ConfigError: one is given.
    """
    names = ("start", "end", "every", "fps", "max_frames", "frame_rate", "raw", "timeout", "overlay_format")
    for name in (*names, "ids", "show"):
        if getattr(args, name) != parser.get_default(name):
            raise ConfigError(f"--{name.replace('_', '-')} is for a video; the sources are images")


def selection_of(args: argparse.Namespace) -> "Selection":
    """Return which frames to take.

    Raises:
        ConfigError: a value is out of its range.
    """
    from yoso.video.frames import Selection

    return Selection(args.start, args.end, args.every, args.fps, args.max_frames)


def source_options(args: argparse.Namespace) -> "SourceOptions":
    """Return how to read the source.

    Raises:
        ConfigError: a value is out of its range.
    """
    from yoso.video.live import StreamPatience
    from yoso.video.sources import SourceOptions, parse_raw_size

    raw = parse_raw_size(args.raw) if args.raw else None
    return SourceOptions(args.frame_rate, raw, StreamPatience(args.timeout), show_warning)


def call_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options of a call of a predictor."""
    return {name: getattr(args, name) for name in ("input_size", "object_mask_threshold", "overlap_threshold")}
