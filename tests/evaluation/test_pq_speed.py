"""The benchmark of the counting: both versions count alike, and it writes what it measured."""

import json

import numpy as np
import pytest

from panoptic_pairs import load_script

SCRIPT = load_script()


def test_the_synthetic_pair_looks_like_panoptic_maps():
    (gt_map, gt_segments, pred_map, pred_segments), _ = SCRIPT.synthetic_pair(96, 128, 20, seed=1)
    assert gt_map.shape == pred_map.shape == (96, 128)
    assert max(gt_map.max(), pred_map.max()) > 1 << 20
    assert sum(s["iscrowd"] for s in gt_segments) == 1
    assert (gt_map == 0).mean() > 0.02
    assert {s["id"] for s in pred_segments} == set(np.unique(pred_map).tolist())


def test_a_measurement_checks_that_both_count_alike(monkeypatch):
    row = SCRIPT.measure("small", 96, 128, 20, rounds=2)
    assert row["times_faster"] == pytest.approx(row["plain_milliseconds"] / row["ours_milliseconds"], rel=0.2)
    monkeypatch.setattr(SCRIPT, "count_matches", lambda *args: SCRIPT.MatchCounts.zeros(133))
    with pytest.raises(AssertionError, match=r"true_positive|iou_sum"):
        SCRIPT.measure("small", 96, 128, 20, rounds=2)


def test_the_file_says_where_and_when(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(SCRIPT, "SIZES", (("small", 96, 128, 20),))
    monkeypatch.setattr("sys.argv", ["pq_speed.py", "--json", str(tmp_path / "out.json"), "--rounds", "2"])
    SCRIPT.main()
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["results"][0]["case"] == "small"
    assert {"machine", "versions", "commit", "date", "protocol"} <= set(content)
    assert "times faster" in capsys.readouterr().out
