import shutil
from pathlib import Path

import pytest

from yoso.data.spec import Split, load_spec
from yoso.errors import ConfigError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a working directory with one data set in the folder that YOSO_DATA names, and an empty `datasets`."""
    annotations = tmp_path / "sets" / "meadows" / "annotations"
    annotations.mkdir(parents=True)
    (annotations / "panoptic_val.json").write_text("{}")
    (tmp_path / "datasets").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YOSO_DATA", str(tmp_path / "sets"))
    return tmp_path


def split_text(**changes):
    keys = {"images": "images", "masks": "png", "annotations": "panoptic.json"} | changes
    return "{" + ", ".join(f"{key}: {value}" for key, value in keys.items() if value is not None) + "}"


def test_yaml(folder):
    path = folder / "meadows.yaml"
    path.write_text(f"name: Meadows\nlicense: CC BY 4.0\nattribution: A. Cow\ntrain: {split_text()}\n")
    spec = load_spec(path)
    assert (spec.name, spec.license, spec.attribution) == ("Meadows", "CC BY 4.0", "A. Cow")
    assert spec.splits == {"train": Split(folder / "images", folder / "png", folder / "panoptic.json")}


@pytest.mark.parametrize(("root", "expected"), [("deep/down", "deep/down"), ("/elsewhere", "/elsewhere")])
def test_root_is_relative_to_the_yaml(folder, root, expected):
    (folder / "datasets" / "x.yml").write_text(f"root: {root}\nval: {split_text(masks='/png')}\n")
    split = load_spec(folder / "datasets" / "x.yml").split("val")
    assert split.images == folder / "datasets" / expected / "images"
    assert split.masks == Path("/png")


def test_folder_by_convention(folder):
    root = folder / "sets" / "meadows"
    for name in (root, str(root), "meadows", "sets/meadows"):
        spec = load_spec(name)
        assert spec.name == "meadows"
        assert list(spec.splits) == ["val"]
        split = spec.split("val")
        assert [path.resolve() for path in (split.images, split.masks, split.annotations)] == [
            root / "val",
            root / "annotations" / "panoptic_val",
            root / "annotations" / "panoptic_val.json",
        ]


def test_the_folder_one_is_in(folder, monkeypatch):
    monkeypatch.chdir(folder / "sets" / "meadows")
    assert load_spec(".").name == "meadows"


@pytest.mark.parametrize("place", ["sets/hills.yaml", "datasets/hills.yaml", "datasets/hills.yml", "hills.yaml"])
def test_name_of_a_yaml(folder, place):
    (folder / place).write_text(f"val: {split_text()}")
    spec = load_spec("hills")
    assert spec.name == "hills"
    assert spec.split("val").images.resolve() == (folder / place).parent / "images"


def test_a_yaml_may_have_its_suffix_in_upper_case(folder):
    (folder / "HILLS.YAML").write_text(f"val: {split_text()}")
    assert load_spec("HILLS.YAML").name == "HILLS"


def test_name_of_a_folder_in_datasets(folder, monkeypatch):
    monkeypatch.delenv("YOSO_DATA")
    shutil.copytree(folder / "sets" / "meadows", folder / "datasets" / "pastures")
    assert load_spec("pastures").name == "pastures"


def test_unknown_name_says_where_it_was_looked_for(folder):
    with pytest.raises(ConfigError, match=r"'meadow'.*sets.*datasets.*Did you mean 'meadows'\?"):
        load_spec("meadow")


def test_unknown_split(folder):
    with pytest.raises(ConfigError, match=r"no split 'vall'.*Did you mean 'val'\?"):
        load_spec("meadows").split("vall")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (f"trian: {split_text()}", r"unknown key 'trian'.*Did you mean 'train'\?"),
        (f"val: {split_text(mask='x')}", r"unknown key 'mask' in 'val'.*Did you mean 'masks'\?"),
        (f"val: {split_text(masks=None)}", r"'val' lacks \['masks'\]"),
        (f"val: {split_text(masks='[a, b]')}", "'masks' is .* a text is needed"),
        (f"val: {split_text(masks='~')}", "'masks' is None"),
        (f"root: {{}}\nval: {split_text()}", "'root' is"),
        ("name: x", "needs 'train' or 'val'"),
        ("val: images", "'val' must be a mapping"),
        ("", "must be a mapping"),
        ("- a", "must be a mapping"),
        ("a: [", "is not a YAML file"),
        ("name: 2020-13-45", "is not a YAML file"),
        ("name: !!python/object/apply:os.getcwd []", "is not a YAML file"),
    ],
)
def test_faulty_yaml(folder, text, match):
    path = folder / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=match) as caught:
        load_spec(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unreadable_yaml(folder):
    (folder / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not a YAML file"):
        load_spec("x.yaml")
    with pytest.raises(
        ConfigError, match=r"nowhere\.yaml: no such file; give the YAML file of a data set, or the folder"
    ):
        load_spec("nowhere.yaml")


def test_folder_without_annotations_files(folder):
    (folder / "sets" / "bare" / "annotations").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"neither panoptic_train\.json nor panoptic_val\.json"):
        load_spec("bare")
