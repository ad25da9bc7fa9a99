"""What is timed is what `yoso.load` gives a user, in the precision that it then runs in; and the result says which."""

import dataclasses
import types

import numpy as np
import pytest
import torch

from yoso.inference.engine import Timings
from yoso.inference.predictor import Predictor
from yoso.speed import rooflines, session, yoso_entries
from yoso.speed.entry import EntrySpec, TimingSettings
from yoso.speed.images import input_image
from yoso.speed.results import as_json
from yoso.speed.session import SessionPlan, measure
from yoso.speed.specs import entry_specs
from yoso.speed.table import tables
from yoso.weights.load import load_model

SIZE = (64, 96)


class FakeGpuPredictor(Predictor):
    """Stands in for a predictor on a GPU: refuses autocast, and reports fixed times."""

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
    """Let `yoso.load` return a stand-in, and record its arguments."""
    asked = []
    predictor = FakeGpuPredictor(load_model(tiny_model).network)

    def load(*arguments):
        asked.append(arguments)
        return predictor

    monkeypatch.setattr(yoso_entries, "load", load)
    return asked, predictor


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_on_a_gpu_is_what_users_get_and_one_stage(tiny_model, tmp_path, loaded, precision):
    asked, _ = loaded
    spec = EntrySpec("tiny torch", str(tiny_model), "torch", SIZE, TimingSettings("cuda", precision))
    entry = yoso_entries.build(spec, tmp_path)
    assert asked == [(tiny_model, "cuda", "torch", precision)]
    assert entry.precision == precision
    assert entry.uses_cuda_graph()
    assert entry.parameters > 0
    assert entry.run(input_image(SIZE)).num_segments == 2
    assert entry.stage_seconds(input_image(SIZE)) == {"prepare": 0.001, "network": 0.005, "merge": 0.002}


def test_float32_on_a_gpu_is_divided_into_stages(tiny_model, tmp_path, loaded):
    asked, predictor = loaded
    spec = EntrySpec("tiny torch", str(tiny_model), "torch", SIZE, TimingSettings("cuda", "fp32"))
    entry = yoso_entries.build(spec, tmp_path)
    assert asked == [(tiny_model, "cuda", "torch", "fp32")]
    assert entry.network is predictor.engine.network
    assert list(entry.boundaries) == ["backbone", "aggregator", "decoder"]


def test_the_result_of_a_graph_names_it_and_has_one_roofline(tiny_model, loaded, monkeypatch):
    real = yoso_entries.build

    def on_the_cpu(spec, scratch):
        entry = real(dataclasses.replace(spec, settings=TimingSettings("cuda", "bf16")), scratch)
        return dataclasses.replace(entry, device=torch.device("cpu"))

    monkeypatch.setattr(session, "build", on_the_cpu)
    monkeypatch.setattr(rooflines, "MATRIX_SIDE", {"cpu": 64})
    monkeypatch.setattr(rooflines, "COPY_BYTES", {"cpu": 2**16})
    specs = entry_specs([str(tiny_model)], ["torch"], [], [SIZE], TimingSettings("cpu", "bf16"))
    result = measure(specs, SessionPlan(repeats=3, warmup=1, memory=False, rooflines=True))
    (entry,) = result.entries
    assert (entry.mode.precision, entry.mode.cuda_graph) == ("bf16", True)
    assert [row.stage for row in result.rooflines.stages] == ["network"]
    assert tables(result)[0].rows[0][1] == "bf16, CUDA graph"
    assert as_json(entry)["mode"]["cuda_graph"] is True


@pytest.mark.parametrize(("runtime", "precision"), [("onnxruntime", "fp32"), ("torch", "bf16"), ("eager", "bf16")])
def test_the_precision_is_the_one_that_ran_not_the_requested_one(tiny_model, runtime, precision):
    """An exported file in float32, which the bundled model has, stays one when the session asks for bfloat16."""
    model = "facades-mnv2" if runtime == "onnxruntime" else str(tiny_model)
    specs = entry_specs([model], [runtime], [], [SIZE], TimingSettings("cpu", "bf16"))
    (entry,) = measure(specs, SessionPlan(repeats=1, warmup=1, memory=False)).entries
    assert entry.error is None
    assert entry.mode.precision == precision
    assert "cuda_graph" not in as_json(entry)["mode"]


@pytest.mark.parametrize(
    ("model", "runtime", "requested"),
    [
        ("facades-mnv2", "onnxruntime", "fp32"),
        ("facades-mnv2", "onnxruntime-int8", "int8"),
        ("facades-mnv2", "torch", "bf16"),
        ("facades-mnv2", "official", "bf16"),
        ("x.onnx", "onnxruntime", "fp32"),
        ("eomt-s", "baseline", "bf16"),
    ],
)
def test_an_entry_that_was_not_built_has_its_requested_precision(model, runtime, requested):
    spec = EntrySpec("x", model, runtime, SIZE, TimingSettings("cpu", "bf16"))
    assert yoso_entries.requested_precision(spec) == requested


def test_an_entry_in_another_precision_has_no_roofline(tiny_model, monkeypatch):
    """Its peaks would be different."""
    monkeypatch.setattr(rooflines, "MATRIX_SIDE", {"cpu": 64})
    monkeypatch.setattr(rooflines, "COPY_BYTES", {"cpu": 2**16})
    specs = entry_specs([str(tiny_model)], ["torch"], [], [SIZE], TimingSettings())
    measured = measure(specs, SessionPlan(repeats=1, warmup=1, memory=False)).entries
    assert len(rooflines.measure_rooflines(specs, measured, TimingSettings()).stages) == 3
    assert rooflines.measure_rooflines(specs, measured, TimingSettings("cpu", "bf16")).stages == []
