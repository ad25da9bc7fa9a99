"""Tables 1 to 4 run from a benchmark's download and an official checkpoint to a result file."""

import dataclasses
import json

import pytest

from official_file import SMALL, small_tensors, write_official
from yoso.apps.cli import main
from yoso.class_tables import benchmark_categories
from yoso.data.formats.archive import open_tree
from yoso.data.formats.benchmarks import plan_benchmark
from yoso.data.formats.preparation import OutputLayout, write_dataset
from yoso.errors import ConfigError
from yoso.reproduction import benchmarks
from yoso.reproduction.plan import ReproductionPlan
from yoso.reproduction.registry import ITEMS
from yoso.reproduction.report import item_tables
from yoso.reproduction.result_file import read_item_result
from yoso.speed import yoso_entries
from yoso.weights.conversion import convert
from yoso.weights.official_recipes import read_recipe

PARTS = {"table1": "pq_512x800", "table2": "pq_512x1024", "table3": "pq_640x2560", "table4": "pq_2048x2048"}


def small_recipe(benchmark):
    """The benchmark's own recipe, with the network of the small checkpoint but for its depth."""
    own = read_recipe(f"{benchmark}_r50")
    model = dataclasses.replace(SMALL.model, branch_depth=own.model.branch_depth)
    return own._replace(model=model, inference=SMALL.inference)


@pytest.fixture(scope="session")
def ready(tmp_path_factory, plant):
    """Prepare a benchmark's miniature download and convert a small official checkpoint: (data set, model folder)."""
    made = {}

    def make(benchmark):
        if benchmark not in made:
            root = tmp_path_factory.mktemp(benchmark)
            plant(benchmark, root / "download")
            with open_tree(root / "download", root / ".unpacked") as tree:
                layout = OutputLayout(root / f"{benchmark}.yaml", root / f"{benchmark}_prepared")
                write_dataset(plan_benchmark(benchmark, tree, ["val"]), layout)
            recipe = small_recipe(benchmark)
            checkpoint = write_official(root / f"yoso_res50_{benchmark}.pth", small_tensors(recipe, benchmark))
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("yoso.weights.conversion.read_recipe", lambda name: recipe)
                made[benchmark] = root / f"{benchmark}.yaml", convert(checkpoint, root / "model", f"{benchmark}_r50")
        return made[benchmark]

    return make


@pytest.mark.parametrize("table", PARTS)
def test_the_whole_path(table, ready, tmp_path, monkeypatch, capsys, one_thread):
    benchmark, part = benchmarks.TABLES[table].benchmark, PARTS[table]
    data, model = ready(benchmark)
    monkeypatch.chdir(tmp_path)
    words = ["reproduce", table, "--data", str(data), "--model", str(model), "--parts", part, "--device", "cpu"]
    assert main(words) == 0
    assert "YOSO, here" in capsys.readouterr().out
    result = read_item_result(tmp_path / "benchmarks" / "paper" / f"{table}.json")
    content = result.parts[part].content
    assert (content["images"], content["data"], content["model"]) == (2, data.name, "model")
    assert 0 <= content["all"]["pq"] <= 1
    assert len(content["per_class"]) == len(benchmark_categories(benchmark))
    assert str(tmp_path) not in (tmp_path / "benchmarks" / "paper" / f"{table}.json").read_text()
    if table == "table1":
        evaluate = ["eval", "--model", str(model), "--data", str(data), "--input-size", "512x800", "--runtime", "torch"]
        assert main([*evaluate, "--device", "cpu", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["all"] == content["all"]


def test_an_interrupted_score_continues(ready, tmp_path, monkeypatch, one_thread):
    data, model = ready("coco")
    plan = ReproductionPlan(data=str(data), model=str(model), device="cpu", runs=tmp_path)
    whole = benchmarks.panoptic_scores("table1", (64, 128), plan)
    (tmp_path / "table1-64x128.json").unlink()
    monkeypatch.setattr(benchmarks, "CHUNK", 1)
    scored, score = [], benchmarks.score_image

    def stops_at_the_second(*arguments):
        if len(scored) == 1:
            scored.append("stopped")
            raise KeyboardInterrupt
        scored.append("image")
        return score(*arguments)

    monkeypatch.setattr(benchmarks, "score_image", stops_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        benchmarks.panoptic_scores("table1", (64, 128), plan)
    content = benchmarks.panoptic_scores("table1", (64, 128), plan)
    assert scored == ["image", "stopped", "image"]
    assert content["per_class"] == whole["per_class"]
    # Another size does not take over the counts of this one.
    (tmp_path / "table1-64x128.json").rename(tmp_path / "table1-64x96.json")
    benchmarks.panoptic_scores("table1", (64, 96), plan)
    assert scored[3:] == ["image", "image"]


def test_weights_and_data_of_another_benchmark(ready, tmp_path):
    coco, cityscapes = ready("coco"), ready("cityscapes")
    plan = ReproductionPlan(data=str(coco[0]), model=str(cityscapes[1]), device="cpu", runs=tmp_path)
    with pytest.raises(ConfigError, match=r"model .* and benchmark coco have different classes: category"):
        benchmarks.panoptic_scores("table1", (64, 128), plan)
    with pytest.raises(ConfigError, match=r"benchmark cityscapes and data set .* have different classes: category"):
        benchmarks.panoptic_scores("table2", (64, 128), plan)
    with pytest.raises(ConfigError, match=r"benchmark cityscapes and data set .* have different classes: category"):
        benchmarks.mask_ap_scores("", "", plan, benchmark="cityscapes")


def test_mask_ap_of_the_same_network(ready, tmp_path, one_thread):
    data, model = ready("coco")
    plan = ReproductionPlan(data=str(data), model=str(model), device="cpu")
    content = benchmarks.mask_ap_scores("", "", plan, benchmark="coco")
    assert (content["images"], content["model"]) == (2, "model")
    assert 0 <= content["instance"]["ap"] <= 1


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("YOSO_CACHE", str(tmp_path))
    monkeypatch.setenv("YOSO_DATA", str(tmp_path))
    plan = ReproductionPlan(output=tmp_path)
    for table, which in benchmarks.TABLES.items():
        part = ITEMS[table].part(PARTS[table])
        assert part.missing(plan) == [f"the data set {which.benchmark}", f"the weights {which.model}"]
        assert part.remedy == f"--data {which.benchmark} --model {which.model}"
    assert ITEMS["supplement"].part("mask_ap_small").missing(plan) == ["the data set facades"]
    assert ITEMS["figure4"].part("points").missing(plan) == ["the FPS of table1", "the FPS of table2"]


def test_speed_needs_no_weights(monkeypatch, one_thread):
    small = dataclasses.replace(benchmarks.TABLES["table1"], timed_sizes=((64, 96), (64, 64)))
    monkeypatch.setitem(benchmarks.TABLES, "table1", small)
    monkeypatch.setattr(yoso_entries, "read_recipe", lambda name: small_recipe("coco"))
    content = benchmarks.speed_rows("table1", ReproductionPlan(device="cpu", repeats=2))
    assert [row["size"] for row in content["rows"]] == [[64, 96], [64, 64]]
    for row in content["rows"]:
        assert row["network_seconds"] > 0
        assert {"backbone", "aggregator", "decoder", "merge"} <= set(row["stages"])
        assert len(row["samples"]) == 2
    assert item_tables(ITEMS["table1"], None)[0].rows[-1][:3] == ["YOSO, ours", "R50", "512,800"]
