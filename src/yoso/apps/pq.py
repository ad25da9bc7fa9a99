"""`yoso pq`: score predictions that are saved in COCO panoptic format, of images or of videos."""

import argparse
from pathlib import Path

from yoso.apps.arguments import Parser, add_max_pixels
from yoso.apps.console import show, show_json
from yoso.errors import ConfigError, OutputError

EPILOG = """\
Images are paired by image_id, or by file_name where the ids stand for other images. Images without a prediction count \
as missed, and a warning names them.

With --video, the entries of a file are the frames of a video in order, or of several with a video_id each, and every \
thing has a track_id.

examples:
  yoso pq annotations/panoptic_val.json annotations/panoptic_val out/panoptic.json out/panoptic
  yoso pq --video truth.json truth out/clip.json out/clip
"""


def main(arguments: list[str]) -> int:
    """Run `yoso pq GT.json GT_DIR PRED.json PRED_DIR [--video] [--json] [--confusion FILE.png]`.

    Args:
        arguments: what stands after `yoso pq`.

    Returns:
        The exit status.

    Raises:
        YosoError: files that are missing, not COCO panoptic, or of other images; a picture that cannot be written;
            options that exclude each other.
    """
    parser = Parser("pq", "Score saved predictions in COCO panoptic format: panoptic quality.", epilog=EPILOG)
    parser.add_argument("gt_json", metavar="GT.json", help="COCO panoptic file of the ground truth")
    parser.add_argument("gt_dir", metavar="GT_DIR", help="folder of its PNGs")
    parser.add_argument("pred_json", metavar="PRED.json", help="COCO panoptic file of the predictions")
    parser.add_argument("pred_dir", metavar="PRED_DIR", help="folder of their PNGs")
    add_max_pixels(parser)
    parser.add_argument("--video", action="store_true", help="score tubes and identities: VPQ, STQ, IDF1")
    parser.add_argument("--json", action="store_true", help="print one JSON document, with values from 0 to 1")
    parser.add_argument("--confusion", metavar="FILE.png", help="draw the confusion matrices")
    args = parser.parse(arguments)
    if args.video and args.confusion:
        raise ConfigError("--confusion is for images; leave it out with --video")
    if args.confusion:
        _check_picture(Path(args.confusion), [args.gt_dir, args.pred_dir])
    return _score_videos(args) if args.video else _score_images(args)


def _score_videos(args: argparse.Namespace) -> int:
    from yoso.apps.tables import identity_table, vpq_table
    from yoso.evaluation.report import video_as_json
    from yoso.evaluation.video_folders import count_videos

    counts = count_videos(args.gt_json, args.gt_dir, args.pred_json, args.pred_dir)
    result, categories = counts.result(), counts.categories
    if args.json:
        show_json(video_as_json(result, categories))
    else:
        show(vpq_table(result, categories), identity_table(result))
    return 0


def _score_images(args: argparse.Namespace) -> int:
    from yoso.apps.tables import confusion_table, panoptic_table, size_table
    from yoso.drawing.pictures import write_picture
    from yoso.evaluation.folders import count_folders
    from yoso.evaluation.report import as_json, breakdown_as_json
    from yoso.scoring.confusion import confusion_picture

    counts = count_folders(args.gt_json, args.gt_dir, args.pred_json, args.pred_dir)
    categories, breakdown = counts.categories, counts.breakdown
    if args.confusion:
        write_picture(args.confusion, confusion_picture(breakdown.confusion, categories.names))
    if args.json:
        show_json({**as_json(counts.result(), categories), **breakdown_as_json(breakdown, categories)})
    else:
        show(panoptic_table(counts.result(), categories), size_table(breakdown, categories))
        show(confusion_table(breakdown.confusion, categories))
    return 0


def _check_picture(path: Path, inputs: list[str]) -> None:
    """Make sure that a picture to draw replaces no input."""
    if path.suffix.lower() != ".png":
        raise OutputError(f"--confusion {path}: the picture is a PNG; give a name that ends in .png")
    for folder in inputs:
        if path.resolve().is_relative_to(Path(folder).resolve()):
            raise OutputError(f"--confusion {path}: {folder} is a folder of inputs; write the picture elsewhere")
