"""Whole networks of tables 5 to 10 are counted and timed; their rows are those of the paper."""

import pytest

from small_networks import small_config
from yoso.reproduction import networks
from yoso.reproduction.plan import ReproductionPlan
from yoso.reproduction.published import paper_rows
from yoso.reproduction.sweep_file import budget_of, swept_tables, table_variants


@pytest.mark.parametrize("table", swept_tables())
def test_rows_are_those_of_the_paper(table):
    assert [variant.row for variant in table_variants(table)] == [row["row"] for row in paper_rows(table)]


def test_the_rows_that_are_yoso_itself_change_nothing():
    default = [variant.row for table in swept_tables() for variant in table_variants(table) if not variant.network]
    assert default == ["CFA", "SDCA", "N=2", "t=3", "T=2", "n=100"]
    assert swept_tables() == [f"table{number}" for number in range(5, 11)]


def test_networks_are_all_valid():
    for table in swept_tables():
        for variant in table_variants(table):
            config = networks.variant_recipe(variant).model
            assert all(getattr(config, name) == value for name, value in variant.network.items())


def test_budgets():
    small, paper = budget_of("small"), budget_of("paper")
    assert (small.recipe, small.data, small.seeds) == ("small", ("facades", "nuclei"), (0, 1, 2))
    assert (paper.recipe, paper.iterations) == ("coco_r50", 270_000)


def test_every_row_is_counted_and_timed(monkeypatch, one_thread):
    recipe = networks.read_recipe("coco_r50")._replace(model=small_config(num_queries=13))
    monkeypatch.setattr(networks, "read_recipe", lambda name: recipe)
    monkeypatch.setattr(networks, "SIZE", (64, 96))
    content = networks.network_costs("table9", ReproductionPlan(device="cpu", repeats=1))
    rows = content["rows"]
    assert [row["row"] for row in rows] == ["T=1", "T=2", "T=3"]
    assert rows[0]["parameters"] < rows[1]["parameters"] < rows[2]["parameters"]
    decoders = [row["flops"]["decoder"] for row in rows]
    assert decoders == sorted(set(decoders))
    assert len({row["deformable_flops"] for row in rows}) == 1
    assert 0 < rows[0]["deformable_flops"] < rows[0]["flops"]["aggregator"]
    assert all(len(row["samples"]) == 1 and row["seconds"]["median"] > 0 for row in rows)


def test_the_official_network_has_the_flops_that_were_measured():
    recipe = networks.read_recipe("coco_r50")
    operations = networks._operations(recipe)
    assert sum(operations["flops"].values()) / 1e9 == pytest.approx(298.9, abs=0.1)
    # Three 3x3 convolutions of 1024 -> 512 at 1/32, 512 -> 256 at 1/16 and 256 -> 128 at 1/8 of 800x1344.
    positions = [25 * 42, 50 * 84, 100 * 168]
    widths = [(1024, 512), (512, 256), (256, 128)]
    expected = sum(2 * 9 * n * inner * outer for n, (inner, outer) in zip(positions, widths, strict=True))
    assert operations["deformable_flops"] == expected
