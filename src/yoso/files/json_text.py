"""JSON from anybody: parsed with bounds on depth, without halves of characters, and with duplicate keys reported."""

import json
import re
import warnings
from collections.abc import Iterator
from typing import Any

MAX_DEPTH = 100
"""Objects and lists within each other. No document of ours has ten, and code that walks deeper ones fails."""

_HALF = re.compile("[\ud800-\udfff]")
_ESCAPED_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|\n', re.DOTALL)


class JsonDecoder:
    """Decodes values, and warns about the first duplicate key."""

    def __init__(self, path: object) -> None:
        """Decode nothing yet; `path` is the file's, for warnings."""
        self.path = path
        self.duplicate: str | None = None
        self._has_warned = False
        self._decoder = json.JSONDecoder(object_pairs_hook=self._object)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs) and self.duplicate is None:
            keys = [key for key, _ in pairs]
            self.duplicate = next(key for place, key in enumerate(keys) if key in keys[:place])
        return content

    def decode(self, text: str, place: int = 0, first_line: int = 1) -> tuple[Any, int]:
        """Return the value that begins at `place`, and where it ends.

        Args:
            text: with the value.
            place: of its first character.
            first_line: number of the line in which `text` begins, for warnings.

        Raises:
            ValueError: it is not JSON, is nested too deeply, or holds half of a character.
        """
        value, end = self._decoder.raw_decode(text, place)
        check_depth(value)
        if _ESCAPED_HALF.search(text, place, end):
            _refuse_halves(value)
        if self.duplicate is not None and not self._has_warned:
            self._has_warned = True
            line = _line_of_duplicate(text[:end], self.duplicate, place) + first_line
            warn_of_duplicate(self.path, line, self.duplicate)
        return value, end


def parse_json(text: str, path: object) -> Any:
    """Return the value of a whole document.

    Args:
        text: the document.
        path: of the file, for warnings.

    Raises:
        ValueError: see `JsonDecoder.decode`; or something follows the value.
    """
    start = _after_spaces(text, 0)
    value, end = JsonDecoder(path).decode(text, start)
    if (end := _after_spaces(text, end)) < len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    return value


def _after_spaces(text: str, place: int) -> int:
    found = json.decoder.WHITESPACE.match(text, place)
    return found.end() if found else place


def warn_of_duplicate(path: object, line: int, key: object) -> None:
    """Warn that a key of an object occurs twice."""
    warnings.warn(f"{path}, line {line}: the key {key!r} occurs twice; only the last value counts", stacklevel=1)


def check_depth(value: Any) -> None:
    """Check how deeply lists and objects are nested.

    Raises:
        ValueError: deeper than `MAX_DEPTH`.
    """
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        level = [
            part
            for group in level
            for part in (group.values() if isinstance(group, dict) else group)
            if isinstance(part, dict | list)
        ]
        if not level:
            return
    raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")


def _refuse_halves(value: Any) -> None:
    for text in _texts(value):
        if found := _HALF.search(text):
            raise ValueError(f"it holds half of a character, \\u{ord(found[0]):04x}, which no file or name can hold")


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts of a document, keys included."""
    rest = [value]
    while rest:
        part = rest.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            yield from part
            rest.extend(part.values())
        elif isinstance(part, list):
            rest.extend(part)


def _line_of_duplicate(text: str, key: str, place: int) -> int:
    """Return the number of line breaks before the second occurrence of a key in one object."""
    line, before = text.count("\n", 0, place), ""
    seen: list[set[str]] = [set()]
    for token in _TOKEN.finditer(text, place):
        word = token[0]
        if word == "\n":
            line += 1
        elif word in "{[":
            seen.append(set())
        elif word in "}]":
            seen.pop()
        elif word == ":" and json.loads(before) == key:
            if key in seen[-1]:
                return line
            seen[-1].add(key)
        if word != "\n":
            before = word
        line += word.count("\n") if len(word) > 1 else 0
    return line
