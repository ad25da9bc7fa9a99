"""`yoso benchmark`: how long models and their peers take, by one protocol."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from yoso.apps.arguments import Parser
from yoso.apps.console import progress_report, show
from yoso.errors import ConfigError, OutputError
from yoso.files import PathLike, write_text, written_whole

if TYPE_CHECKING:
    from yoso.speed.entry import Settings
    from yoso.speed.results import Result
    from yoso.speed.session import Plan

DEFAULT_MODEL = "facades-mnv2"
NAMES = "official eager torch onnxruntime onnxruntime-int8 openvino"
EPILOG = (
    "A model is a name that `yoso models` lists, a model folder, an exported file, or a recipe (coco_r50), which gets "
    "random weights: speed only. Timed: from the decoded photograph to the segments. The protocol: docs/speed.md."
)


def build_parser() -> Parser:
    """Return the parser of `yoso benchmark`."""
    parser = Parser("benchmark", "Time models against each other and against their peers.", epilog=EPILOG)
    add = parser.add_argument
    add("--models", nargs="*", default=[DEFAULT_MODEL], metavar="MODEL", help=f"default: {DEFAULT_MODEL}")
    add("--offline", action="store_true", help="fetch no model; those named must be here already")
    add("--sizes", nargs="+", default=["512x800"], metavar="HxW", help="of the photograph (default: 512x800)")
    add("--runtimes", nargs="+", default=["torch"], metavar="NAME", help=f"some of: {NAMES} (default: torch)")
    add("--against", nargs="+", default=[], metavar="PEER", help="maskformer mask2former eomt-s eomt-b eomt-l")
    add("--repeats", type=int, default=20, metavar="N", help="turns of each contestant (default: 20)")
    add("--warmup", type=int, default=3, metavar="N", help="runs of each before them (default: 3)")
    add("--threads", type=int, metavar="N", help="of torch on the CPU (default: torch's own)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto)")
    add("--precision", default="fp32", help="fp32, fp16 or bf16 (default: fp32)")
    add("--survivors", type=int, default=12, metavar="N", help="queries that random weights keep (default: 12)")
    add("--image", metavar="FILE", help="a photograph to segment, resized to each size (default: one is made)")
    add("--baseline", metavar="NAME", help="the contestant to compare the others with (default: the first)")
    add("--compile-seconds", type=float, default=300.0, metavar="S", help="most time to try torch.compile on a peer")
    add("--no-compile", action="store_true", help="do not try torch.compile on peers; they run eagerly")
    add("--no-memory", action="store_true", help="no process per contestant for its peak memory")
    add("--floors", action="store_true", help="also measure how far each stage is from what the machine can do")
    add("--json", metavar="FILE", help="write the result")
    add("--chart", metavar="FILE.svg", help="draw the result")
    add("--render", nargs="+", metavar="RESULT.json", help="measure nothing: print written results as Markdown")
    return parser


def main(arguments: list[str]) -> int:
    """Run `yoso benchmark`.

    Args:
        arguments: what stands after `yoso benchmark`.

    Returns:
        The exit status: 2 if a contestant failed, which its line in the table explains.

    Raises:
        YosoError: an unknown name, a missing package, an output that cannot be written: before anything is timed.
    """
    args = build_parser().parse(arguments)
    if args.render:
        return _render(args)
    from yoso.speed.images import parse_size
    from yoso.speed.lineup import line_up
    from yoso.speed.results import write_result
    from yoso.speed.session import baseline_of, measure

    settings = _settings(args)
    models = [_found(name, args.offline) for name in args.models]
    entries = line_up(models, args.runtimes, args.against, [parse_size(text) for text in args.sizes], settings)
    plan = _plan(args)
    baseline_of(entries, plan)
    for path in (args.json, args.chart):
        _check_writable(path)
    with progress_report("timing") as report:
        result = measure(entries, plan, report)
    if args.json:
        write_result(args.json, result)
    if args.chart:
        _draw(args.chart, result)
    _show(result)
    return 2 if any(one.error for one in result.contestants) else 0


def _settings(args: argparse.Namespace) -> "Settings":
    import torch

    from yoso.errors import did_you_mean
    from yoso.files import read_image
    from yoso.inference.torch_engine import resolve_device
    from yoso.speed.entry import Settings
    from yoso.speed.lineup import PRECISIONS

    if args.precision not in PRECISIONS:
        raise ConfigError(f"unknown precision {args.precision!r}.{did_you_mean(args.precision, PRECISIONS)}")
    for name in ("threads", "survivors"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name} {value}: it must be at least 1")
    if args.image is not None:
        read_image(args.image)
    threads = args.threads or torch.get_num_threads()
    return Settings(str(resolve_device(args.device)), args.precision, threads, args.survivors, args.image)


def _found(name: str, offline: bool) -> str:
    """Return the folder of a published model, which is fetched if it may be; any other name as it is."""
    from yoso.weights.find import find_model
    from yoso.weights.published import PUBLISHED

    return str(find_model(name, offline)) if name in PUBLISHED else name


def _plan(args: argparse.Namespace) -> "Plan":
    from yoso.speed.session import Plan

    compile_seconds = 0.0 if args.no_compile else args.compile_seconds
    return Plan(args.repeats, args.warmup, not args.no_memory, compile_seconds, args.floors, args.baseline)


def _check_writable(path: PathLike | None) -> None:
    """Find out before an hour of measuring whether its result can be written."""
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


def _show(result: "Result") -> None:
    from rich import table as rich_table
    from rich.box import SIMPLE_HEAD
    from rich.text import Text

    from yoso.speed.table import circumstances, factor_words, tables

    for table in tables(result):
        drawn = rich_table.Table(title=table.title, title_justify="left", box=SIMPLE_HEAD)
        for index, name in enumerate(table.header):
            drawn.add_column(name, justify="left" if index < 2 else "right", overflow="fold")
        for row in table.rows:
            drawn.add_row(*(Text(word) for word in row))
        show(drawn)
    for one in result.ratios:
        words = factor_words(one.times_faster)
        show(f"{result.baseline} is {words} than {one.name} at {one.size[0]}x{one.size[1]}")
    if any(one.mode.random_weights for one in result.contestants):
        show("random weights: built from a configuration; these lines say something about speed only")
    show(circumstances(result))
