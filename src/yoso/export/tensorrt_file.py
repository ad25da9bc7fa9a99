"""TensorRT engines from the raw ONNX file. Versions 10 and 11 differ in how half precision is asked for."""

from pathlib import Path
from typing import Any

from yoso.errors import ConfigError, ExportError

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
            "tensorrt is not installed; run: pip install tensorrt, or write --format onnx --form raw --size H W here "
            "and build the engine with trtexec where TensorRT is"
        ) from error
    version = tuple(int(part) for part in tensorrt.__version__.split(".")[:2])
    if version < (10, 1):
        raise ConfigError(f"TensorRT {tensorrt.__version__} knows no DeformConv; version 10.1 or newer is needed")
    return tensorrt


def build_engine(onnx_path: Path, path: Path, precision: str) -> None:
    """Build an engine for the GPU of this machine.

    Args:
        onnx_path: a raw ONNX file of fixed size.
        path: the engine, a temporary file.
        precision: "fp32" or "fp16".

    Raises:
        ConfigError: TensorRT is missing or too old, or no longer builds half precision from a float32 file.
        ExportError: TensorRT refuses the network.
    """
    trt = import_tensorrt()
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx_path.read_bytes()):
        reasons = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))
        raise ExportError(f"TensorRT {trt.__version__} cannot read the network ({reasons[:300]})")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    if precision == "fp16":
        if not hasattr(trt.BuilderFlag, "FP16"):
            raise ConfigError(
                f"TensorRT {trt.__version__} takes the precision from the ONNX file and has no fp16 option; use fp32, "
                "or TensorRT 10"
            )
        config.set_flag(trt.BuilderFlag.FP16)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise ExportError(f"TensorRT {trt.__version__} could not build an engine; its messages are above")
    path.write_bytes(bytes(engine))
