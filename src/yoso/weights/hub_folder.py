"""Fetching a model folder from the Hugging Face hub. Loads no torch."""

from pathlib import Path

from yoso.errors import CheckpointError
from yoso.installation import optional_packages
from yoso.settings import is_offline
from yoso.weights.layout import CONFIG, METRICS, PREPROCESSOR, WEIGHTS

PAPERS = ("README.md", "LICENSE", METRICS)
"""Files of a model folder that travel with it and are not made anew."""

FILES = [WEIGHTS, CONFIG, PREPROCESSOR, *PAPERS]
"""All that is taken from a hub: nothing that could run."""


def hub_folder(repository: str, offline: bool = False) -> Path:
    """Return the local copy of a model on the hub; fetch it, or what changed of it.

    Args:
        repository: OWNER/NAME.
        offline: use what the hub's cache has; `YOSO_OFFLINE` and `HF_HUB_OFFLINE` say the same.

    Raises:
        CheckpointError: it cannot be fetched, or is not in the cache.
    """
    with optional_packages(f"hf:{repository}"):
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(repository, allow_patterns=FILES, local_files_only=offline or is_offline()))
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise CheckpointError(
            f"hf:{repository}: cannot be fetched ({reason}); check the name and the connection"
        ) from error
