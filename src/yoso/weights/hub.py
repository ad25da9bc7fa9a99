"""Model folders on the Hugging Face hub: pushed and pulled as they are."""

import shutil
from pathlib import Path
from typing import Any

from huggingface_hub import PyTorchModelHubMixin, snapshot_download
from torch import nn

from yoso.model.yoso import Images
from yoso.settings import is_offline
from yoso.structures import Outputs
from yoso.weights.hub_folder import FILES, PAPERS
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
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> "HubModel":
        """Read a model folder, or download one from the hub; with `YOSO_OFFLINE` only from the hub's cache."""
        options["local_files_only"] = options.get("local_files_only", False) or is_offline()
        return super().from_pretrained(pretrained_model_name_or_path, **options)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, map_location: str = "cpu", **options: Any) -> "HubModel":
        folder = Path(model_id)
        if not folder.is_dir():
            folder = Path(snapshot_download(model_id, allow_patterns=FILES, **options))
        return cls(read_model(folder, map_location), folder).eval()
