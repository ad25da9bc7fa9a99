"""`yoso convert`: turn an official checkpoint into a model folder."""

from pathlib import Path

from yoso.apps.arguments import Parser
from yoso.apps.console import show
from yoso.errors import DatasetError, OutputError

RECIPES = "coco_r50, cityscapes_r50, ade20k_r50 or mapillary_r50"
EPILOG = """\
example:
  yoso convert yoso_res50_coco.pth coco-model --recipe coco_r50
"""


def main(arguments: list[str]) -> int:
    """Run `yoso convert OFFICIAL.pth FOLDER --recipe NAME`.

    Args:
        arguments: what stands after `yoso convert`.

    Returns:
        The exit status.

    Raises:
        YosoError: an unknown recipe; a checkpoint that is damaged, holds more than tensors, or does not fit (all
            missing and unexpected keys are named); a folder that cannot be written.
    """
    parser = Parser("convert", "Turn an official YOSO checkpoint into a model folder.", epilog=EPILOG)
    parser.add_argument("checkpoint", metavar="OFFICIAL.pth", help="the checkpoint; only tensors are read, never code")
    parser.add_argument("folder", metavar="FOLDER", help="the model folder to write")
    parser.add_argument("--recipe", required=True, metavar="NAME", help=f"that the checkpoint belongs to: {RECIPES}")
    args = parser.parse(arguments)
    from yoso.weights.conversion import convert

    _check_folder(Path(args.folder))
    folder = convert(args.checkpoint, args.folder, args.recipe)
    show(f"model folder: {folder}\nto use it:    yoso predict IMAGE --model {folder}")
    return 0


def _check_folder(folder: Path) -> None:
    """Make sure that no other model is replaced than an earlier output of this command.

    Raises:
        OutputError: the folder holds one.
    """
    from yoso.files import read_json
    from yoso.weights.layout import CONFIG, WEIGHTS

    if not any((folder / name).exists() for name in (CONFIG, WEIGHTS)):
        return
    try:
        is_own = "converted_from" in read_json(folder / CONFIG)["about"]
    except (DatasetError, KeyError, TypeError):
        is_own = False
    if not is_own:
        raise OutputError(f"{folder}: holds a model that was not written by `yoso convert`; choose another folder")
