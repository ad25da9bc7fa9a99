"""Describing a model for the metadata of an exported file."""

from dataclasses import replace

from yoso.inference.exported import Description
from yoso.preprocess import Size
from yoso.weights.model_folder import Model


def describe(model: Model, form: str, size: Size | None, source_sha256: str) -> Description:
    """Return the description of an exported file. A file of fixed size does no resizing.

    Args:
        model: that is exported.
        form: "raw" or "panoptic".
        size: the only (height, width) that the file takes, or None.
        source_sha256: of the weights' file, or empty.
    """
    config = model.network.config
    return Description(
        form,
        size,
        model.categories,
        replace(model.inference, input_size=None) if size else model.inference,
        config.pixel_mean,
        config.pixel_std,
        model.about,
        source_sha256,
    )
