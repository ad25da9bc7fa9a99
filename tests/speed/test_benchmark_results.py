"""The JSON has a schema, and a file that departs from it is refused."""

import copy
import dataclasses
import json

import pytest
from made_result import made_result

from yoso.errors import ConfigError, DatasetError
from yoso.speed.results import as_json, read_result, write_result


@pytest.fixture
def written(tmp_path):
    write_result(tmp_path / "result.json", made_result())
    return tmp_path / "result.json"


def test_what_is_written_is_read_back(written):
    assert read_result(written) == made_result()


def test_keys_of_the_json(written):
    content = json.loads(written.read_text())
    assert set(content) == {
        "format",
        "date",
        "machine",
        "versions",
        "threads",
        "protocol",
        "contestants",
        "baseline",
        "ratios",
        "commit",
        "floors",
    }
    first = content["contestants"][0]
    assert set(first["end_to_end"]) == {"median", "p95", "iqr", "min"}
    assert set(first["mode"]) == {"runtime", "precision", "compiled", "random_weights"}
    assert first["size"] == [512, 800]
    assert content["ratios"] == [{"name": "maskformer", "size": [512, 800], "times_faster": 2.5}]
    assert "end_to_end" not in content["contestants"][2]


def test_what_is_none_is_absent():
    assert "commit" not in as_json(made_result(commit=None))


def wrong(change):
    content = copy.deepcopy(as_json(made_result()))
    change(content)
    return content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("date"), "key 'date' is missing"),
        (lambda c: c.update(mood="good"), "key 'mood' is unknown"),
        (lambda c: c.update(threads="two"), "threads: is not what a benchmark writes"),
        (lambda c: c.update(threads=True), "threads: is not what a benchmark writes"),
        (lambda c: c["contestants"][0].update(size=[512]), r"contestants\[0\]: size: is not"),
        (lambda c: c["contestants"][1]["samples"].append("fast"), r"contestants\[1\]: samples\[3\]: is not"),
        (lambda c: c["contestants"][0]["end_to_end"].pop("p95"), "end_to_end: key 'p95' is missing"),
        (lambda c: c["protocol"].update(repeats=1.5), "protocol: repeats: is not"),
        (lambda c: c.update(format=2), "is of format 2; this version reads 1"),
    ],
)
def test_what_departs_from_the_schema_is_refused(tmp_path, change, message):
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(wrong(change)))
    with pytest.raises(ConfigError, match=message):
        read_result(path)


def test_other_files(tmp_path):
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(ConfigError, match="is not the result of a benchmark"):
        read_result(tmp_path / "list.json")
    with pytest.raises(DatasetError, match="no such file; check the name"):
        read_result(tmp_path / "none.json")


def test_whole_numbers_are_numbers(tmp_path):
    content = wrong(lambda c: c["contestants"][0]["samples"].append(1))
    (tmp_path / "a.json").write_text(json.dumps(content))
    sample = read_result(tmp_path / "a.json").contestants[0].samples[-1]
    assert (sample, type(sample)) == (1.0, float)


def test_every_class_of_the_result_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        made_result().threads = 3
