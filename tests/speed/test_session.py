"""A session measures what its entries say and its result holds what the protocol promises."""

import dataclasses
import json
import shutil

import pytest
from tiny_peers import TINY

from yoso.errors import ConfigError
from yoso.speed import baselines, ours, rooflines, session
from yoso.speed.entry import Settings
from yoso.speed.lineup import line_up
from yoso.speed.results import as_json
from yoso.speed.session import Plan, measure

QUICK = Plan(repeats=3, warmup=1, memory=False)


@pytest.fixture(scope="module")
def result(tiny_model):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "PEERS", TINY)
        patch.setattr(rooflines, "MATRIX_SIDE", {"cpu": 128})
        patch.setattr(rooflines, "COPY_BYTES", {"cpu": 2**20})
        sizes = [(64, 96), (70, 70)]
        entries = line_up([str(tiny_model)], ["torch", "eager", "official"], ["eomt-s"], sizes, Settings())
        return measure(entries, dataclasses.replace(QUICK, floors=True))


def test_every_contestant_at_every_size(result):
    names = ["tiny torch", "tiny eager", "tiny official", "eomt-s"]
    assert [(one.name, one.size) for one in result.contestants] == [
        (name, size) for size in ((64, 96), (70, 70)) for name in names
    ]
    for one in result.contestants:
        assert one.error is None
        assert len(one.samples) == 3
        assert one.end_to_end.min == min(one.samples) > 0
        assert sorted(one.samples)[1] == one.end_to_end.median
        assert one.parameters > 0
        assert one.mode.random_weights == (one.name == "eomt-s")


def test_our_forms_find_the_same_segments(result):
    for size in ((64, 96), (70, 70)):
        counts = {one.segments for one in result.contestants if one.size == size and one.name != "eomt-s"}
        assert len(counts) == 1
        assert counts.pop() > 0


def test_stages_of_our_networks(result):
    for one in result.contestants[:3]:
        assert list(one.stages) == ["prepare", "backbone", "aggregator", "decoder", "merge"]
        assert min(one.stages.values()) > 0


def test_ratios_are_of_medians(result):
    base = {one.size: one.end_to_end.median for one in result.contestants if one.name == "tiny torch"}
    assert result.baseline == "tiny torch"
    assert len(result.ratios) == 6
    for ratio in result.ratios:
        other = next(one for one in result.contestants if (one.name, one.size) == (ratio.name, ratio.size))
        assert ratio.times_faster == pytest.approx(other.end_to_end.median / base[ratio.size])


def test_what_could_not_be_measured_is_absent(result):
    content = as_json(result)
    assert "gpu" not in content["machine"]
    for one in content["contestants"]:
        assert not {"energy_joules", "peak_memory_bytes", "error"} & one.keys()


def test_no_path_is_in_it(result, tiny_model):
    assert str(tiny_model.parent) not in json.dumps(as_json(result))


def test_floors_of_ours_alone(result):
    assert result.rooflines.flops_per_second > 0
    assert result.rooflines.bytes_per_second > 0
    assert len(result.floors.stages) == 2 * 3 * 3
    for stage in result.floors.stages:
        assert stage.times_floor == pytest.approx(stage.seconds / stage.floor_seconds)


def test_a_contestant_out_of_memory_does_not_stop_the_others(tiny_model, monkeypatch):
    monkeypatch.setattr(ours, "official_panoptic", lambda *_: (_ for _ in ()).throw(MemoryError()))
    entries = line_up([str(tiny_model)], ["official", "torch"], [], [(64, 64)], Settings())
    result = measure(entries, QUICK)
    failed, fine = result.contestants
    assert (failed.error, failed.end_to_end, failed.samples) == ("not enough memory", None, [])
    assert fine.end_to_end is not None
    assert result.ratios == []


def test_a_contestant_that_does_not_do_the_work_is_found_out(tiny_model, monkeypatch):
    real = session.build

    def lazy(entry, scratch):
        contestant = real(entry, scratch)
        return dataclasses.replace(
            contestant, run=lambda pixels: contestant.run(pixels)._replace(segmentation=pixels[::2, :, 0])
        )

    monkeypatch.setattr(session, "build", lazy)
    (one,) = measure(line_up([str(tiny_model)], ["torch"], [], [(64, 64)], Settings()), QUICK).contestants
    assert "gave a map of (32, 64)" in one.error


def test_progress_ends_at_the_total(tiny_model):
    seen = []
    entries = line_up([str(tiny_model)], ["torch"], [], [(64, 64)], Settings())
    measure(entries, QUICK, lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] == len(seen)


def test_a_recipe_gets_random_weights_and_so_many_survivors(tmp_path, monkeypatch):
    from yoso.model.yoso import YOSO

    small = {"pyramid_channels": (8,) * 4, "aggregation_channels": 16, "hidden_channels": 16, "num_heads": 2}

    def small_network(config, num_classes):
        changes = {**small, "backbone": "mobilenetv2_100", "feedforward_channels": 16}
        return YOSO(dataclasses.replace(config, **changes), num_classes)

    monkeypatch.setattr(ours, "YOSO", small_network)
    (entry,) = line_up(["coco_r50"], ["eager"], [], [(64, 96)], Settings(survivors=4))
    contestant = ours.build(entry, tmp_path)
    assert contestant.random_weights
    from yoso.speed.images import photograph

    kept = []
    contestant.network.register_forward_hook(lambda *arguments: kept.append(arguments[-1].class_logits[0]))
    contestant.run(photograph((64, 96)))
    scores, classes = kept[0].softmax(-1).max(-1)
    assert ((classes != 133) & (scores > 0.7)).sum() == 4
    assert [folder.name for folder in tmp_path.iterdir()] == ["coco_r50-64x96"]


def test_wrong_plans():
    with pytest.raises(ConfigError, match="repeats is 0; it must be at least 1"):
        Plan(repeats=0)
    with pytest.raises(ConfigError, match="compile_seconds is -1"):
        Plan(compile_seconds=-1.0)


def test_the_baseline_must_be_there(tiny_model):
    entries = line_up([str(tiny_model)], ["torch", "eager"], [], [(64, 64)], Settings())
    assert session.baseline_of(entries, Plan(baseline="tiny eager")) == "tiny eager"
    with pytest.raises(ConfigError, match="Did you mean 'tiny eager'"):
        session.baseline_of(entries, Plan(baseline="tiny eagle"))


def test_two_folders_of_one_name_are_told_apart(tiny_model, tmp_path):
    other = shutil.copytree(tiny_model, tmp_path / "tiny")
    entries = line_up([str(tiny_model), str(other)], ["torch"], [], [(64, 64)], Settings())
    assert [entry.name for entry in entries] == ["tiny torch", "tiny (2) torch"]
