"""OpenVINO runs an exported network; torch is never loaded."""

import threading
from pathlib import Path
from typing import Any

import numpy as np

from yoso.errors import CheckpointError, ConfigError
from yoso.files import PathLike
from yoso.inference.exported import METADATA, Description, ExportedEngine, Logits, num_threads
from yoso.inference.memory import loading_errors
from yoso.installation import optional_packages

PRECISIONS = {"f32": "fp32", "f16": "fp16", "bf16": "bf16"}
"""OpenVINO's names, and ours."""


class OpenVinoEngine(ExportedEngine):
    """A file written by `yoso export --format openvino`; see `ExportedEngine` for the attributes."""

    runtime = "openvino"

    def __init__(self, path: PathLike, device: str = "auto") -> None:
        """Open a file.

        Args:
            path: the .xml; the .bin lies beside it.
            device: "auto" and "cpu" are the CPU; other names are OpenVINO's own, such as "GPU".

        Raises:
            CheckpointError: a file is missing or damaged, or `yoso export` did not write it.
            ConfigError: openvino is not installed, has no such device, or has too little memory.
        """
        ov = import_openvino()
        core = ov.Core()
        name = "cpu" if device in {"auto", "cpu"} else device
        if name != "cpu" and name not in core.available_devices:
            known = ", ".join(core.available_devices)
            raise ConfigError(f"device {device!r}: OpenVINO has {known} on this machine; use cpu")
        if not Path(path).is_file():
            raise CheckpointError(f"{path}: no such file")
        options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if name == "cpu" and num_threads():
            options["INFERENCE_NUM_THREADS"] = num_threads()
        try:
            with loading_errors(path, name):
                model = core.read_model(str(path))
                document = model.get_rt_info([METADATA, "facts"]).astype(str)
                self._compiled = core.compile_model(model, "CPU" if name == "cpu" else name, options)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"{path}: is not an OpenVINO file that `yoso export` made ({reason})") from error
        super().__init__(path, name, Description.from_json(document, path))
        self._requests = threading.local()

    @property
    def precision(self) -> str:
        """Return what OpenVINO computes in: bfloat16 by default if the processor has matrix units for it."""
        kind = self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        return PRECISIONS.get(kind, kind)

    def run(self, images: np.ndarray) -> Logits:
        """Run the network; see `ExportedEngine`."""
        # One request per thread, because two threads cannot use the same one at a time.
        if not hasattr(self._requests, "own"):
            self._requests.own = self._compiled.create_infer_request()
        request = self._requests.own
        request.infer({0: images})
        class_logits, mask_logits = (np.array(request.get_output_tensor(index).data[0]) for index in range(2))
        return class_logits, mask_logits


def import_openvino() -> Any:
    """Return the module.

    Raises:
        ConfigError: it is not installed.
    """
    with optional_packages():
        import openvino
    return openvino
