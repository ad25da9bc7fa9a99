"""The paper's FLOPs come out exactly, and its closed forms equal what a counter finds on our modules."""

import pytest

from yoso.model.attention import ATTENTIONS
from yoso.reproduction.counting import (
    CHANNELS,
    SIDE,
    attention_operations,
    cfa_operations,
    cfa_ratio,
    count_aggregation,
    count_attention,
    ifa_operations,
    sdca_ratio,
)
from yoso.reproduction.modules import aggregation_flops, attention_flops, contours
from yoso.reproduction.plan import ReproductionPlan
from yoso.reproduction.published import paper_row

TABLE5 = {"IFA": ifa_operations, "CFA": cfa_operations}


def in_giga(operations):
    return f"{operations / 1e9:.1f}G"


@pytest.mark.parametrize(("name", "exactly"), [("IFA", 16_575_889_408), ("CFA", 2_139_095_040)])
def test_table_5_has_the_flops_of_width_128(name, exactly):
    assert TABLE5[name](CHANNELS, 128, SIDE**2) == exactly
    assert count_aggregation(name.lower(), CHANNELS, 128, SIDE) == exactly
    assert in_giga(exactly) == paper_row("table5", name)["flops"]
    assert in_giga(TABLE5[name](CHANNELS, 256, SIDE**2)) != paper_row("table5", name)["flops"]


@pytest.mark.parametrize(
    ("name", "exactly"),
    [("MHCA", 31_462_400), ("SDCA", 5_401_600), ("DCA", 15_488_000), ("PDCA", 5_248_000), ("DDCA", 281_600)],
)
def test_table_6_has_the_paper_s_flops(name, exactly):
    assert attention_operations(name.lower()) == exactly
    assert count_attention(name.lower()) == exactly
    assert f"{exactly / 1e6:.1f}M" == paper_row("table6", name)["flops"]


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_closed_forms_hold_for_other_sizes(kind):
    assert attention_operations(kind, 40, 64, 5) == count_attention(kind, 40, 64, 5)


def test_unequal_channels_are_counted_too():
    channels = (8, 24, 16, 64)
    for kind, closed in (("ifa", ifa_operations), ("cfa", cfa_operations)):
        assert count_aggregation(kind, channels, 12, 32) == closed(channels, 12, 32**2)


def test_the_parts_have_both_counts():
    for part in (aggregation_flops, attention_flops):
        rows = part(ReproductionPlan())["rows"]
        assert rows
        assert all(row["closed_form"] == row["counted"] for row in rows)


def test_figure_5_equals_what_is_counted():
    content = contours(ReproductionPlan())
    assert len(content["cfa"]) == len(content["sdca"]) == 24
    for row in content["cfa"]:
        assert row["ratio"] == pytest.approx(row["counted"], rel=1e-12)
        assert row["ratio"] == cfa_ratio(row["channels"], row["width"])
    for row in content["sdca"]:
        assert row["ratio"] == pytest.approx(row["counted"], rel=1e-12)
        assert row["ratio"] == sdca_ratio(row["tokens"], row["width"])


def test_figure_5_rises_as_the_paper_says():
    assert cfa_ratio(1024, 128) > cfa_ratio(256, 128) > cfa_ratio(256, 512)
    assert sdca_ratio(50, 256) > sdca_ratio(100, 256) > sdca_ratio(100, 128)
