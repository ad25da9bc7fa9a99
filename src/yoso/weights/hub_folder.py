"""Fetching a model folder from the Hugging Face hub. Loads no torch."""

from pathlib import Path

from yoso.errors import CheckpointError
from yoso.installation import optional_packages
from yoso.settings import is_offline
from yoso.weights.layout import CONFIG, METRICS, PREPROCESSOR, WEIGHTS

CARD_FILES = ("README.md", "LICENSE", METRICS)
"""Files of a model folder that are copied with it and not written anew."""

HUB_FILES = [WEIGHTS, CONFIG, PREPROCESSOR, *CARD_FILES]
"""All that is fetched from a hub: nothing that can run."""


def hub_folder(repository: str, offline: bool = False) -> Path:
    """Return the local copy of a model on the hub; fetch what is missing or has changed.

    Args:
        repository: OWNER/NAME.
        offline: use the hub's cache only; `YOSO_OFFLINE` and `HF_HUB_OFFLINE` have the same effect.

    Raises:
        CheckpointError: it cannot be fetched, or is not in the cache.
    """
    with optional_packages(f"hf:{repository}"):
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError

    offline = offline or is_offline()
    try:
        return Path(snapshot_download(repository, allow_patterns=HUB_FILES, local_files_only=offline))
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        advice = (
            "check the name, or run once without --offline or YOSO_OFFLINE"
            if offline
            else ("check the name and the connection")
        )
        raise CheckpointError(f"hf:{repository}: cannot be fetched ({reason}); {advice}") from error
