"""The pretrained weights of a backbone that timm publishes: taken from the local cache, or downloaded into it."""

from pathlib import Path
from typing import Any

import torch
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from timm.models import get_pretrained_cfg

from yoso.errors import CheckpointError
from yoso.model.backbone import check_backbone
from yoso.settings import is_offline
from yoso.weights.download import download

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
"""Names that timm gives to weights on the Hugging Face hub, the preferred one first."""

TIMEOUT_SECONDS = 10.0
ADVICE = "give a file by --backbone_weights FILE, --backbone_weights none for random weights, or a model by --start"


def pretrained_backbone(name: str, offline: bool = False) -> Path:
    """Return the file with the weights that timm publishes for a backbone; download it unless it is in a cache.

    A file in the cache is used without asking the server for a newer one.

    Args:
        name: a timm model, with or without its pretrained tag.
        offline: download nothing; `YOSO_OFFLINE` and `HF_HUB_OFFLINE` do the same.

    Raises:
        ConfigError: timm has no such model.
        CheckpointError: timm publishes no weights for this model; or they are not in a cache and must not be, or cannot
            be, downloaded. Names the options that help.
        OutputError: the cache cannot be written.
    """
    check_backbone(name)
    config: Any = get_pretrained_cfg(name)
    if config is None or not (config.hf_hub_id or config.url):
        raise CheckpointError(f"timm publishes no weights for backbone {name}; {ADVICE}")
    offline = offline or is_offline()
    if config.hf_hub_id:
        repository, _, revision = config.hf_hub_id.partition("@")
        files = (config.hf_hub_filename,) if config.hf_hub_filename else HUB_FILES
        return _from_hub(name, repository, revision or None, files, offline)
    path = Path(torch.hub.get_dir()) / "checkpoints" / config.url.rpartition("/")[2]
    if not path.is_file():
        if offline:
            raise _not_cached(name)
        try:
            download(config.url, path)
        except CheckpointError as error:
            raise _not_fetched(name, config.url, error.__cause__ or error) from error
    return path


def _from_hub(name: str, repository: str, revision: str | None, files: tuple[str, ...], offline: bool) -> Path:
    for file in files:
        found = try_to_load_from_cache(repository, file, revision=revision)
        if isinstance(found, str):
            return Path(found)
    if offline:
        raise _not_cached(name)
    for file in files:
        try:
            # The download itself would try again for half a minute where there is no network.
            get_hf_file_metadata(hf_hub_url(repository, file, revision=revision), timeout=TIMEOUT_SECONDS)
            return Path(hf_hub_download(repository, file, revision=revision))
        except LocalEntryNotFoundError as error:
            raise _not_fetched(name, repository, error) from error
        except EntryNotFoundError:
            continue
        except Exception as error:  # the hub's client has used three HTTP libraries, each with errors of its own
            raise _not_fetched(name, repository, error) from error
    raise CheckpointError(f"{repository} on the Hugging Face hub has none of {', '.join(files)}; {ADVICE}")


def _not_cached(name: str) -> CheckpointError:
    return CheckpointError(
        f"the pretrained weights of backbone {name} are not in the cache, and offline nothing is downloaded; {ADVICE}"
    )


def _not_fetched(name: str, source: str, error: BaseException) -> CheckpointError:
    reason = " ".join(str(error).split())[:160]
    return CheckpointError(
        f"the pretrained weights of backbone {name} cannot be downloaded from {source} ({reason}); check the "
        f"connection, or {ADVICE}"
    )
