"""Result files come back as they were written, and say so if they were not."""

import json

import pytest

from yoso.errors import ConfigError, DatasetError
from yoso.reproduction.result_file import ItemResult, PartResult, read_item_result, write_item_result

PART = PartResult(
    "yoso reproduce table5",
    {"repeats": 3},
    1.5,
    {"cpu": "a"},
    2,
    {"yoso": "0.1"},
    "2026-12-01",
    {"rows": [0.1, 2]},
    "abc",
)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "table5.json"
    write_item_result(path, ItemResult("table5", "0.1").with_part("flops", PART))
    return path


def test_a_result_comes_back(path):
    assert read_item_result(path) == ItemResult("table5", "0.1", {"flops": PART})
    assert path.read_text().endswith("\n")


def changed(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"yoso": "0.2"}, "does not match its checksum, so it was edited by hand or is damaged; restore it, or"),
        ({"parts": {}}, "edited by hand"),
        ({"sha256": None}, "edited by hand"),
        ({"note": "mine"}, "edited by hand"),
        ({"schema": 2}, "has schema 2, but this version of yoso reads schema 1; read it with the version that wrote"),
    ],
)
def test_a_file_that_was_changed(path, change, message):
    changed(path, **change)
    with pytest.raises(ConfigError, match=message) as error:
        read_item_result(path)
    assert str(error.value).startswith(f"{path}: ")


def test_one_digit_is_noticed(path):
    path.write_text(path.read_text().replace("0.1,", "0.2,"))
    with pytest.raises(ConfigError, match="edited by hand"):
        read_item_result(path)


@pytest.mark.parametrize("text", ["[]", "{}", '{"rows": 1}'])
def test_another_file(path, text):
    path.write_text(text)
    with pytest.raises(ConfigError, match="is not a result of `yoso reproduce`; move it, or choose another --output"):
        read_item_result(path)


def test_a_damaged_file(path):
    path.write_text(path.read_text()[:100])
    with pytest.raises(DatasetError, match="is not a JSON file"):
        read_item_result(path)
