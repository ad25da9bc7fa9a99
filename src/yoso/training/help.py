"""What `yoso train --help` and `--help-all` print."""

import argparse

from jsonargparse import ArgumentParser

from yoso.training.recipes import recipes, summary

USAGE = "yoso train RECIPE --data DATASET [options]"

COMMON = {
    "--data DATASET": "data set: a YAML file, a folder, or a name",
    "--output DIR": "run folder: checkpoints, log, best model",
    "--start MODEL": "fine-tune a model: a name of `yoso models`, a folder, or hf:OWNER/NAME",
    "--backbone_weights W": "bundled, imagenet (download), none, or a safetensors file with timm's names",
    "--resume": "continue the run in --output from its newest checkpoint",
    "--run.iterations N": "length of the run in optimizer steps; the learning rate follows it",
    "--minutes M": "choose the length so that the run takes about M minutes, by timing some steps",
    "--batch N|auto": "images per process and batch; auto uses the largest batch that fits into memory",
    "--accumulate N": "batches per optimizer step: the same step with less memory",
    "--optimizer.lr RATE": "learning rate",
    "--augmentation.size [H,W]": "size of the training crops in pixels",
    "--input-size S[xL]|native": "shorter[xlongest] side of images in evaluation and in the saved model",
    "--run.validate_every N": "iterations between evaluations on val; 0 for none",
    "--run.precision P": "32-true, bf16-mixed or 16-mixed",
    "--run.devices N": "processes, one per GPU",
    "--run.workers N": "data-loading processes",
    "--offline": "download nothing",
}
"""The options that most runs need."""

SHORT_FORMS = """\
short forms:
  --batch N             run.batch_size
  --batch auto          run.auto_batch true
  --accumulate N        run.accumulate
  --minutes M           run.minutes
  --input-size S[xL]    inference.input_size [S,L]; native for null

Lists are written as "[1,2]". Every option is also a key of a recipe: run.seed is `seed` under `run`.
"""


def short_help() -> str:
    """Return usage, recipes and the most common options."""
    known = {name: summary(path) for name, path in recipes().items()}
    lines = [
        f"usage: {USAGE}",
        "",
        "Train a network. RECIPE is the name of a recipe or a YAML file, such as the recipe.yaml of a run.",
        "",
        "recipes:",
        *_columns(known),
        "",
        "common options:",
        *_columns(COMMON),
        "",
        "more:",
        *_columns(
            {
                "--help-all": "all options, grouped",
                "--print_config": "print the recipe with all settings as YAML, and exit",
            }
        ),
        "",
        "Any setting of a recipe is an option, for example --run.seed 1. Guide: docs/training.md",
        "example: yoso train small --data mine.yaml --output runs/mine",
    ]
    return "\n".join(lines)


def full_help(parser: ArgumentParser) -> str:
    """Return all options of the parser of `yoso train`, grouped, without those that take a whole group from a file."""
    groups = {action.dest.partition(".")[0] for action in parser._actions if "." in action.dest}
    for action in parser._actions:
        if action.dest in {*groups, "recipe"}:
            action.help = argparse.SUPPRESS
    parser.usage, parser.epilog = USAGE, None
    return f"{parser.format_help()}\n{SHORT_FORMS}"


def _columns(rows: dict[str, str]) -> list[str]:
    width = max(map(len, rows))
    return [f"  {name:{width}}  {text}" for name, text in rows.items()]
