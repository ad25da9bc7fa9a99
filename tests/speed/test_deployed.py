"""What is timed is what `yoso.load` gives a user, in the precision that it then runs in; and the result says which."""

import types

import numpy as np
import pytest
import torch

from yoso.inference.engine import Timings
from yoso.inference.predictor import Predictor
from yoso.speed import ours, rooflines, session
from yoso.speed.entry import Entry, Settings
from yoso.speed.images import photograph
from yoso.speed.lineup import line_up
from yoso.speed.results import as_json
from yoso.speed.session import Plan, measure
from yoso.speed.table import tables
from yoso.weights.load import load_model

SIZE = (64, 96)


class Loaded(Predictor):
    """Stands in for a predictor on a GPU: says whether it was called under autocast, and what its steps took."""

    def __init__(self, network):
        self.engine = types.SimpleNamespace(network=network, precision="bf16", graphed=True, runtime="torch")
        self.calls = 0

    def __call__(self, pixels, input_size):
        self.calls += 1
        assert not torch.is_autocast_enabled("cuda")
        assert not torch.is_autocast_enabled("cpu")
        assert input_size == "native"
        return {"segmentation": np.zeros(pixels.shape[:2], np.int32), "segments_info": [{}, {}]}

    def timed(self, pixels, input_size):
        return self(pixels, input_size), Timings(0.0, 0.001, 0.005, 0.002)


@pytest.fixture
def loaded(tiny_model, monkeypatch):
    """Let `yoso.load` give a stand-in, and keep what it was asked for."""
    asked = []
    predictor = Loaded(load_model(tiny_model).network)

    def load(*arguments):
        asked.append(arguments)
        return predictor

    monkeypatch.setattr(ours, "load", load)
    return asked, predictor


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_on_a_gpu_is_the_user_s_and_one_stage(tiny_model, tmp_path, loaded, precision):
    asked, _ = loaded
    entry = Entry("tiny torch", str(tiny_model), "torch", SIZE, Settings("cuda", precision))
    contestant = ours.build(entry, tmp_path)
    assert asked == [(tiny_model, "cuda", "torch", precision)]
    assert contestant.precision == precision
    assert contestant.graphed()
    assert contestant.parameters > 0
    assert contestant.run(photograph(SIZE)).num_segments == 2
    assert contestant.stages(photograph(SIZE)) == {"prepare": 0.001, "network": 0.005, "merge": 0.002}


def test_float32_on_a_gpu_is_looked_into(tiny_model, tmp_path, loaded):
    asked, predictor = loaded
    entry = Entry("tiny torch", str(tiny_model), "torch", SIZE, Settings("cuda", "fp32"))
    contestant = ours.build(entry, tmp_path)
    assert asked == [(tiny_model, "cuda", "torch", "fp32")]
    assert contestant.network is predictor.engine.network
    assert list(contestant.boundaries) == ["backbone", "aggregator", "decoder"]


def test_the_result_of_a_graph(tiny_model, loaded, monkeypatch):
    """Its mode names the graph, and its floor is that of the network as a whole."""
    real = ours.build

    def on_the_cpu(entry, scratch):
        contestant = real(Entry(entry.name, entry.model, "torch", entry.size, Settings("cuda", "bf16")), scratch)
        return contestant.__class__(**{**contestant.__dict__, "device": torch.device("cpu")})

    monkeypatch.setattr(session, "build", on_the_cpu)
    monkeypatch.setattr(rooflines, "MATRIX_SIDE", {"cpu": 64})
    monkeypatch.setattr(rooflines, "COPY_BYTES", {"cpu": 2**16})
    entries = line_up([str(tiny_model)], ["torch"], [], [SIZE], Settings("cpu", "bf16"))
    result = measure(entries, Plan(repeats=3, warmup=1, memory=False, floors=True))
    (one,) = result.contestants
    assert (one.mode.precision, one.mode.graphed) == ("bf16", True)
    assert [floor.stage for floor in result.floors.stages] == ["network"]
    assert tables(result)[0].rows[0][1] == "bf16, CUDA graph"
    assert as_json(one)["mode"]["graphed"] is True


@pytest.mark.parametrize(("runtime", "precision"), [("onnxruntime", "fp32"), ("torch", "bf16"), ("eager", "bf16")])
def test_precision_is_what_ran_not_what_was_asked(tiny_model, runtime, precision):
    """An exported file in float32, which the bundled model has, stays one when the session asks for bfloat16."""
    model = "facades-mnv2" if runtime == "onnxruntime" else str(tiny_model)
    entries = line_up([model], [runtime], [], [SIZE], Settings("cpu", "bf16"))
    (one,) = measure(entries, Plan(repeats=1, warmup=1, memory=False)).contestants
    assert one.error is None
    assert one.mode.precision == precision
    assert "graphed" not in as_json(one)["mode"]


@pytest.mark.parametrize(
    ("model", "runtime", "asked"),
    [
        ("facades-mnv2", "onnxruntime", "fp32"),
        ("facades-mnv2", "onnxruntime-int8", "int8"),
        ("facades-mnv2", "torch", "bf16"),
        ("facades-mnv2", "official", "bf16"),
        ("x.onnx", "onnxruntime", "fp32"),
        ("eomt-s", "peer", "bf16"),
    ],
)
def test_what_could_not_be_built_is_named_as_it_was_asked_for(model, runtime, asked):
    assert ours.asked_precision(Entry("x", model, runtime, SIZE, Settings("cpu", "bf16"))) == asked


def test_a_contestant_in_another_precision_has_no_floor(tiny_model, monkeypatch):
    """Its peaks would be others."""
    monkeypatch.setattr(rooflines, "MATRIX_SIDE", {"cpu": 64})
    monkeypatch.setattr(rooflines, "COPY_BYTES", {"cpu": 2**16})
    entries = line_up([str(tiny_model)], ["torch"], [], [SIZE], Settings())
    measured = measure(entries, Plan(repeats=1, warmup=1, memory=False)).contestants
    assert len(rooflines.measure_floors(entries, measured, Settings()).stages) == 3
    assert rooflines.measure_floors(entries, measured, Settings("cpu", "bf16")).stages == []
