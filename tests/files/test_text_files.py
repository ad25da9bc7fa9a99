import json
import os
import subprocess
import sys

import pytest

from yoso.errors import CheckpointError, ConfigError, DatasetError
from yoso.files import read_json, read_text, read_yaml, write_text

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-32"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_text_json_and_yaml_are_read_in_any_unicode_encoding(tmp_path, encoding):
    path = tmp_path / "a.txt"
    path.write_bytes('{"name": "Straße 道"}\r\n'.encode(encoding))
    assert read_text(path) == '{"name": "Straße 道"}\n'
    assert read_json(path) == read_yaml(path) == {"name": "Straße 道"}


@pytest.mark.parametrize(("text", "lines"), [("a\r\nb\r\n", "a\nb\n"), ("a\rb", "a\nb"), ("a\nb", "a\nb"), ("", "")])
def test_line_ends_are_alike(tmp_path, text, lines):
    (tmp_path / "a.txt").write_bytes(text.encode())
    assert read_text(tmp_path / "a.txt") == lines


def test_what_is_written_is_utf_8(tmp_path):
    write_text(tmp_path / "a.txt", "Straße\n")
    assert (tmp_path / "a.txt").read_bytes() == "Straße\n".encode()


@pytest.mark.parametrize("read", [read_text, read_json, read_yaml])
def test_another_encoding_is_named(tmp_path, read):
    path = tmp_path / "a.yaml"
    path.write_bytes('"Straße"'.encode("latin-1"))
    with pytest.raises((DatasetError, ConfigError), match=r"a\.yaml: is not .* in UTF-8 \(it has the byte 0xdf\)"):
        read(path)


@pytest.mark.parametrize("read", [read_text, read_yaml])
def test_the_class_of_the_error_is_the_caller_s(tmp_path, read):
    with pytest.raises(CheckpointError, match=r"none: no such file; check the name"):
        read(tmp_path / "none", CheckpointError)


@pytest.mark.parametrize("text", ["a: [", "a: b: c", "2020-13-45", "!!python/object/apply:os.getcwd []", "{[1]: 2}"])
def test_what_is_no_yaml(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"a\.yaml: is not a YAML file \(.*\); correct or replace it") as caught:
        read_yaml(tmp_path / "a.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [read_json, read_yaml])
def test_nesting_without_end_is_an_error_of_the_file(tmp_path, read):
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises((DatasetError, ConfigError), match=r"a\.json: is not a .* file"):
        read(tmp_path / "a.json")


def test_read_json_names_the_file(tmp_path):
    with pytest.raises(DatasetError, match=r"none\.json: no such file; check the name"):
        read_json(tmp_path / "none.json")
    with pytest.raises(DatasetError, match=r"is a folder, not a JSON file; give a file in it"):
        read_json(tmp_path)
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(DatasetError, match=r"bad\.json: is not a JSON file"):
        read_json(tmp_path / "bad.json")


def test_the_locale_does_not_matter(tiny_dataset, tmp_path):
    """A data set whose YAML and JSON hold more than ASCII, read where the locale knows ASCII alone."""
    content = read_json(tiny_dataset / "annotations/panoptic_val.json")
    content["categories"][1]["name"] = "Straße"
    annotations = tmp_path / "val.json"
    annotations.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8-sig")
    masks, description = tiny_dataset / "annotations/panoptic_val", tmp_path / "set.yaml"
    description.write_text(
        f"name: Straßen\nval: {{images: {tiny_dataset / 'val'}, masks: {masks}, annotations: {annotations}}}\n",
        encoding="utf-8-sig",
    )
    environment = {**os.environ, "PYTHONUTF8": "0", "LC_ALL": "C"}
    run = subprocess.run(
        [sys.executable, "-m", "yoso", "data", "stats", str(description), "--json"],
        env=environment,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert (run.returncode, run.stderr) == (0, b"")
    found = json.loads(run.stdout)
    assert found["data"] == "Straßen"
    assert [row["name"] for row in found["splits"]["val"]["classes"]] == ["square", "Straße", "ground"]
