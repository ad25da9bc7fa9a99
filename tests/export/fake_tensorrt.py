"""A stand-in with the calls of TensorRT that are made, since it runs nowhere without its GPU."""

import enum
import types


class Creation(enum.IntEnum):
    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


class Config:
    def set_memory_pool_limit(self, pool, size):
        assert size > 0


class Logger:
    WARNING = 1

    def __init__(self, level):
        self.level = level


def fake_tensorrt(version, parses=True, builds=True):
    """Return the module; its engines are the ONNX file that they were built from, with a mark before it."""
    done = []

    class Builder:
        def __init__(self, logger):
            assert isinstance(logger, Logger)

        def create_network(self, flags):
            # Weakly typed, version 10 would choose a type for every layer; 11 has no other than strong types.
            assert flags == 1 << Creation.STRONGLY_TYPED
            return types.SimpleNamespace(data=b"")

        def create_builder_config(self):
            return Config()

        def build_serialized_network(self, network, config):
            assert isinstance(config, Config)
            return b"engine" + network.data if builds else None

    class OnnxParser:
        num_errors = 1

        def __init__(self, network, logger):
            self.network = network

        def parse(self, data):
            assert "plugins" in done, "DeformConv is a plugin, and nobody registered them"
            self.network.data = data
            return parses

        def get_error(self, index):
            return "unsupported DeformConv"

    return types.SimpleNamespace(
        __version__=version,
        Logger=Logger,
        Builder=Builder,
        OnnxParser=OnnxParser,
        NetworkDefinitionCreationFlag=Creation,
        MemoryPoolType=types.SimpleNamespace(WORKSPACE=0),
        init_libnvinfer_plugins=lambda logger, namespace: done.append("plugins"),
    )
