"""Single modules of tables 5 and 6: equal outputs, and latency by the shared protocol."""

import pytest

from yoso.errors import YosoError
from yoso.reproduction import modules
from yoso.reproduction.plan import ReproductionPlan

PLAN = ReproductionPlan(device="cpu", repeats=2)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(modules, "SIDE", 16)
    monkeypatch.setattr(modules, "WIDTHS", (8, 16))


def test_table_5_times_three_modules_at_both_widths(small):
    content = modules.aggregation_latency(PLAN)
    assert [width["width"] for width in content["widths"]] == [8, 16]
    for width in content["widths"]:
        assert [row["kind"] for row in width["rows"]] == ["ifa", "cfa", "ifa deployed as cfa"]
        assert width["max_difference"] < 1e-5
        for row in width["rows"]:
            assert len(row["samples"]) == 2
            assert row["seconds"]["median"] > 0


def test_table_5_refuses_modules_that_differ(small, monkeypatch):
    monkeypatch.setattr(modules, "MAX_DIFFERENCE", -1.0)
    with pytest.raises(YosoError, match=r"IFA and the CFA that it is converted to differ by .*; they must be equal"):
        modules.aggregation_latency(PLAN)


def test_table_6_times_five_modules():
    rows = modules.attention_latency(PLAN)["rows"]
    assert [row["kind"] for row in rows] == ["mhca", "sdca", "dca", "pdca", "ddca"]
    assert all(len(row["samples"]) == 2 for row in rows)
    parameters = {row["kind"]: row["parameters"] for row in rows}
    assert parameters["sdca"] == 257 * 103 + 512
    assert parameters["ddca"] < parameters["pdca"] < parameters["dca"]


def test_a_module_that_fails_is_one_line():
    def fails():
        raise RuntimeError("no kernel")

    with pytest.raises(YosoError, match="sdca failed: no kernel; use another device"):
        modules.timed({"sdca": fails}, 1, modules.device_of(PLAN))
