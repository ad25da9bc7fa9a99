"""`yoso convert`: an official checkpoint becomes a model folder."""

from yoso.apps.arguments import Parser
from yoso.apps.console import show


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
    parser = Parser(
        "convert", "Turn an official YOSO checkpoint into a model folder that `yoso predict --model` takes."
    )
    parser.add_argument("checkpoint", metavar="OFFICIAL.pth", help="only tensors are read from it, never code")
    parser.add_argument("folder", metavar="FOLDER", help="the model folder to write")
    parser.add_argument(
        "--recipe", required=True, metavar="NAME", help="coco_r50 | cityscapes_r50 | ade20k_r50 | mapillary_r50"
    )
    args = parser.parse(arguments)
    from yoso.weights.conversion import convert

    folder = convert(args.checkpoint, args.folder, args.recipe)
    show(f"model folder: {folder}\nto use it:    yoso predict PHOTO --model {folder}")
    return 0
