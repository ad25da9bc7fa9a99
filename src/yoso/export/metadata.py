"""What an exported file says of itself, in one JSON document: enough to use it without the model folder."""

import json
from dataclasses import asdict, replace
from typing import Any

from yoso.installation import installed_version
from yoso.preprocess import Size
from yoso.weights.model_folder import Model


def facts(model: Model, form: str, size: Size | None, source_sha256: str) -> str:
    """Return the document. A file that takes one size alone does no resizing.

    Args:
        model: what is exported.
        form: "raw" or "panoptic".
        size: the only (height, width) that the file takes, or None.
        source_sha256: of the weights' file, or empty.
    """
    content: dict[str, Any] = {
        "form": form,
        "size": size,
        "categories": model.categories.to_json(),
        "inference": asdict(replace(model.inference, input_size=None) if size else model.inference),
        "pixel_mean": model.network.config.pixel_mean,
        "pixel_std": model.network.config.pixel_std,
        "about": model.about,
        "source_sha256": source_sha256,
        "yoso": installed_version(),
    }
    return json.dumps(content)
