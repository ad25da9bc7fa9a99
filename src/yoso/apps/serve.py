"""`yoso serve`: models behind an HTTP address."""

import os
import sys
from pathlib import Path

from yoso.apps.arguments import Parser
from yoso.apps.signals import sigterm_raises
from yoso.errors import ConfigError
from yoso.files import read_text

DEFAULT_MODEL = "facades-mnv2"
KEY_VARIABLE = "YOSO_API_KEY"
MIN_KEY_LENGTH = 16
MAX_PORT = 65535
EPILOG = f"""\
The API is described at /openapi.json and in docs/server.md. The server is reached from this machine alone, unless \
--host says otherwise. The variable {KEY_VARIABLE} may hold the API key instead of a file.

examples:
  yoso serve
  yoso serve --model coco-r50 --model mine=runs/mine/model
  yoso serve --host 0.0.0.0 --allow-host vision.example.org --key-file /etc/yoso.key
"""


def build_parser() -> Parser:
    """Return the parser of `yoso serve`."""
    from yoso.inference.runtimes import runtime_names

    parser = Parser("serve", "Serve models over HTTP.", usage="yoso serve [options]", epilog=EPILOG)
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model",
        action="append",
        metavar="[NAME=]MODEL",
        help="a name that `yoso models` lists, a model folder, an exported file, or hf:OWNER/NAME; may be repeated, "
        f"and the first one is the default (default: {DEFAULT_MODEL})",
    )
    model.add_argument("--offline", action="store_true", help="fetch nothing; the models must be on this machine")
    model.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1 (default: auto)")
    model.add_argument("--runtime", default="auto", help=f"auto, {', '.join(runtime_names())} (default: auto)")
    model.add_argument("--precision", default="fp32", help="fp32, or bf16 on a GPU (default: fp32)")
    address = parser.add_argument_group("address and access")
    address.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    address.add_argument("--port", type=_port, default=8000, help="port to listen on; 0: any free one (default: 8000)")
    address.add_argument("--key-file", metavar="FILE", help="file with the API key that clients must send")
    address.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="name under which clients reach the server, besides localhost and IP addresses; may be repeated",
    )
    address.add_argument(
        "--origin",
        action="append",
        default=[],
        metavar="URL",
        help="web site whose scripts may call the API, such as https://example.org; may be repeated",
    )
    load = parser.add_argument_group("load")
    load.add_argument("--workers", type=_count, default=1, metavar="N", help="processes (default: 1)")
    load.add_argument(
        "--threads", type=_count, default=1, metavar="N", help="images segmented at a time, per process (default: 1)"
    )
    load.add_argument(
        "--queue", type=_count, default=32, metavar="N", help="images that may wait, per process (default: 32)"
    )
    load.add_argument(
        "--timeout", type=_count, default=30, metavar="SECONDS", help="time limit of a request (default: 30)"
    )
    return parser


def main(arguments: list[str]) -> int:
    """Run `yoso serve`.

    Args:
        arguments: what stands after `yoso serve`.

    Returns:
        The exit status, 0 after Ctrl-C or SIGTERM.

    Raises:
        YosoError: an option is wrong, a model cannot be loaded, or the address cannot be used.
    """
    args = build_parser().parse(arguments)
    from yoso.serve.models import named_sources
    from yoso.serve.running import address_of, listen, run
    from yoso.serve.settings import Limits, ModelOptions, ServerSettings

    if args.offline:
        os.environ["YOSO_OFFLINE"] = "1"
    settings = ServerSettings(
        named_sources(args.model or [DEFAULT_MODEL]),
        ModelOptions(args.device, args.runtime, args.precision),
        args.threads,
        tuple(name.lower() for name in args.allow_host),
        tuple(args.origin),
        _key(args.key_file),
        Limits(queue_length=args.queue, request_seconds=float(args.timeout)),
    )
    with sigterm_raises(), listen(args.host, args.port) as listener:
        names = ", ".join(settings.sources)
        print(f"serving {names} at {address_of(listener)} (Ctrl-C ends the server)", file=sys.stderr, flush=True)
        try:
            run(settings, listener, args.workers)
        except KeyboardInterrupt:
            print("ended", file=sys.stderr)
    return 0


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > MAX_PORT:
        raise ConfigError(f"--port {text}: give a number from 0 to {MAX_PORT}")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise ConfigError(f"{text!r}: give a whole number from 1 to 10000")
    return int(text)


def _key(path: str | None) -> str | None:
    """Return the API key of a file or of the environment; None if there is none.

    Raises:
        ConfigError: the file is missing or unreadable, or the key is too short.
    """
    if path is None:
        text, where = os.environ.get(KEY_VARIABLE), KEY_VARIABLE
        if text is None:
            return None
    else:
        text, where = read_text(Path(path), ConfigError, "a file with an API key"), path
    key = text.strip()
    if len(key) < MIN_KEY_LENGTH or not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(
            f"{where}: the key must have at least {MIN_KEY_LENGTH} ASCII characters on one line, no spaces"
        )
    return key
