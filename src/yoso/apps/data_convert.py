"""`yoso data convert`: a data set of another format becomes one in COCO panoptic format."""

from argparse import RawDescriptionHelpFormatter
from pathlib import Path

from yoso.apps.arguments import Parser
from yoso.apps.data_prepare import add_work_options, carry_out
from yoso.errors import ConfigError, did_you_mean

FORMAT_NAMES = ("yolo", "coco", "cityscapes", "labelme")
"""Known here, so that `--help` and a slip need not wait for PyTorch."""

LAYOUTS = """layouts of SRC:
  yolo        the data set's YAML (names, train, val), or its folder; labels/ beside images/, polygons
  coco        annotations/instances_NAME.json and, for stuff, stuff_NAME.json; photographs in NAME/ or images/NAME/
  cityscapes  leftImg8bit/{train,val}/ and gtFine/{train,val}/ with *_gtFine_instanceIds.png
  labelme     {train,val}/ or one folder, with a JSON beside each photograph

Photographs stay where they are. Written: OUT/dataset.yaml, JSON and PNGs."""


def main(arguments: list[str]) -> int:
    """Run `yoso data convert FORMAT SRC OUT`.

    Args:
        arguments: what stands after `yoso data convert`.

    Returns:
        The exit status.

    Raises:
        YosoError: no such format or source; a file that is missing or not what the format asks for; a folder that
            cannot be written or holds somebody else's files.
    """
    parser = Parser(
        "data convert",
        "Turn a data set of another format into one in COCO panoptic format.",
        epilog=LAYOUTS,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("format", metavar="FORMAT", help=" | ".join(FORMAT_NAMES))
    parser.add_argument("source", metavar="SRC", type=Path, help="the data set")
    parser.add_argument("output", metavar="OUT", type=Path, help="folder to write; it must be new, or an earlier OUT")
    parser.add_argument(
        "--stuff", default="", metavar="A,B", help="names of the classes that are stuff (default: none)"
    )
    parser.add_argument(
        "--categories",
        type=Path,
        metavar="FILE",
        help="cityscapes: JSON list of COCO categories whose ids are label ids",
    )
    add_work_options(parser)
    args = parser.parse(arguments)
    if args.format not in FORMAT_NAMES:
        raise ConfigError(f"no format {args.format!r}.{did_you_mean(args.format, FORMAT_NAMES)}")
    if args.categories and args.format != "cityscapes":
        raise ConfigError(f"--categories {args.categories}: {args.format} names its own classes; leave it out")
    if args.stuff and args.format == "cityscapes":
        raise ConfigError(f"--stuff {args.stuff}: the categories of cityscapes say what is stuff; leave it out")

    from yoso.data.formats.custom import Request, plan_custom
    from yoso.data.formats.preparation import Target, check_target

    target = Target(args.output / "dataset.yaml", args.output)
    check_target(target)
    stuff = tuple(name.strip() for name in args.stuff.split(",") if name.strip())
    plan = plan_custom(args.format, Request(args.source, stuff, args.categories))
    carry_out(plan, target, args.threads, args.json)
    return 0
