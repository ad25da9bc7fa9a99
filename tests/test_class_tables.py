"""The tables of classes against what the data sets' own documents say, written down here a second time."""

import json
import re

import pytest
from miniature_trees import ADE20K_THINGS

from yoso import class_tables
from yoso.class_tables import benchmark_categories, checksum
from yoso.errors import ConfigError, DatasetError

COUNTS = {"coco": (80, 53), "cityscapes": (8, 11), "ade20k": (100, 50), "mapillary": (37, 28)}


def test_there_are_four():
    assert sorted(class_tables.class_tables()) == sorted(COUNTS)


@pytest.mark.parametrize("name", COUNTS)
def test_counts_sources_and_distinct_names(name):
    categories = benchmark_categories(name)
    things = sum(categories.is_thing)
    assert (things, len(categories) - things) == COUNTS[name]
    assert len(set(categories.names)) == len(categories)
    assert len(json.loads(class_tables.class_tables()[name].read_text())["source"]) > 40


def test_coco_ids_are_the_official_ones_with_their_gaps():
    categories = benchmark_categories("coco")
    ids = [category.id for category in categories]
    missing_things = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
    stuff = {92, 93, 95, 100, 107, 109, 112, 118, 119, 122, 125, 128, 130, 133, 138, 141, 144, 145, 147, 148, 149, 151}
    stuff |= {154, 155, 156, 159, 161, 166, 168, 171, 175, 176, 177, 178, 180, 181, *range(184, 201)}
    assert ids == sorted({*range(1, 91)} - missing_things) + sorted(stuff)
    assert [category.is_thing for category in categories] == [id <= 90 for id in ids]
    assert [category.name.endswith("-merged") for category in categories] == [id >= 184 for id in ids]
    assert categories[categories.index_of(149)].name == "road"


def test_cityscapes_is_in_train_id_order():
    label_ids = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    categories = benchmark_categories("cityscapes")
    assert [category.id for category in categories] == label_ids
    assert [category.is_thing for category in categories] == [id >= 24 for id in label_ids]
    assert categories.names[-3:] == ("train", "motorcycle", "bicycle")
    assert categories[13].color == (0, 0, 142)


def test_ade20k_things_are_those_of_the_instance_challenge():
    categories = benchmark_categories("ade20k")
    assert [category.id for category in categories] == list(range(150))
    assert [category.id + 1 for category in categories if category.is_thing] == ADE20K_THINGS


def test_mapillary_ids_and_things():
    categories = benchmark_categories("mapillary")
    assert [category.id for category in categories] == list(range(1, 66))
    things = {1, 2, 9, *range(20, 25), *range(33, 44), *range(45, 59), *range(60, 64)}
    assert {category.id for category in categories if category.is_thing} == things
    assert all(re.fullmatch(r"[A-Z][\w ()-]+", name) for name in categories.names)


def test_a_changed_table_is_noticed(tmp_path, monkeypatch):
    table = json.loads(class_tables.class_tables()["coco"].read_text())
    assert checksum(table["categories"]) == table["sha256"]
    table["categories"][0], table["categories"][1] = table["categories"][1], table["categories"][0]
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(table))
    monkeypatch.setattr(class_tables, "class_tables", lambda: {"coco": path})
    with pytest.raises(DatasetError, match=r"coco\.json: was changed.*install the package again"):
        benchmark_categories("coco")


def test_an_unknown_benchmark():
    with pytest.raises(ConfigError, match="Did you mean 'cityscapes'"):
        benchmark_categories("cityscape")
