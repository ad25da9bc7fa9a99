"""Settings of a server: which models, how many threads, and every limit on what a client may send."""

from dataclasses import dataclass, field

from yoso.errors import ConfigError


@dataclass(frozen=True)
class Limits:
    """What a client may ask of the server.

    Attributes:
        body_bytes: maximum size of a request's body, and of a WebSocket message.
        all_bodies_bytes: maximum size of the bodies of all requests in progress together.
        pixels: maximum width x height of an image, checked before decoding.
        network_pixels: maximum width x height of the network's input, that is, of the resized image.
        aspect_ratio: maximum longer side divided by shorter side.
        json_values: maximum number of values in a JSON body, checked before parsing.
        form_parts: maximum number of parts in a multipart body.
        header_bytes: maximum size of request line and headers.
        connections: maximum number of requests in progress, and of open connections.
        queue_length: maximum number of images that wait for a thread.
        upload_seconds: maximum time to receive a request, and to send a response.
        request_seconds: maximum time from a complete request to its result, the time in the queue included.
        drain_seconds: maximum time to finish accepted requests after SIGTERM.
    """

    body_bytes: int = 20_000_000
    all_bodies_bytes: int = 500_000_000
    pixels: int = 50_000_000
    network_pixels: int = 4_000_000
    aspect_ratio: float = 50.0
    json_values: int = 2_000_000
    form_parts: int = 16
    header_bytes: int = 16_384
    connections: int = 256
    queue_length: int = 32
    upload_seconds: float = 30.0
    request_seconds: float = 30.0
    drain_seconds: float = 30.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: a limit is not above 0.
        """
        for name, value in vars(self).items():
            if not value > 0:
                raise ConfigError(f"limit {name} is {value}; give a number above 0")


@dataclass(frozen=True)
class ModelOptions:
    """How models are loaded; see `yoso.load`."""

    device: str = "auto"
    runtime: str = "auto"
    precision: str = "fp32"


@dataclass(frozen=True)
class ServerSettings:
    """All that a server needs to know. It can be pickled, because worker processes receive it.

    Attributes:
        sources: what to load, by the name under which clients ask for it; the first one is the default.
        options: how to load the models.
        threads: images that are segmented at the same time, per process.
        hosts: names that the Host header may have, besides localhost and IP addresses.
        origins: web origins that may call the API from a browser (CORS), such as https://example.org.
        key: that clients must send, or None.
        limits: on requests.
    """

    sources: dict[str, str]
    options: ModelOptions = ModelOptions()
    threads: int = 1
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    key: str | None = field(default=None, repr=False)
    limits: Limits = Limits()
