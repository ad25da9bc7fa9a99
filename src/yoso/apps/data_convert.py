"""`yoso data convert`: turns a data set of another format into one in COCO panoptic format."""

from argparse import RawDescriptionHelpFormatter
from pathlib import Path

from yoso.apps.arguments import Parser
from yoso.apps.data_prepare import add_work_options, write_and_report
from yoso.errors import ConfigError, did_you_mean

FORMAT_NAMES = ("yolo", "coco", "cityscapes", "labelme")
"""Known here, so that `--help` and a wrong name need not wait for PyTorch."""

WAS_DROPPED = 1
"""Exit status of `--strict` when something was dropped."""

LAYOUTS = """layouts of SRC (NAME begins with train or val; SPLIT is train or val; a JSON that is alone is train):
  yolo        the YAML with names, train, val, or its folder      images/ and labels/ with polygons
  coco        annotations/instances_NAME.json (COCO, CVAT)        images in NAME/, images/NAME/ or images/
              and stuff_NAME.json for stuff (COCO-Stuff)
              NAME/_annotations.coco.json (Roboflow)              images beside the JSON
              result.json (Label Studio), or SRC is the JSON      images in images/ or beside the JSON
              any other: --annotations SPLIT=FILE --images SPLIT=FOLDER
  cityscapes  leftImg8bit/SPLIT/*_leftImg8bit.png                 gtFine/SPLIT/*_gtFine_instanceIds.png
  labelme     SPLIT/ or one folder with a JSON per image          images where imagePath says, or beside the JSON

Images stay where they are. The command writes OUT/dataset.yaml, JSON files and PNGs. Annotations and images that cannot
be used are left out and reported; if half of the images, or all annotations, cannot be used, that is an error."""


def main(arguments: list[str]) -> int:
    """Run `yoso data convert FORMAT SRC OUT`.

    Args:
        arguments: what stands after `yoso data convert`.

    Returns:
        The exit status: 0, or 1 if `--strict` was given and something was dropped.

    Raises:
        YosoError: no such format or source; a file that is missing or not what the format asks for; a folder that
            cannot be written or holds somebody else's files.
    """
    args = _parser().parse(arguments)
    if args.format not in FORMAT_NAMES:
        raise ConfigError(f"no format {args.format!r}.{did_you_mean(args.format, FORMAT_NAMES)}")
    if args.categories and args.format != "cityscapes":
        raise ConfigError(f"--categories {args.categories}: {args.format} names its own classes; omit the option")
    if args.stuff and args.format == "cityscapes":
        raise ConfigError(f"--stuff {args.stuff}: with cityscapes, the categories say what is stuff; omit the option")
    for option, values in (("--annotations", args.annotations), ("--images", args.images)):
        if values and args.format != "coco":
            raise ConfigError(f"{option} {values[0]}: is for coco only; omit the option")

    from yoso.data.formats.conversion import plan_conversion
    from yoso.data.formats.plan import ConversionRequest
    from yoso.data.formats.preparation import OutputLayout, check_output

    request = ConversionRequest(
        source=args.source,
        output=args.output,
        stuff=tuple(name.strip() for name in args.stuff.split(",") if name.strip()),
        categories=args.categories,
        annotations=_by_split("--annotations", args.annotations),
        images=_by_split("--images", args.images),
    )
    layout = OutputLayout(args.output / "dataset.yaml", args.output)
    check_output(layout)
    converted = write_and_report(plan_conversion(args.format, request), layout, args.threads, args.json)
    return WAS_DROPPED if args.strict and not all(part.outcome.is_complete for part in converted) else 0


def _parser() -> Parser:
    parser = Parser(
        "data convert",
        "Turn a data set of another format into one in COCO panoptic format.",
        epilog=LAYOUTS,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("format", metavar="FORMAT", help=" | ".join(FORMAT_NAMES))
    parser.add_argument("source", metavar="SRC", type=Path, help="the data set")
    parser.add_argument("output", metavar="OUT", type=Path, help="folder to write; new, or the OUT of an earlier run")
    parser.add_argument(
        "--stuff", default="", metavar="A,B", help="names of the classes that are stuff (default: as the source says)"
    )
    parser.add_argument(
        "--annotations",
        action="append",
        default=[],
        metavar="[SPLIT=]FILE",
        help="coco: the JSON of train or val (default: train); repeat it for the other",
    )
    parser.add_argument(
        "--images",
        action="append",
        default=[],
        metavar="[SPLIT=]FOLDER",
        help="coco: the image folder of train or val (default: train); repeat it for the other",
    )
    parser.add_argument(
        "--categories",
        type=Path,
        metavar="FILE",
        help="cityscapes: JSON list of COCO categories whose ids are label ids (default: the 19 of Cityscapes)",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="exit with status 1 if anything was dropped; the output is kept",
    )
    add_work_options(parser)
    return parser


def _by_split(option: str, values: list[str]) -> dict[str, Path]:
    """Read the values of an option that names a path per split.

    Raises:
        ConfigError: a split is named twice.
    """
    paths: dict[str, Path] = {}
    for value in values:
        split, separator, path = value.partition("=")
        if split not in {"train", "val"} or not separator:
            split, path = "train", value
        if split in paths:
            raise ConfigError(f"{option} {value}: {split} has a path already; write val=PATH for the other split")
        paths[split] = Path(path)
    return paths
