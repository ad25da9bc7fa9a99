"""The JSON has a schema, and a file that does not follow it is refused."""

import copy
import dataclasses
import json

import pytest
from made_result import made_result

from yoso.errors import ConfigError, DatasetError
from yoso.speed.results import FORMAT, as_json, read_result, write_result


@pytest.fixture
def written(tmp_path):
    write_result(tmp_path / "result.json", made_result())
    return tmp_path / "result.json"


def test_what_is_written_is_read_back(written):
    assert read_result(written) == made_result()


def test_the_keys_of_the_json(written):
    content = json.loads(written.read_text())
    assert set(content) == {
        "format",
        "date",
        "machine",
        "versions",
        "threads",
        "protocol",
        "entries",
        "reference",
        "ratios",
        "commit",
        "rooflines",
    }
    first = content["entries"][0]
    assert set(first["end_to_end"]) == {"median", "p95", "iqr", "min"}
    assert set(first["mode"]) == {"runtime", "precision", "compiled", "random_weights"}
    assert first["size"] == [512, 800]
    assert content["ratios"] == [{"name": "maskformer", "size": [512, 800], "times_faster": 2.5}]
    assert "end_to_end" not in content["entries"][2]


def test_a_value_that_is_none_is_absent():
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
        (lambda c: c.update(threads="two"), "threads: has the wrong type"),
        (lambda c: c.update(threads=True), "threads: has the wrong type"),
        (lambda c: c["entries"][0].update(size=[512]), r"entries\[0\]: size: has the wrong type"),
        (lambda c: c["entries"][1]["samples"].append("fast"), r"entries\[1\]: samples\[3\]: has the wrong type"),
        (lambda c: c["entries"][0]["end_to_end"].pop("p95"), "end_to_end: key 'p95' is missing"),
        (lambda c: c["protocol"].update(repeats=1.5), "protocol: repeats: has the wrong type"),
        (lambda c: c.update(format=9), f"has format 9, but this version reads format {FORMAT}; measure again"),
    ],
)
def test_a_file_that_does_not_follow_the_schema_is_refused(tmp_path, change, message):
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(wrong(change)))
    with pytest.raises(ConfigError, match=message):
        read_result(path)


def test_a_file_of_the_first_format_says_what_to_do(tmp_path):
    """Its keys had other names; the error is about the format, not about a missing key."""
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"format": 1, "contestants": [], "baseline": "tiny torch"}))
    with pytest.raises(ConfigError, match=r"has format 1, but .* measure again with `yoso benchmark --json`, or use"):
        read_result(path)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(ConfigError, match="is not the result of a benchmark"):
        read_result(tmp_path / "list.json")
    with pytest.raises(DatasetError, match="no such file; check the name"):
        read_result(tmp_path / "none.json")


def test_whole_numbers_are_numbers(tmp_path):
    content = wrong(lambda c: c["entries"][0]["samples"].append(1))
    (tmp_path / "a.json").write_text(json.dumps(content))
    sample = read_result(tmp_path / "a.json").entries[0].samples[-1]
    assert (sample, type(sample)) == (1.0, float)


def test_every_class_of_the_result_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        made_result().threads = 3
