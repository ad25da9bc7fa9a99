"""A session measures what its specs say, and its result holds what the protocol promises."""

import dataclasses
import json
import shutil

import pytest
from tiny_baselines import TINY

from yoso.errors import ConfigError
from yoso.speed import baselines, rooflines, session, yoso_entries
from yoso.speed.entry import TimingSettings
from yoso.speed.images import input_image
from yoso.speed.results import EXECUTED, as_json
from yoso.speed.session import SessionPlan, measure
from yoso.speed.specs import entry_specs

QUICK = SessionPlan(repeats=3, warmup=1, memory=False)


@pytest.fixture(scope="module")
def result(tiny_model):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "BASELINES", TINY)
        patch.setattr(rooflines, "MATRIX_SIDE", {"cpu": 128})
        patch.setattr(rooflines, "COPY_BYTES", {"cpu": 2**20})
        sizes = [(64, 96), (70, 70)]
        runtimes = ["torch", "eager", "official"]
        specs = entry_specs([str(tiny_model)], runtimes, ["eomt-s"], sizes, TimingSettings())
        return measure(specs, dataclasses.replace(QUICK, rooflines=True))


def test_every_entry_is_measured_at_every_size(result):
    names = ["tiny torch", "tiny eager", "tiny official", "eomt-s"]
    assert [(entry.name, entry.size) for entry in result.entries] == [
        (name, size) for size in ((64, 96), (70, 70)) for name in names
    ]
    for entry in result.entries:
        assert entry.error is None
        assert len(entry.samples) == 3
        assert entry.end_to_end.min == min(entry.samples) > 0
        assert sorted(entry.samples)[1] == entry.end_to_end.median
        assert entry.parameters > 0
        assert entry.mode.random_weights == (entry.name == "eomt-s")


def test_our_forms_find_the_same_segments(result):
    for size in ((64, 96), (70, 70)):
        counts = {entry.segments for entry in result.entries if entry.size == size and entry.name != "eomt-s"}
        assert len(counts) == 1
        assert counts.pop() > 0


def test_our_networks_have_five_stages(result):
    for entry in result.entries[:3]:
        assert list(entry.stages) == ["prepare", "backbone", "aggregator", "decoder", "merge"]
        assert min(entry.stages.values()) > 0


def test_ratios_are_of_medians(result):
    medians = {entry.size: entry.end_to_end.median for entry in result.entries if entry.name == "tiny torch"}
    assert result.reference == "tiny torch"
    assert len(result.ratios) == 6
    for ratio in result.ratios:
        other = next(entry for entry in result.entries if (entry.name, entry.size) == (ratio.name, ratio.size))
        assert ratio.times_faster == pytest.approx(other.end_to_end.median / medians[ratio.size])


def test_what_cannot_be_measured_is_absent(result):
    content = as_json(result)
    assert "gpu" not in content["machine"]
    for entry in content["entries"]:
        assert not {"energy_joules", "peak_memory_bytes", "error"} & entry.keys()


def test_no_path_is_in_the_result(result, tiny_model):
    assert str(tiny_model.parent) not in json.dumps(as_json(result))


def test_only_our_networks_have_rooflines(result):
    assert result.rooflines.counted_network == EXECUTED
    assert result.rooflines.flops_per_second > 0
    assert result.rooflines.bytes_per_second > 0
    assert len(result.rooflines.stages) == 2 * 3 * 3
    for row in result.rooflines.stages:
        assert row.times_roofline == pytest.approx(row.seconds / row.roofline_seconds)


def test_each_entry_is_compared_with_the_network_that_it_runs(result):
    flops = {(row.name, row.stage): row.flops for row in result.rooflines.stages if row.size == (64, 96)}
    aggregator = {name: flops[f"tiny {name}", "aggregator"] for name in ("torch", "eager", "official")}
    assert aggregator["torch"] < aggregator["eager"] == aggregator["official"]


def test_an_entry_that_runs_out_of_memory_does_not_stop_the_others(tiny_model, monkeypatch):
    monkeypatch.setattr(yoso_entries, "official_panoptic", lambda *_: (_ for _ in ()).throw(MemoryError()))
    specs = entry_specs([str(tiny_model)], ["official", "torch"], [], [(64, 64)], TimingSettings())
    result = measure(specs, QUICK)
    failed, fine = result.entries
    assert (failed.error, failed.end_to_end, failed.samples) == ("not enough memory", None, [])
    assert fine.end_to_end is not None
    assert result.ratios == []


def test_an_entry_that_does_not_do_the_work_fails(tiny_model, monkeypatch):
    real = session.build

    def lazy(spec, scratch):
        entry = real(spec, scratch)
        return dataclasses.replace(entry, run=lambda pixels: entry.run(pixels)._replace(segmentation=pixels[::2, :, 0]))

    monkeypatch.setattr(session, "build", lazy)
    (entry,) = measure(entry_specs([str(tiny_model)], ["torch"], [], [(64, 64)], TimingSettings()), QUICK).entries
    assert "returned a map of (32, 64)" in entry.error


def test_progress_ends_at_the_total(tiny_model):
    seen = []
    specs = entry_specs([str(tiny_model)], ["torch"], [], [(64, 64)], TimingSettings())
    measure(specs, QUICK, lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] == len(seen)


def test_a_recipe_gets_random_weights_that_keep_that_many_queries(tmp_path, monkeypatch):
    from yoso.model.yoso import YOSO

    small = {"pyramid_channels": (8,) * 4, "aggregation_channels": 16, "hidden_channels": 16, "num_heads": 2}

    def small_network(config, num_classes):
        changes = {**small, "backbone": "mobilenetv2_100", "feedforward_channels": 16}
        return YOSO(dataclasses.replace(config, **changes), num_classes)

    monkeypatch.setattr(yoso_entries, "YOSO", small_network)
    (spec,) = entry_specs(["coco_r50"], ["eager"], [], [(64, 96)], TimingSettings(kept_queries=4))
    entry = yoso_entries.build(spec, tmp_path)
    assert entry.random_weights
    logits = []
    entry.network.register_forward_hook(lambda *arguments: logits.append(arguments[-1].class_logits[0]))
    entry.run(input_image((64, 96)))
    scores, classes = logits[0].softmax(-1).max(-1)
    assert ((classes != 133) & (scores > 0.7)).sum() == 4
    assert [folder.name for folder in tmp_path.iterdir()] == ["coco_r50-64x96"]


def test_a_plan_that_measures_nothing_is_refused():
    with pytest.raises(ConfigError, match="--repeats 0: must be at least 1"):
        SessionPlan(repeats=0)
    with pytest.raises(ConfigError, match="--compile-seconds -1"):
        SessionPlan(compile_seconds=-1.0)


def test_the_reference_must_be_an_entry(tiny_model):
    specs = entry_specs([str(tiny_model)], ["torch", "eager"], [], [(64, 64)], TimingSettings())
    assert session.reference_name(specs, SessionPlan(reference="tiny eager")) == "tiny eager"
    with pytest.raises(ConfigError, match="Did you mean 'tiny eager'"):
        session.reference_name(specs, SessionPlan(reference="tiny eagle"))


def test_two_folders_with_one_name_are_numbered(tiny_model, tmp_path):
    other = shutil.copytree(tiny_model, tmp_path / "tiny")
    specs = entry_specs([str(tiny_model), str(other)], ["torch"], [], [(64, 64)], TimingSettings())
    assert [spec.name for spec in specs] == ["tiny torch", "tiny (2) torch"]
