import json
import os
import subprocess
import sys
import time

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


class TestHostileDocuments:
    """Documents that ask for much memory or time, or mean two things, whoever reads them."""

    def read(self, tmp_path, name, text):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return (read_json if name.endswith("json") else read_yaml)(tmp_path / name)

    @pytest.mark.parametrize(
        ("name", "text", "line", "key"),
        [
            ("a.json", '{"x": 1,\n "y": {"k": 1,\n\n "k": 2}}', 4, "k"),
            ("a.json", '{"k": {"k": "k:\\"k"},\n"z": ["k"], "k": 3}', 2, "k"),
            ("a.yaml", "x: 1\nk: 1\nz: {k: 1}\nk: 2\n", 4, "k"),
        ],
    )
    def test_a_key_that_occurs_twice_is_reported_with_its_line(self, name, text, line, key, tmp_path):
        with pytest.warns(
            UserWarning, match=rf"a\.\w+, line {line}: the key '{key}' occurs twice; only the last value"
        ):
            self.read(tmp_path, name, text)

    def test_keys_of_different_objects_and_merged_ones_are_no_duplicates(self, tmp_path):
        assert self.read(tmp_path, "a.json", '[{"k": 1}, {"k": {"k": 1}}]') == [{"k": 1}, {"k": {"k": 1}}]
        assert self.read(tmp_path, "a.yaml", "a: &a {k: 1}\nb: {<<: *a, k: 2}\n")["b"] == {"k": 2}

    @pytest.mark.parametrize("name", ["a.json", "a.yaml"])
    def test_a_hundred_levels_are_read_and_more_are_refused(self, name, tmp_path):
        assert self.read(tmp_path, name, "[" * 100 + "]" * 100)
        with pytest.raises((DatasetError, ConfigError), match="nested more than 100 levels deep"):
            self.read(tmp_path, name, "[" * 102 + "]" * 102)

    def test_halves_of_characters_are_refused_and_pairs_are_not(self, tmp_path):
        assert self.read(tmp_path, "a.json", r'["\ud83d\ude00", "\\ud800"]') == ["\U0001f600", "\\ud800"]
        for text in (r'["\ud800"]', r'{"\udfff": 1}'):
            with pytest.raises(DatasetError, match="half of a character"):
                self.read(tmp_path, "a.json", text)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (
                "a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{f'*a{n}, ' * 9}]\n" for n in range(20)),
                "aliases stand for",
            ),
            ("a0: &a0 {k: 1}\n" + "".join(f"b{n}: &b{n} {{<<: [{'*a0, ' * 9}]}}\n" for n in range(2)), None),
            ("a: &a [*a]", "contains itself"),
            ("- a\n" * 300_000, "1,200,000 characters; at most"),
            ("[" * 20_000, "nested more than 100 levels deep"),
        ],
        ids=["bomb", "merges", "loop", "large", "deep"],
    )
    def test_yaml_of_aliases_of_aliases(self, text, words, tmp_path):
        start = time.process_time()
        if words is None:
            assert self.read(tmp_path, "a.yaml", text)
        else:
            with pytest.raises(ConfigError, match=words):
                self.read(tmp_path, "a.yaml", text)
        assert time.process_time() - start < 3

    def test_long_documents_are_read_as_short_ones_are(self, tmp_path):
        text = "".join(f"k{n}: [{n}, 1.5, null, yes, 'a: b', 2020-01-01]\n" for n in range(1000))
        found = self.read(tmp_path, "a.yaml", text)
        assert len(text) > 2**14
        assert found["k7"] == self.read(tmp_path, "b.yaml", "k7: [7, 1.5, null, yes, 'a: b', 2020-01-01]\n")["k7"]

    @pytest.mark.parametrize("read", [read_text, read_json, read_yaml])
    def test_a_pipe_is_not_waited_for(self, read, tmp_path):
        os.mkfifo(tmp_path / "a.json")
        with pytest.raises((DatasetError, ConfigError), match=r"a\.json: is a pipe or a device, not a .* file"):
            read(tmp_path / "a.json")
