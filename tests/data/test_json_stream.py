import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoso.data import json_stream
from yoso.data.coco_panoptic import read_annotations, read_panoptic
from yoso.data.json_stream import walk_json
from yoso.errors import DatasetError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(st.text(max_size=3), VALUES, max_size=5) | VALUES, st.sampled_from([None, 2]), st.integers(1, 40)
)
def test_the_same_as_reading_at_once(tmp_path_factory, content, indent, chunk):
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(json.dumps(content, indent=indent), encoding="utf-8")
    entries = {}
    before, json_stream.CHUNK_CHARACTERS = json_stream.CHUNK_CHARACTERS, chunk
    try:
        found = walk_json(path, lambda key, entry: entries.setdefault(key, []).append(entry))
    finally:
        json_stream.CHUNK_CHARACTERS = before
    if isinstance(content, dict):
        assert list(found) == list(content)
        found |= entries
    assert found == content


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings(tmp_path, encoding):
    path = tmp_path / "a.json"
    path.write_text('{"name": "Straße", "x": [1]}', encoding=encoding)
    assert walk_json(path, lambda key, entry: None) == {"name": "Straße", "x": []}


@pytest.mark.parametrize(
    "text",
    ["", " ", "{", '{"a"', '{"a":', '{"a": [', '{"a": [1', '{"a": [1,', '{"a": [1,]}', '{"a": 1 "b": 2}', '{"a": 1}}',
     "{1: 2}", "[1", '{"a": nul}', '{"a": "', "{} {}", '{"a": [1 2]}', '{"a" 1}'],
)  # fmt: skip
def test_what_is_no_json(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ValueError):  # noqa: PT011
        json.loads(text)
    with pytest.raises(DatasetError, match=r"a\.json: is not a JSON file"):
        walk_json(path, lambda key, entry: None)


def test_bytes_that_are_no_text_and_files_that_are_missing(tmp_path):
    (tmp_path / "a.json").write_bytes(b'{"a": "\xff\xff"}')
    with pytest.raises(DatasetError, match="is not a JSON file"):
        walk_json(tmp_path / "a.json", lambda key, entry: None)
    with pytest.raises(DatasetError, match=r"b\.json: no such file; check the name"):
        walk_json(tmp_path / "b.json", lambda key, entry: None)


def test_annotations_take_little_more_than_the_result(tmp_path):
    number, per_image = 3_000, 8
    segments = [
        {"id": n + 1, "category_id": 2, "area": 5, "bbox": [0, 0, 9, 9], "iscrowd": 0} for n in range(per_image)
    ]
    content = {
        "annotations": [{"image_id": n, "file_name": f"{n:012}.png", "segments_info": segments} for n in range(number)],
        "images": [{"id": n, "file_name": f"{n:012}.jpg", "height": 4, "width": 6} for n in range(number)],
        "categories": [{"id": 2, "name": "cow", "isthing": 1}],
    }
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    del content
    annotations, peak = traced(read_annotations, path)
    assert len(annotations.segments) == number * per_image
    assert peak < 0.6 * traced(read_panoptic, path)[1]


def traced(read, path):
    """Return what a function reads, and the most bytes that were allocated meanwhile."""
    tracemalloc.start()
    try:
        return read(path), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
