"""Result files: what was measured for one table or figure, part by part, with its conditions and a checksum.

    {"schema": 1, "id": "table5", "yoso": "0.2.0", "parts": {"flops": {...}, ...}, "sha256": "..."}

Every part has the command, the conditions, the machine, the versions, the commit, the date and the content; parts are
added as they are finished. The checksum is of all the rest, so that a file that was edited by hand is noticed.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from yoso.errors import ConfigError
from yoso.files import PathLike, read_json, write_text

SCHEMA = 1


@dataclass(frozen=True)
class PartResult:
    """What was measured for a part of a table or figure.

    Attributes:
        command: that measures it.
        conditions: what the result depends on: device, repeats, data set and so on.
        seconds: that it took, over all runs if it was interrupted.
        machine: see `yoso.provenance`.
        threads: of torch on the CPU.
        versions: see `yoso.provenance`.
        date: UTC, ISO 8601.
        content: JSON values; each part has its own form.
        commit: of the sources; None outside a checkout.
    """

    command: str
    conditions: dict[str, Any]
    seconds: float
    machine: dict[str, str]
    threads: int
    versions: dict[str, str]
    date: str
    content: dict[str, Any]
    commit: str | None = None


@dataclass(frozen=True)
class ItemResult:
    """What was measured for a table or figure.

    Attributes:
        id: of the table or figure.
        yoso: version of this package that measured it.
        parts: by name.
    """

    id: str
    yoso: str
    parts: dict[str, PartResult] = field(default_factory=dict)

    def with_part(self, name: str, part: PartResult) -> "ItemResult":
        """Return the result with a further part."""
        return dataclasses.replace(self, parts={**self.parts, name: part})


def write_item_result(path: PathLike, result: ItemResult) -> None:
    """Write a result file, whole or not at all."""
    content = {"schema": SCHEMA, **dataclasses.asdict(result)}
    write_text(path, json.dumps({**content, "sha256": _checksum(content)}, indent=1) + "\n")


def read_item_result(path: PathLike) -> ItemResult:
    """Read a result file.

    Raises:
        DatasetError: it is missing or is not JSON.
        ConfigError: it is no result file, has another schema, or was changed after it was written.
    """
    content = read_json(path)
    if not isinstance(content, dict) or "schema" not in content:
        raise ConfigError(f"{path}: is not a result of `yoso reproduce`; move it, or choose another --output")
    if content["schema"] != SCHEMA:
        raise ConfigError(
            f"{path}: has schema {content['schema']}, but this version of yoso reads schema {SCHEMA}; read it with the "
            "version that wrote it, or measure again with --again"
        )
    checksum = content.pop("sha256", None)
    if checksum != _checksum(content):
        raise ConfigError(
            f"{path}: does not match its checksum, so it was edited by hand or is damaged; restore it, or measure "
            "again with --again"
        )
    parts = {name: PartResult(**part) for name, part in content["parts"].items()}
    return ItemResult(content["id"], content["yoso"], parts)


def _checksum(content: dict[str, Any]) -> str:
    plain = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(plain.encode()).hexdigest()
