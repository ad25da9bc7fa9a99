"""`yoso data`: finds the subcommand and runs it."""

import importlib

from yoso.apps.cli import USER_ERROR, Command
from yoso.errors import ConfigError, did_you_mean

SUBCOMMANDS = {
    "check": Command("yoso.apps.data_check", "read every file of a data set and report what is wrong"),
    "show": Command("yoso.apps.data_show", "draw the ground truth over some images, on one sheet"),
    "stats": Command("yoso.apps.data_stats", "count images, segments, areas and classes"),
    "convert": Command("yoso.apps.data_convert", "convert data in YOLO, COCO, Cityscapes or labelme format"),
    "prepare": Command(
        "yoso.apps.data_prepare", "convert the downloads of COCO, Cityscapes, ADE20K or Mapillary Vistas"
    ),
}


def main(arguments: list[str]) -> int:
    """Run `yoso data SUBCOMMAND ...`.

    Args:
        arguments: what stands after `yoso data`.

    Returns:
        The exit status.

    Raises:
        YosoError: no such subcommand; or see there.
    """
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(help_text())
        return 0 if arguments else USER_ERROR
    name = arguments[0]
    if name not in SUBCOMMANDS:
        raise ConfigError(f"unknown command 'data {name}'.{did_you_mean(name, SUBCOMMANDS)}")
    return importlib.import_module(SUBCOMMANDS[name].module).main(arguments[1:])


def help_text() -> str:
    """Return what `yoso data --help` prints."""
    lines = [f"  {name:9} {command.help}" for name, command in SUBCOMMANDS.items()]
    return "\n".join(
        (
            "usage: yoso data COMMAND ...",
            "",
            "Work on data sets in COCO panoptic format.",
            "",
            "commands:",
            *lines,
            "",
            "  `yoso data COMMAND --help` shows a command's options.",
        )
    )
