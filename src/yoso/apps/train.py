"""`yoso train`: train a network with a recipe."""

from yoso.training.cli import main as train


def main(arguments: list[str]) -> int:
    """Run `yoso train RECIPE --data DATASET [options]`.

    Args:
        arguments: the words after `yoso train`.

    Returns:
        The exit status.

    Raises:
        YosoError: see `yoso.training.cli.main`.
    """
    return train(arguments)
