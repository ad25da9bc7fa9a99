"""Reads a large JSON object entry by entry: as Python objects, COCO's annotations take ten times the file's size."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from yoso.errors import DatasetError
from yoso.files import JsonDecoder, PathLike, reading

CHUNK_CHARACTERS = 2**20

_NUMBER_TAIL = 2
"""Characters that a number can end in where the window cuts it off, as in `1e+`."""


def walk_json(path: PathLike, on_entry: Callable[[str, Any], None]) -> Any:
    """Read a JSON file whose top level is an object, and pass on the entries of its lists one by one.

    Args:
        path: of the file.
        on_entry: called with (key of the list, entry), in the order of the file.

    Returns:
        The object, with its lists empty; or the file's content, if that is not an object.

    Raises:
        DatasetError: the file is missing or is not JSON, is nested too deeply, holds half of a character, or has a key
            of the object twice.
    """
    with reading(path, "a JSON file", DatasetError):
        with Path(path).open("rb") as raw:
            encoding = json.detect_encoding(raw.read(4))
        with Path(path).open(encoding=encoding) as stream:
            return _Walker(stream, path).walk(on_entry)


class _Walker:
    """A window over the text that moves on as values are read."""

    def __init__(self, stream: TextIO, path: PathLike) -> None:
        self.stream, self.text, self.place, self.at_end = stream, "", 0, False
        self.line = 1  # in which `text` begins
        self.decoder = JsonDecoder(path)

    def walk(self, on_entry: Callable[[str, Any], None]) -> Any:
        """See `walk_json`."""
        content = self._object(on_entry) if self._next() == "{" else self._value()
        if self._next():
            raise json.JSONDecodeError("Extra data", self.text, self.place)
        return content

    def _object(self, on_entry: Callable[[str, Any], None]) -> dict[str, Any]:
        content: dict[str, Any] = {}
        self._take("{")
        while self._next() != "}":
            if content:
                self._take(",")
            if self._next() != '"':
                raise json.JSONDecodeError("Expecting property name enclosed in double quotes", self.text, self.place)
            key = self._value()
            if key in content:
                raise ValueError(f"the key {key!r} occurs twice")
            self._take(":")
            content[key] = self._list(key, on_entry) if self._next() == "[" else self._value()
        self._take("}")
        return content

    def _list(self, key: str, on_entry: Callable[[str, Any], None]) -> list[Any]:
        self._take("[")
        is_first = True
        while self._next() != "]":
            if not is_first:
                self._take(",")
                self._next()
            on_entry(key, self._value())
            is_first = False
        self._take("]")
        return []

    def _next(self) -> str:
        """Return the next character that is not white space, without taking it; "" at the end."""
        while True:
            spaces = json.decoder.WHITESPACE.match(self.text, self.place)
            self.place = spaces.end() if spaces else self.place
            if self.place < len(self.text) or self.at_end:
                return self.text[self.place : self.place + 1]
            self._more()

    def _take(self, character: str) -> None:
        if self._next() != character:
            raise json.JSONDecodeError(f"Expecting {character!r}", self.text, self.place)
        self.place += 1

    def _value(self) -> Any:
        """Return the next value; read on as long as the window may cut it off."""
        while True:
            try:
                value, end = self.decoder.decode(self.text, self.place, self.line)
            except json.JSONDecodeError:
                if self.at_end:
                    raise
            else:
                if end + _NUMBER_TAIL < len(self.text) or self.at_end:
                    self.place = end
                    return value
            self._more()

    def _more(self) -> None:
        """Drop what was read and read on; a value that does not fit into the window doubles it."""
        self.line += self.text.count("\n", 0, self.place)
        rest = self.text[self.place :]
        read = self.stream.read(max(CHUNK_CHARACTERS, len(rest)))
        self.text, self.place, self.at_end = rest + read, 0, not read
