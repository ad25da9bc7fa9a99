"""`yoso info`: describe a model or recipe without running it."""

import argparse
from typing import TYPE_CHECKING, Any

from yoso.apps.arguments import Parser
from yoso.apps.console import show, show_json
from yoso.errors import ConfigError, did_you_mean, known_name
from yoso.settings import parse_size

if TYPE_CHECKING:
    from yoso.speed.facts import NetworkSource

MIN_SIDE, DEFAULT_SIZE = 64, "512x800"
MAX_NAMES = 12
"""Classes are named up to this number, and counted beyond it."""

EPILOG = """\
MODEL is a name that `yoso models` lists, a model folder, a file that `yoso export` wrote, hf:OWNER/NAME, or a recipe \
such as small. Operations and memory are counted from shapes; nothing runs.

examples:
  yoso info --model facades-mnv2
  yoso info --model coco_r50 --size 800x1333 --json
"""


def build_parser() -> Parser:
    """Return the parser of `yoso info`."""
    description = "Describe a model or recipe: parameters, FLOPs, memory, classes, thresholds, license, provenance."
    parser = Parser("info", description, epilog=EPILOG, usage="yoso info --model MODEL [options]")
    parser.add_argument("--model", required=True, metavar="MODEL", help="model, exported file or recipe")
    sizes = f"image size for FLOPs and memory (default: {DEFAULT_SIZE})"
    parser.add_argument("--size", default=DEFAULT_SIZE, metavar="HxW", help=sizes)
    parser.add_argument("--offline", action="store_true", help="fetch nothing; the model must be on this machine")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def main(arguments: list[str]) -> int:
    """Run `yoso info --model MODEL`.

    Args:
        arguments: what stands after `yoso info`.

    Returns:
        The exit status.

    Raises:
        YosoError: there is no such model or recipe, or its files are damaged; a size that is too small.
    """
    args = build_parser().parse(arguments)
    size = parse_size(args.size, "--size")
    if min(size) < MIN_SIDE:
        raise ConfigError(f"--size {args.size}: is too small; both sides must be at least {MIN_SIDE} pixels")
    from yoso.speed.facts import describe_source

    facts = describe_source(args.model, _source(args), size)
    if args.json:
        show_json(facts)
    else:
        show("\n".join(_lines(facts)))
    return 0


def _source(args: argparse.Namespace) -> "NetworkSource":
    """Return a model, or else a recipe; a model takes precedence."""
    from pathlib import Path

    from yoso.speed.facts import model_source
    from yoso.weights.find import HUB
    from yoso.weights.layout import bundled_models
    from yoso.weights.published import PUBLISHED, is_cached

    name = args.model
    recipe = _recipe_name(name)
    models = {*bundled_models(), *PUBLISHED}
    model = known_name(name, models)
    is_here = model in bundled_models() or (model is not None and is_cached(model))
    if Path(name).exists() or name.startswith(HUB) or is_here or (recipe is None and model is not None):
        return model_source(name, args.offline)
    if recipe is None:
        raise ConfigError(f"no model, file or recipe {name!r}.{did_you_mean(name, {*models, *_recipes()})}")
    return _recipe_source(recipe)


def _recipes() -> list[str]:
    from yoso.training.recipes import recipes

    return list(recipes())


def _recipe_name(name: str) -> str | None:
    return known_name(name, _recipes())


def _recipe_source(name: str) -> "NetworkSource":
    from yoso.class_tables import benchmark_categories, class_tables
    from yoso.files import read_yaml
    from yoso.model.config import ModelConfig
    from yoso.settings import InferenceConfig, config_from_json
    from yoso.speed.facts import NetworkSource
    from yoso.training.recipes import find_recipe

    path = find_recipe(name)
    content = read_yaml(path)
    benchmark = name.split("_")[0]
    categories = benchmark_categories(benchmark) if benchmark in class_tables() else None
    comments = [line.lstrip("# ") for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    return NetworkSource(
        "recipe",
        categories,
        config_from_json(InferenceConfig, content.get("inference", {})),
        content.get("about", {}),
        config_from_json(ModelConfig, content.get("model", {})),
        {"recipe": comments, "data": content.get("data")},
    )


def _lines(facts: dict[str, Any]) -> list[str]:
    inference = facts["inference"]
    size = inference["input_size"]
    lines = [f"{facts['name']}: {facts['kind']}"]
    lines += [f"  {line}" for line in facts.get("recipe", [])]
    for key in ("folder", "file", "runtime", "precision", "sha256", "source_sha256"):
        lines += [f"{key.replace('_', ' ')}: {facts[key]}"] if facts.get(key) else []
    lines += [f"file size: {facts['file_bytes'] / 1e6:.1f} MB"] if "file_bytes" in facts else []
    lines += [f"also exported: {', '.join(facts['exported'])}"] if facts.get("exported") else []
    lines += _network_lines(facts["network"]) + _class_lines(facts["classes"])
    lines.append(
        f"thresholds: object mask {inference['object_mask_threshold']:g}, overlap {inference['overlap_threshold']:g}"
    )
    lines.append(f"input size: {f'{size[0]}x{size[1]}' if size else 'native'}")
    lines.append(f"license: {facts['license'] or 'not stated'}")
    lines += [f"{key}: {value}" for key, value in facts["about"].items() if key != "license"]
    return lines


def _network_lines(network: dict[str, Any] | None) -> list[str]:
    if network is None:
        return ["parameters, FLOPs, memory: not in the file; give the model folder that it was exported from"]
    parameters, size = network["parameters"], "x".join(str(side) for side in network["size"])
    stages = [stage for stage in parameters if stage != "all"]
    counts = ", ".join(f"{stage} {parameters[stage] / 1e6:.2f}M" for stage in stages)
    lines = [f"backbone: {network['backbone']}", f"parameters: {parameters['all'] / 1e6:.2f}M ({counts})"]
    for form, flops in network["flops"].items():
        shares = ", ".join(f"{stage} {flops[stage] / 1e9:.2f}" for stage in stages)
        lines.append(f"GFLOPs at {size}, {form}: {flops['network'] / 1e9:.2f} ({shares})")
    weights, activations = (network[key] / 1e6 for key in ("weight_bytes", "activation_bytes"))
    lines.append(f"memory at {size}, float32: weights {weights:.0f} MB, activations at least {activations:.0f} MB")
    return lines


def _class_lines(classes: dict[str, list[str]] | None) -> list[str]:
    if classes is None:
        return ["classes: those of the data set; counted with one class"]
    named = sum(map(len, classes.values())) <= MAX_NAMES
    return [
        f"{kind}: {', '.join(names) or '-'}" if named else f"{kind}: {len(names)} classes"
        for kind, names in classes.items()
    ]
