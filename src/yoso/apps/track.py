"""`yoso track`: a video in, segments with identities that hold out."""

import argparse

from yoso.apps.arguments import Parser, add_model_options
from yoso.apps.predict import DEFAULT_MODEL, DEFAULT_OUTPUT
from yoso.apps.signals import sigterm_raises
from yoso.apps.video_options import add_video_options
from yoso.apps.video_report import conclude
from yoso.apps.video_run import TrackOptions, check_one, run_video

EPILOG = """\
SOURCE is a video file, a folder or pattern of numbered images, the index of a camera, an rtsp:// or http(s):// \
address, or - for standard input. Output in DIR: NAME.overlay.mp4. The summary lists every identity.

examples:
  yoso track clip.mp4
  yoso track 0 --show
  yoso track clip.mp4 --zone gate:0.1,0.1,0.9,0.1,0.9,0.9,0.1,0.9 --line road:0,0.5,1,0.5
"""


def build_parser() -> Parser:
    """Return the parser of `yoso track`."""
    parser = Parser(
        "track", "Segment a video and follow every object.", usage="yoso track SOURCE [options]", epilog=EPILOG
    )
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help="a video, numbered images, a camera or a stream")
    add_model_options(parser, DEFAULT_MODEL)
    add_video_options(parser)
    tracking = parser.add_argument_group("tracking").add_argument
    tracking("--smooth", action="store_true", help="steady the boundaries: near-ties stay with the previous segment")
    zone = "count the objects inside; pixels, or shares from 0 to 1; may be repeated"
    tracking("--zone", action="append", default=[], metavar="NAME:x1,y1,x2,y2,...", help=zone)
    tracking("--line", action="append", default=[], metavar="NAME:x1,y1,x2,y2", help="count the objects that cross it")
    output = parser.add_argument_group("output").add_argument
    output("--output", default=DEFAULT_OUTPUT, metavar="DIR", help=f"default: {DEFAULT_OUTPUT}")
    output("--no-overlay", action="store_true", help="draw nothing")
    output("--json", action="store_true", help="print a line of JSON per frame, and the summary last")
    return parser


def main(arguments: list[str]) -> int:
    """Run `yoso track SOURCE`.

    Args:
        arguments: what stands after `yoso track`.

    Returns:
        The exit status: 2 after an error, 130 after Ctrl-C, 143 after SIGTERM.

    Raises:
        YosoError: see `run_video`.
    """
    args = build_parser().parse(arguments)
    source = check_one(args.sources, "yoso track")
    with sigterm_raises():
        outcome = run_video(args, source, _options(args))
    return conclude(outcome, args.json)


def _options(args: argparse.Namespace) -> TrackOptions:
    from yoso.video.places import check_names, parse_line, parse_zone

    places = (*map(parse_zone, args.zone), *map(parse_line, args.line))
    check_names(places)
    return TrackOptions(True, args.smooth, places)
