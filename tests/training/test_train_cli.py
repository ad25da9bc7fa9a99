"""Recipes, options, help, and the errors for wrong ones."""

import ast
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
import yaml

from yoso.errors import CheckpointError, ConfigError
from yoso.model.config import ModelConfig
from yoso.training.cli import SHORT, build_parser, known_keys, main, parse
from yoso.training.defaults import config_of_model
from yoso.training.help import COMMON
from yoso.training.recipes import find_recipe, recipe_of, recipes


@pytest.mark.parametrize("name", sorted(recipes()))
def test_every_recipe_parses(name):
    config, _ = parse([name])
    assert config.data
    assert config.run.iterations > 100


def test_official_values():
    coco, _ = parse(["coco_r50"])
    assert (coco.run.iterations, coco.schedule.steps, coco.run.batch_size) == (368750, (327778, 355092), 16)
    assert (coco.optimizer.lr, coco.optimizer.weight_decay, coco.optimizer.clip_norm) == (1e-4, 0.05, 0.01)
    assert (coco.loss.num_points, coco.loss.ignore_void, coco.model.aggregation) == (12544, False, "cfa")
    cityscapes, _ = parse(["cityscapes_r50"])
    assert (cityscapes.model.branch_depth, cityscapes.model.backbone_norm) == (3, "trainable")
    assert cityscapes.inference.object_mask_threshold == 0.8
    ade, _ = parse(["ade20k_r50"])
    assert (ade.model.temperature, ade.run.iterations, ade.augmentation.pad) == (0.5, 160000, True)
    mapillary, _ = parse(["mapillary_r50"])
    assert (mapillary.model.num_queries, mapillary.model.temperature, mapillary.run.iterations) == (150, 0.1, 300000)


def test_the_recipe_for_one_gpu_is_the_one_for_eight_in_parts():
    one, coco = parse(["coco_r50_1gpu"])[0], parse(["coco_r50"])[0]
    assert (one.run.batch_size, one.run.accumulate, one.run.images_per_step) == (2, 8, 16)
    assert replace(one, output=coco.output, run=replace(one.run, batch_size=16, accumulate=1)) == coco


@pytest.mark.parametrize("name", sorted(name for name in recipes() if "_r50" in name))
def test_recipes_of_the_paper_state_command_cost_and_hardware(name):
    head = {}
    for line in recipes()[name].read_text().splitlines():
        if found := re.match(r"# ([A-Z][a-z ]+): +(.*)", line):
            head[found[1]] = found[2]
    assert head.keys() >= {"Paper", "Command", "Published", "Cost", "Hardware", "Time"}
    command = head["Command"].split("(")[0].split()
    assert command[:3] == ["yoso", "train", name]
    config, _ = parse(command[2:])
    assert config.run.images_per_step == 16
    assert f"{config.run.iterations:,} iterations of 16 images" in head["Cost"]


def test_the_bundled_model_is_trained_with_the_recipe_for_small_data():
    """Apart from its own weights, and what depends on them."""
    small, facades = parse(["small"])[0], parse(["facades_mnv2"])[0]
    for part in ("loss", "augmentation", "optimizer", "schedule", "run", "inference", "calibrate"):
        assert getattr(small, part) == getattr(facades, part), part
    own = ("backbone", "backbone_options")
    assert replace(small.model, **{name: getattr(facades.model, name) for name in own}) == facades.model


@pytest.mark.parametrize(
    ("arguments", "recipe", "rest"),
    [
        (["small", "--data", "x"], "small", ["--data", "x"]),
        (["--data", "x"], None, ["--data", "x"]),
        ([], None, []),
    ],
)
def test_the_recipe_comes_first(arguments, recipe, rest):
    assert recipe_of(arguments) == (recipe, rest)


@pytest.mark.parametrize(
    ("arguments", "rest", "advice"),
    [
        (["--recipe", "small", "mine.yaml", "--run.seed", "1"], ["--data=mine.yaml", "--run.seed", "1"], "mine.yaml"),
        (["--run.seed=1", "--recipe=small", "mine.yaml"], ["--run.seed=1", "--data=mine.yaml"], "mine.yaml"),
        (["--recipe", "small", "--data", "x"], ["--data", "x"], "DATASET"),
    ],
)
def test_the_option_recipe_still_works_and_is_deprecated(arguments, rest, advice):
    with pytest.warns(UserWarning, match=f"--recipe is deprecated; use: yoso train small --data {advice}"):
        assert recipe_of(arguments) == ("small", rest)


def test_a_data_set_after_the_option_recipe():
    with pytest.warns(UserWarning, match="deprecated"):
        config, _ = parse(["--recipe", "small", "mine.yaml", "--run.iterations", "7"])
    assert config == parse(["small", "--data", "mine.yaml", "--run.iterations", "7"])[0]
    with pytest.raises(ConfigError, match="--recipe needs a value"):
        parse(["--recipe"])


def test_a_recipe_of_ones_own_is_given_as_a_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("data: a.yaml\nrun: {seed: 3}\n")
    assert parse([str(path)])[0].data == "a.yaml"
    config, _ = parse([str(path), "--data", "b.yaml"])
    assert (config.data, config.run.seed) == ("b.yaml", 3)


@pytest.mark.parametrize("name", ["coco-r50", "coco_r50"])
def test_names_of_recipes_have_two_spellings(name):
    assert find_recipe(name) == recipes()["coco_r50"]


def test_help_fits_on_a_screen_and_names_every_recipe(capsys):
    for option in ("--help", "-h"):
        assert main([option]) == 0
        text = capsys.readouterr().out
        assert text.startswith("usage: yoso train RECIPE --data DATASET [options]\n")
        assert len(text.splitlines()) < 50
        assert max(map(len, text.splitlines())) <= 110
        assert all(f"\n  {name} " in text for name in recipes())
    assert "--help-all" in text


def test_options_of_the_help_exist():
    parsed = {name.split()[0].removeprefix("--") for name in COMMON}
    assert parsed - set(SHORT) <= known_keys(build_parser())


def test_help_all_lists_every_option_under_a_heading(capsys):
    assert main(["coco_r50", "--help-all"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: yoso train RECIPE --data DATASET [options]\n")
    headings = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert [each.split()[0].strip(":,") for each in headings] == [
        *("options", "network", "thresholds", "loss", "augmentation", "optimizer", "learning-rate", "length", "short"),
    ]
    groups = {"model", "inference", "loss", "augmentation", "optimizer", "schedule", "run"}
    missing = {key for key in known_keys(build_parser()) if f"--{key} " not in text and f"--{key}\n" not in text}
    assert missing == {"recipe", *groups}


def test_the_command_line_is_read_without_loading_torch():
    script = (
        "import sys; from yoso.training.cli import main, parse; parse(['small', '--start', 'facades-mnv2']); "
        "main(['--help-all']); print(sorted({'torch', 'timm', 'scipy', 'lightning'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


def test_options_override_the_recipe():
    config, _ = parse(["coco_r50", "--model.aggregation", "ifa", "--loss.ignore_void=true", "--run.batch_size", "2"])
    assert (config.model.aggregation, config.loss.ignore_void, config.run.batch_size) == ("ifa", True, 2)
    assert config.inference.input_size == (800, 1333)
    config, _ = parse(["coco_r50", "--inference.input_size", "[512,800]"])
    assert config.inference.input_size == (512, 800)


def test_print_config_prints_yaml_that_parses_again(capsys, tmp_path):
    with pytest.raises(SystemExit) as done:
        main(["coco_r50", "--run.seed", "7", "--print_config"])
    assert done.value.code == 0
    printed = capsys.readouterr().out
    assert yaml.safe_load(printed)["run"]["seed"] == 7
    path = tmp_path / "again.yaml"
    path.write_text(printed)
    assert parse([str(path)])[0] == parse(["coco_r50", "--run.seed", "7"])[0]


@pytest.fixture
def own(tmp_path):
    """A recipe that says what to learn from and where to start, and nothing else."""
    path = tmp_path / "own.yaml"
    path.write_text("data: mine.yaml\nstart: facades-mnv2\n")
    return str(path)


def test_a_recipe_without_a_network_has_that_of_its_start(own):
    there = config_of_model("facades-mnv2")
    for arguments in ([own], ["--data", "mine.yaml", "--start", "facades-mnv2"]):
        config, _ = parse(arguments)
        assert (config.model, config.inference) == there
    config, _ = parse([own, "--inference.overlap_threshold", "0.7"])
    assert config.inference == replace(there.inference, overlap_threshold=0.7)
    config, _ = parse([own, "--start", "null"])
    assert config.model == ModelConfig()


def test_print_config_shows_the_network_of_the_start(own, capsys, tmp_path):
    with pytest.raises(SystemExit):
        main([own, "--print_config"])
    path = tmp_path / "again.yaml"
    path.write_text(capsys.readouterr().out)
    assert parse([str(path)])[0] == parse([own])[0]


def test_recipes_and_starts_that_belong_together(tmp_path):
    there = config_of_model("facades-mnv2")
    for arguments in (["facades_mnv2"], ["small", "--data", "mine.yaml"]):
        config, _ = parse([*arguments, "--start", "facades-mnv2"])
        assert config.model == there.model  # what `small` does not say, as the mean of pixels, is the start's
        assert config.inference.object_mask_threshold == 0.3
    coco, _ = parse(["coco_r50"])
    network = {"model": asdict(coco.model), "inference": asdict(coco.inference)}
    (tmp_path / "config.json").write_text(json.dumps(network))
    (tmp_path / "model.safetensors").touch()
    config, _ = parse(["coco_r50", "--start", str(tmp_path)])
    assert replace(config, start=None) == coco


def test_a_start_that_is_not_a_model(own, tmp_path):
    with pytest.raises(CheckpointError, match="Did you mean 'facades-mnv2'"):
        parse([own, "--start", "facades-mnv"])
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(CheckpointError, match=r"config\.json: is not the configuration of a model"):
        parse([own, "--start", str(tmp_path)])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["coco_r5"], "coco_r50"),
        (["coco_r50", "--run.bach_size", "2"], "run.batch_size"),
        (["coco_r50", "--run.batch_size", "two"], "batch_size"),
        (["coco_r50", "--run.batch_size", "0"], "at least 1"),
        (
            ["coco_r50", "--schedule.warmup_iterations", "-1"],
            "warmup_iterations is -1; it must not be negative",
        ),
        (["coco_r50", "--model.attention", "sdcaa"], "attention"),
        (["coco_r50", "--augmentation.scale", "[2.0,0.1]"], "scale"),
        ([], "no recipe is given; usage: yoso train RECIPE --data DATASET"),
        (["--start", "facades-mnv2"], "no data set is given; usage: yoso train RECIPE --data DATASET"),
        (["coco_r50", "mine.yaml"], "unexpected argument 'mine.yaml'; usage: yoso train RECIPE --data DATASET"),
        (["coco_r50", "--augmentation.start_share", "1"], "option --augmentation.start_share no longer exists"),
    ],
)
def test_wrong_options_are_named(arguments, words):
    with pytest.raises(ConfigError) as error:
        parse(arguments)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data: x\nmodle: {}\n", "model"),
        ("data: x\nmodel: {temprature: 1.0}\n", "model.temperature"),
        ("- a\n- b\n", "mapping"),
        ("a: [", "YAML"),
        (
            "data: x\nschedule: {frozen_backbone: 0}\naugmentation: {min_pixels: 0}\n",
            "no longer exist: schedule.frozen_backbone, augmentation.min_pixels; delete their lines",
        ),
    ],
)
def test_wrong_files_are_named(text, words, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        parse([str(path)])
    assert "mine.yaml" in str(error.value)
    assert words in str(error.value)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_recipe_is_read_in_any_unicode_encoding(tmp_path, encoding):
    path = tmp_path / "mine.yaml"
    path.write_text("---\n# Straße\ndata: Straße.yaml\noptimizer: {lr: 1e-3}\n", encoding=encoding)
    config, _ = parse([str(path)])
    assert (config.data, config.optimizer.lr) == ("Straße.yaml", 1e-3)


def test_a_recipe_does_not_depend_on_the_locale(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("# Straße\nabout: {author: Öztürk}\ndata: Straße.yaml\noptimizer: {lr: 1e-3}\n", encoding="utf-8")
    code = "from yoso.training.cli import parse; c, _ = parse([FILE]); print(ascii([c.data, c.about, c.optimizer.lr]))"
    run = subprocess.run(
        [sys.executable, "-c", code.replace("FILE", repr(str(path)))],
        env={**os.environ, "PYTHONUTF8": "0", "LC_ALL": "C"},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert run.stderr == ""
    assert ast.literal_eval(run.stdout) == ["Straße.yaml", {"author": "Öztürk"}, 1e-3]
