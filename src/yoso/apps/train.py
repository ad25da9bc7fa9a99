"""`yoso train`: train a network with a recipe."""


def main(arguments: list[str]) -> int:
    """Run `yoso train RECIPE|FILE.yaml --some.key value`, or `yoso train --recipe RECIPE DATASET`.

    Args:
        arguments: what stands after `yoso train`.

    Returns:
        The exit status.

    Raises:
        YosoError: see `yoso.training.run.train`.
    """
    from yoso.training.recipes import find_recipe, recipe_of

    recipe, _ = recipe_of(arguments)
    if recipe is not None:
        find_recipe(recipe)  # before PyTorch is loaded, so that a typo is reported at once
    from yoso.training.cli import main as train

    return train(arguments)
