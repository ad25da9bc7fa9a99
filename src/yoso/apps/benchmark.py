"""`yoso benchmark`: the latency of models and baselines, by one protocol."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoso.apps.arguments import Parser
from yoso.apps.console import progress_report, show
from yoso.apps.fitted_table import FittedTable
from yoso.errors import ConfigError, OutputError
from yoso.files import PathLike, write_text, written_whole
from yoso.inference.runtimes import runtime_names

if TYPE_CHECKING:
    from yoso.speed.entry import TimingSettings
    from yoso.speed.results import Result
    from yoso.speed.session import SessionPlan

DEFAULT_MODEL = "facades-mnv2"
RUNTIMES = ", ".join(("official", "eager", *runtime_names(), "onnxruntime-int8"))
BASELINES = "maskformer, mask2former, eomt-s, eomt-b, eomt-l"
EPILOG = (
    "MODEL is a name that `yoso models` lists, a model folder, an exported file, or a recipe such as coco_r50, which "
    "gets random weights: its speed is real, its segments are not. The clock runs from the decoded image to the "
    "segments; docs/speed.md describes the protocol."
)
DEPRECATED = {"--survivors": "--kept-queries", "--floors": "--rooflines", "--baseline": "--reference"}
"""Former names of options, which still work."""


def build_parser() -> Parser:
    """Return the parser of `yoso benchmark`."""
    description = "Compare the latency of models, runtimes and baselines."
    parser = Parser("benchmark", description, epilog=EPILOG, usage="yoso benchmark [options]")
    entries = parser.add_argument_group("what to time").add_argument
    entries("--models", nargs="*", default=[DEFAULT_MODEL], metavar="MODEL", help=f"default: {DEFAULT_MODEL}")
    entries("--runtimes", nargs="+", default=["torch"], metavar="NAME", help=f"some of {RUNTIMES} (default: torch)")
    entries("--against", nargs="+", default=[], metavar="NAME", help=f"baselines to compare with: {BASELINES}")
    entries("--sizes", nargs="+", default=["512x800"], metavar="HxW", help="image sizes (default: 512x800)")
    entries("--image", metavar="FILE", help="image to segment, resized to each size (default: a synthetic one)")
    entries("--reference", metavar="NAME", help="entry that speed-ups are relative to (default: the first)")
    entries("--offline", action="store_true", help="download nothing; the models must be on this machine")
    protocol = parser.add_argument_group("how to time").add_argument
    protocol("--repeats", type=int, default=20, metavar="N", help="timed runs of each entry (default: 20)")
    protocol("--warmup", type=int, default=3, metavar="N", help="untimed runs before them (default: 3)")
    protocol("--threads", type=int, metavar="N", help="CPU threads (default: as many as torch chooses)")
    protocol("--device", default="auto", help="auto, cpu, cuda or cuda:1 (default: auto)")
    protocol("--precision", default="fp32", help="fp32, fp16 or bf16 (default: fp32)")
    protocol("--kept-queries", type=int, default=12, metavar="N", help="queries random weights keep (default: 12)")
    limit = "time limit for trying torch.compile on a baseline (default: 300)"
    protocol("--compile-seconds", type=float, default=300.0, metavar="S", help=limit)
    protocol("--no-compile", action="store_true", help="run baselines without torch.compile")
    protocol("--no-memory", action="store_true", help="skip measuring peak memory, which takes a process per entry")
    protocol("--rooflines", action="store_true", help="compare each stage with the machine's peak performance")
    output = parser.add_argument_group("output").add_argument
    output("--json", metavar="FILE", help="write the result as JSON")
    output("--chart", metavar="FILE.svg", help="write the result as a bar chart")
    output("--render", nargs="+", metavar="RESULT.json", help="time nothing; print JSON results as Markdown")
    for old, new in DEPRECATED.items():
        kind: dict[str, Any] = {"action": "store_true"} if old == "--floors" else {}
        kind |= {"type": int} if old == "--survivors" else {}
        dest = new[2:].replace("-", "_")
        parser.add_argument(old, dest=dest, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **kind)
    return parser


def main(arguments: list[str]) -> int:
    """Run `yoso benchmark`.

    Args:
        arguments: what stands after `yoso benchmark`.

    Returns:
        The exit status: 2 if an entry failed; the output says why.

    Raises:
        YosoError: an unknown name, a missing package, an output that cannot be written: before anything is timed.
    """
    args = build_parser().parse(arguments)
    if args.render:
        return _render(args)
    from yoso.speed.images import parse_image_size
    from yoso.speed.results import write_result
    from yoso.speed.session import measure, reference_name
    from yoso.speed.specs import entry_specs

    settings = _settings(args)
    models = [_local_name(name, args.offline) for name in args.models]
    sizes = [parse_image_size(text, "--sizes") for text in args.sizes]
    specs = entry_specs(models, args.runtimes, args.against, sizes, settings)
    plan = _plan(args)
    reference_name(specs, plan)
    for path in (args.json, args.chart):
        _check_writable(path)
    with progress_report("timing") as report:
        result = measure(specs, plan, report)
    if args.json:
        write_result(args.json, result)
    if args.chart:
        _draw(args.chart, result)
    show_result(result)
    return 2 if any(entry.error for entry in result.entries) else 0


def _settings(args: argparse.Namespace) -> "TimingSettings":
    import torch

    from yoso.errors import did_you_mean
    from yoso.files import read_image
    from yoso.inference.torch_engine import resolve_device
    from yoso.speed.entry import TimingSettings
    from yoso.speed.specs import PRECISIONS

    if args.precision not in PRECISIONS:
        raise ConfigError(f"unknown precision {args.precision!r}.{did_you_mean(args.precision, PRECISIONS)}")
    for name in ("threads", "kept_queries"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name.replace('_', '-')} {value}: must be at least 1")
    if args.image is not None:
        read_image(args.image)
    threads = args.threads or torch.get_num_threads()
    return TimingSettings(str(resolve_device(args.device)), args.precision, threads, args.kept_queries, args.image)


def _local_name(name: str, offline: bool) -> str:
    """Return the folder of a published model, downloading it unless `offline`; return any other name as it is.

    Offline, return the folder of a model on the hub, too.
    """
    from yoso.weights.find import HUB, find_model
    from yoso.weights.published import PUBLISHED

    from_cache = offline and name.startswith(HUB)
    return str(find_model(name, offline)) if name in PUBLISHED or from_cache else name


def _plan(args: argparse.Namespace) -> "SessionPlan":
    from yoso.speed.session import SessionPlan

    compile_seconds = 0.0 if args.no_compile else args.compile_seconds
    memory = not args.no_memory
    return SessionPlan(args.repeats, args.warmup, memory, compile_seconds, args.rooflines, args.reference)


def _check_writable(path: PathLike | None) -> None:
    """Check before an hour of measuring that the result can be written."""
    if path is None:
        return
    if Path(path).is_dir():
        raise OutputError(f"{path}: is a folder; give the name of a file in it")
    probe = Path(path).with_name(f".{Path(path).name[:40]}.probe")
    with written_whole(probe):
        pass
    probe.unlink()


def _render(args: argparse.Namespace) -> int:
    from yoso.speed.results import read_result
    from yoso.speed.table import markdown

    if args.chart and len(args.render) > 1:
        raise ConfigError("--chart draws one result; give one file to --render")
    results = [read_result(path) for path in args.render]
    if args.chart:
        _draw(args.chart, results[0])
    show("\n\n".join(markdown(result) for result in results))
    return 0


def _draw(path: PathLike, result: "Result") -> None:
    from yoso.speed.chart import svg

    write_text(path, svg(result))


def show_result(result: "Result") -> None:
    """Print the tables and notes of a result."""
    from rich.text import Text

    from yoso.speed.table import notes, tables

    for table in tables(result):
        show(FittedTable(table), "")
    show(*(Text(line) for line in notes(result)))
