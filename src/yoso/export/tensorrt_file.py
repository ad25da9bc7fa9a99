"""TensorRT engines, built from a raw ONNX file whose types they keep.

Version 11 takes every type from the file. Version 10 does so if the network is strongly typed; otherwise it chooses
half precision layer by layer, and the decoder's sums overflow. So one file serves both versions.
"""

from pathlib import Path
from typing import Any

from yoso.errors import ConfigError, ExportError
from yoso.installation import install_command

WORKSPACE_BYTES = 4 * 2**30


def import_tensorrt() -> Any:
    """Return the module.

    Raises:
        ConfigError: it is not installed, or too old for DeformConv.
    """
    try:
        import tensorrt  # pyrefly: ignore[missing-import]
    except ImportError as error:
        raise ConfigError(
            f"tensorrt is not installed; run: {install_command('tensorrt')}, or export with --format onnx --form raw "
            "--fixed-size HEIGHTxWIDTH and build the engine with trtexec on a machine with TensorRT"
        ) from error
    version = tuple(int(part) for part in tensorrt.__version__.split(".")[:2])
    if version < (10, 1):
        raise ConfigError(f"TensorRT {tensorrt.__version__} has no DeformConv; version 10.1 or newer is needed")
    return tensorrt


def build_engine(onnx_path: Path, path: Path) -> None:
    """Build an engine for the GPU of this machine, in which every tensor has the type that it has in the file.

    Args:
        onnx_path: a raw ONNX file of fixed size.
        path: the engine, a temporary file.

    Raises:
        ConfigError: TensorRT is missing or too old.
        ExportError: TensorRT cannot read the network, or cannot build the engine.
    """
    trt = import_tensorrt()
    logger = trt.Logger(trt.Logger.WARNING)
    trt.init_libnvinfer_plugins(logger, "")  # which include the deformable convolution
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx_path.read_bytes()):
        reasons = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))
        raise ExportError(f"TensorRT {trt.__version__} cannot read the network ({reasons[:300]})")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise ExportError(f"TensorRT {trt.__version__} could not build an engine; its messages are above")
    path.write_bytes(bytes(engine))
