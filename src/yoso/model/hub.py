"""Model folders on the Hugging Face hub: pushed and pulled as they are."""

import shutil
from pathlib import Path
from typing import Any

from huggingface_hub import PyTorchModelHubMixin, snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from torch import nn

from yoso.errors import CheckpointError
from yoso.model.checkpoint import PREPROCESSOR, Model, load_model, save_model
from yoso.model.folder import CONFIG, METRICS, WEIGHTS
from yoso.model.published import is_offline
from yoso.model.yoso import Images
from yoso.structures import Outputs

PAPERS = ("README.md", "LICENSE", METRICS)
"""Files of a model folder that travel with it and are not made anew."""

FILES = [WEIGHTS, CONFIG, PREPROCESSOR, *PAPERS]
"""All that is taken from a hub: nothing that could run."""


class HubModel(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="yoso",
    pipeline_tag="image-segmentation",
    tags=["panoptic-segmentation"],
    paper_url="https://arxiv.org/abs/2303.14651",
):
    """A `Model` with `save_pretrained`, `push_to_hub` and `from_pretrained`, which write and read model folders.

    Attributes:
        saved: network, categories, thresholds.
        network: of `saved`.
    """

    # The mixin would otherwise keep the arguments of `__init__` as the configuration; the model folder has its own.
    _hub_mixin_config: Any = {}  # noqa: RUF012

    def __init__(self, saved: Model, folder: Path | None = None) -> None:
        """Wrap a model.

        Args:
            saved: the model.
            folder: that it was read from; its card, licence and metrics go with it.
        """
        super().__init__()
        self.saved = saved
        self.network = saved.network
        self.folder = folder

    def forward(self, images: Images) -> Outputs:
        """Run the network; see `YOSO`."""
        return self.network(images)

    def _save_pretrained(self, save_directory: Path) -> None:
        save_model(save_directory, self.saved)
        for name in PAPERS:
            source = (self.folder or save_directory) / name
            if source.is_file() and source.parent.resolve() != save_directory.resolve():
                shutil.copyfile(source, save_directory / name)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, map_location: str = "cpu", **options: Any) -> "HubModel":
        folder = Path(model_id)
        if not folder.is_dir():
            folder = Path(snapshot_download(model_id, allow_patterns=FILES, **options))
        return cls(load_model(folder, map_location), folder).eval()


def hub_folder(repository: str, offline: bool = False) -> Path:
    """Return the local copy of a model on the hub; fetch it, or what changed of it.

    Args:
        repository: OWNER/NAME.
        offline: use what the hub's cache has; `YOSO_OFFLINE` and `HF_HUB_OFFLINE` say the same.

    Raises:
        CheckpointError: it cannot be fetched, or is not in the cache.
    """
    try:
        return Path(snapshot_download(repository, allow_patterns=FILES, local_files_only=offline or is_offline()))
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise CheckpointError(
            f"hf:{repository}: cannot be fetched ({reason}); check the name and the connection"
        ) from error
