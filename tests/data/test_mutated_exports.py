"""Exports in which any value is replaced by anything: never a traceback, and the balance always holds."""

import json
import shutil
from copy import deepcopy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from small_exports import BUILDERS, Conversion, write

NAMES = ["../a.jpg", "0.jpg", "NUL", "a\0b", "", "x" * 300]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(
        [0, -1, 1, 7, 2**31, 10**30, 1.5, float("nan"), float("inf"), "1", "cow", [], {}, [[]], [{}], *NAMES]
    ),
)


def places(content, path=()):
    """Yield the path of every value in a JSON."""
    yield path
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))
        else:
            yield (*path, key)


def replaced(content, path, value):
    if not path:
        return value
    content[path[0]] = replaced(content[path[0]], path[1:], value)
    return content


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A folder with a sound export per format, and the options to convert each."""
    root = tmp_path_factory.mktemp("sound")
    return root, {kind: build(root / kind) for kind, build in BUILDERS.items()}


FILES = {
    "coco": ["annotations/instances_train2020.json", "annotations/stuff_val2020.json"],
    "labelme": ["train/0.json", "val/1.json"],
    "cityscapes": ["classes.json"],
    "yolo": ["data.yaml"],
}


@pytest.mark.parametrize("kind", FILES)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_value_replaced_by_anything(kind, sound, tmp_path_factory, capsys, data):
    folder, options = sound
    root = shutil.copytree(folder / kind, tmp_path_factory.mktemp("farm") / "farm")
    name = data.draw(st.sampled_from(FILES[kind]))
    text = (root / name).read_text(encoding="utf-8")
    content = json.loads(text) if name.endswith(".json") else {"path": ".", "train": "images/train", "names": ["cow"]}
    for _ in range(data.draw(st.integers(1, 2))):
        content = replaced(content, data.draw(st.sampled_from(list(places(content)))), deepcopy(data.draw(VALUES)))
        if not isinstance(content, dict | list):
            break
    write(root / name, json.dumps(content))
    more = [root / "classes.json" if option.endswith("classes.json") else option for option in options[kind]]
    result = Conversion(
        kind, root, root.parent / "out", [word for word in more if word not in {"--stuff", "sky"}], capsys
    )
    assert result.status == 0 or (result.status == 2 and result.error.count("\n") == 0)
    for split in result.splits:
        result.counts(split)
    assert (root.parent / "out/dataset.yaml").exists() == (result.status == 0)
    shutil.rmtree(root.parent)
