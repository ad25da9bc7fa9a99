"""Model folders on the Hugging Face hub: pushed and pulled as they are."""

import shutil
from pathlib import Path
from typing import Any

from huggingface_hub import PyTorchModelHubMixin, snapshot_download
from torch import nn

from yoso.model.yoso import Images
from yoso.settings import is_offline
from yoso.structures import Outputs
from yoso.weights.hub_folder import CARD_FILES, HUB_FILES
from yoso.weights.model_folder import Model, read_model, save_model


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
        folder: see `__init__`.
    """

    # Without this, the mixin would store the arguments of `__init__` as configuration; a model folder has its own.
    _hub_mixin_config: Any = {}  # noqa: RUF012

    def __init__(self, saved: Model, folder: Path | None = None) -> None:
        """Wrap a model.

        Args:
            saved: the model.
            folder: that it was read from; its card, licence and metrics are copied when it is saved.
        """
        super().__init__()
        self.saved = saved
        self.network = saved.network
        self.folder = folder

    def forward(self, images: Images) -> Outputs:
        """Run the network; see `YOSO`."""
        return self.network(images)

    @classmethod
    def from_pretrained(cls, *names: Any, local_files_only: bool = False, **options: Any) -> "HubModel":
        """Read a model folder or fetch one from the hub; `YOSO_OFFLINE` has the effect of `local_files_only`.

        Args:
            names: a folder or OWNER/NAME.
            local_files_only: fetch nothing.
            options: of `PyTorchModelHubMixin.from_pretrained`.

        Raises:
            CheckpointError: see `read_model`.
        """
        return super().from_pretrained(*names, local_files_only=local_files_only or is_offline(), **options)

    def _save_pretrained(self, save_directory: Path) -> None:
        save_model(save_directory, self.saved)
        for name in CARD_FILES:
            source = (self.folder or save_directory) / name
            if source.is_file() and source.parent.resolve() != save_directory.resolve():
                shutil.copyfile(source, save_directory / name)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, map_location: str = "cpu", **options: Any) -> "HubModel":
        folder = Path(model_id)
        if not folder.is_dir():
            folder = Path(snapshot_download(model_id, allow_patterns=HUB_FILES, **options))
        return cls(read_model(folder, map_location), folder).eval()
