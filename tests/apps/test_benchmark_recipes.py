"""From the downloads of a benchmark to a trained and evaluated model in four commands, for every recipe."""

import json

import pytest
import torch
from safetensors import safe_open

from yoso.apps.cli import main
from yoso.apps.data_prepare import BENCHMARK_NAMES
from yoso.class_tables import benchmark_categories
from yoso.data.formats.benchmarks import BENCHMARKS
from yoso.model.yoso import YOSO
from yoso.training.cli import parse
from yoso.weights.find import find_model
from yoso.weights.load import load_model
from yoso.weights.official import our_name
from yoso.weights.official_recipes import recipes_folder

NOT_OURS = {"yoso_head.criterion.empty_weight"}
"""A constant of the official loss, which it saves with the weights."""

REDUCED = {
    "backbone_weights": "none",
    "inference.input_size": "[48,64]",
    "loss.num_points": "64",
    "run.iterations": "2",
    "run.batch_size": "2",
    "run.workers": "0",
    "run.validate_every": "2",
    "run.log_every": "1",
    "run.accelerator": "cpu",
}
"""What makes a recipe quick without touching its network."""
SMALL_NETWORK = {
    "model.backbone": "mobilenetv2_050",
    "model.pyramid_channels": "[8,8,8,8]",
    "model.aggregation_channels": "16",
    "model.hidden_channels": "16",
    "model.num_queries": "12",
    "model.num_heads": "2",
    "model.feedforward_channels": "16",
    "inference.object_mask_threshold": "0.0",
}
SMALL_CROPS = {"augmentation.size": "[48,64]"}
SMALL_SIDES = {"augmentation.shorter_sides": "[32,48,64]", "augmentation.longest": "128"}


@pytest.fixture(autouse=True)
def one_thread():
    """The tensors of these tests are too small to share among threads, which then mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def as_words(options):
    return [word for key, value in options.items() for word in (f"--{key}", value)]


def reduced(name):
    """Return the options that fit a benchmark's recipe to photographs of 48x64 pixels."""
    return REDUCED | SMALL_CROPS | ({} if name == "coco" else SMALL_SIDES)


def figures_of(data, capsys):
    """Evaluate `run/model` on a data set's val."""
    capsys.readouterr()
    assert main(["eval", "--model", "run/model", "--data", data, "--output", "eval", "--json", "--device", "cpu"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty folder to work in; data sets are looked for in it only."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("YOSO_DATA", raising=False)
    return tmp_path


BENCHMARK_RECIPES = ["coco", "cityscapes", "ade20k", "mapillary"]


@pytest.mark.parametrize("name", BENCHMARK_RECIPES)
def test_prepare_check_train_eval(plant, workplace, capsys, name):
    plant(name, workplace / "downloads", zipped=name in {"coco", "cityscapes"})
    assert main(["data", "prepare", name, "--root", "downloads", "--threads", "1"]) == 0
    prepared = capsys.readouterr()
    assert "3 of" in prepared.out
    assert prepared.err.count("warning: ") == 2
    assert "cannot be compared with published ones" in prepared.err
    assert main(["data", "check", name]) == 0
    words = as_words(reduced(name) | SMALL_NETWORK)
    assert main(["train", f"{name}_r50", "--output", "run", *words]) == 0
    metrics = figures_of(name, capsys)
    assert metrics["images"] == 2
    assert 0 <= metrics["all"]["pq"] <= 1
    trained = json.loads((workplace / "run/model/config.json").read_text())["categories"]
    assert trained == benchmark_categories(name).to_json()


def all_recipes():
    return sorted(path.stem for path in recipes_folder().glob("*.yaml"))


def shapes_of(recipe, num_classes):
    """Return names and shapes of the tensors of a recipe's network, which is built without memory for them."""
    config, _ = parse([recipe])
    with torch.device("meta"):
        state = YOSO(config.model, num_classes).state_dict()
    return {key: list(value.shape) for key, value in state.items() if not key.endswith("num_batches_tracked")}


@pytest.mark.parametrize("name", BENCHMARK_RECIPES)
def test_a_recipes_network_is_the_official_one(golden, name):
    official = json.loads((golden / f"state_dict_{name}_r50.json").read_text())
    depth = parse([f"{name}_r50"])[0].model.branch_depth
    renamed = {our_name(key, depth): shape for key, shape, _ in official if key not in NOT_OURS}
    renamed = {key: shape for key, shape in renamed.items() if not key.endswith("num_batches_tracked")}
    assert shapes_of(f"{name}_r50", len(benchmark_categories(name))) == renamed


@pytest.mark.parametrize("recipe", all_recipes())
def test_every_recipe_has_a_network(recipe):
    config, _ = parse([recipe])
    shapes = shapes_of(recipe, 7)
    assert shapes[f"decoder.stages.1.class_branch.{3 * config.model.branch_depth}.weight"] == [8, 256]
    assert shapes["decoder.proposals.weight"] == [config.model.num_queries, 256, 1, 1]


def test_the_recipe_of_the_bundled_models_network():
    with safe_open(find_model("facades-mnv2") / "model.safetensors", "pt") as file:
        shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118
    assert shapes_of("facades_mnv2", shapes["decoder.stages.0.class_branch.3.weight"][0] - 1) == shapes


def assert_trained(recipe, data, words, capsys):
    """Train two steps with a recipe's own network and evaluate what comes of it."""
    config, _ = parse([recipe])
    assert main(["train", recipe, "--data", data, "--output", "run", *words]) == 0
    metrics = figures_of(data, capsys)
    assert 0 <= metrics["all"]["pq"] <= 1
    model = load_model("run/model")
    assert model.network.config == config.model
    assert all(value.isfinite().all() for value in model.network.state_dict().values())
    return metrics["images"]


# The four networks differ in the number of classes alone.
@pytest.mark.parametrize(
    "name", ["coco", "cityscapes", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ade20k", "mapillary"))]
)
def test_two_steps_with_the_papers_network(plant, workplace, capsys, name):
    plant(name, workplace / "downloads")
    assert main(["data", "prepare", name, "--root", "downloads", "--threads", "1"]) == 0
    assert assert_trained(f"{name}_r50", name, as_words(reduced(name)), capsys) == 2


@pytest.mark.parametrize("recipe", ["small", "facades_mnv2"])
def test_two_steps_with_the_network_of_small_data_sets(tiny_dataset, workplace, capsys, recipe):
    words = as_words(REDUCED | {"augmentation.size": "[64,64]"})
    assert assert_trained(recipe, str(tiny_dataset), words, capsys) == 8


def test_every_benchmark_on_the_command_line_has_a_reader():
    assert set(BENCHMARK_NAMES) == set(BENCHMARKS)


def test_the_report_as_json(plant, tmp_path, capsys):
    plant("ade20k", tmp_path / "downloads")
    arguments = ["--root", str(tmp_path / "downloads"), "--output", str(tmp_path / "out"), "--json"]
    assert main(["data", "prepare", "ade20k", *arguments]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["data"] == str(tmp_path / "out/ade20k.yaml")
    train = document["splits"]["train"]
    assert (train["images"], train["made"], train["expected"]) == (3, 3, 20210)
    counts = {row["name"]: (row["segments"], row["images"]) for row in train["classes"] if row["segments"]}
    assert counts == {"sky": (3, 3), "grass": (3, 3), "person": (6, 3), "car": (3, 3)}


def test_a_terminal_shows_a_progress_bar(plant, tmp_path, capsys, monkeypatch):
    plant("ade20k", tmp_path / "downloads")
    command = ["data", "prepare", "ade20k", "--root", str(tmp_path / "downloads"), "--threads", "1"]
    assert main([*command, "--output", str(tmp_path / "unwatched")]) == 0
    assert "preparing" not in capsys.readouterr().err
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    assert main([*command, "--output", str(tmp_path / "watched")]) == 0
    bar = capsys.readouterr().err
    assert "preparing" in bar
    assert "100%" in bar
