"""Hostile variants of sound documents and files, drawn from a seeded generator."""

import json
from copy import deepcopy
from random import Random
from typing import Any

NAMES = [
    *(
        "../../evil",
        "/tmp/evil",
        "..\\..\\evil",
        "C:evil",
        "\\\\host\\share",
        "nul",
        "a\0b",
        "",
        ".",
        "..",
        "a/../../b",
    ),
    *("x" * 300, "\x1b]0;evil\x07", "\u202egpj.exe", "-rf", "~root/x", "~nobody-here/x", "//etc/passwd", "a" * 5000),
    *("\udcff", "\ud800", "%s%s%n", "${HOME}", "\n", "ü" * 100, "CON", "file.jpg/"),
]
NUMBERS = [
    *(
        0,
        -1,
        1,
        2,
        255,
        256,
        2**24,
        2**31 - 1,
        2**31,
        2**53,
        2**63,
        2**64,
        10**30,
        -(10**30),
        10**400,
        0.5,
        -0.0,
        1e-320,
    ),
    *(1e300, -1e300, float("nan"), float("inf"), float("-inf"), True, False, None),
]


def deep(levels: int) -> Any:
    """Return lists within lists."""
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


def hostile_value(random: Random) -> Any:
    """Return any value that a JSON or YAML document can hold, of those that are likely to break something."""
    kind = random.randrange(10)
    if kind < 4:
        return random.choice(NUMBERS)
    if kind < 7:
        return random.choice(NAMES)
    if kind == 7:
        return random.choice([[], {}, [[]], [{}], {"a": {}}, [None], [1, 2, 3, 4], [0.5] * 6, "1", "0", "true", "nan"])
    if kind == 8:
        return deep(random.choice([5, 90, 150, 300]))
    return random.choice([[0] * 20_000, "7" * 5000, {str(number): number for number in range(3000)}, ["a"] * 3000])


def places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value."""
    found = [path]
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        found += places(value, (*path, key)) if isinstance(value, dict | list) else [(*path, key)]
    return found


def replaced(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a document with another value at a path."""
    if not path:
        return value
    content[path[0]] = replaced(content[path[0]], path[1:], value)
    return content


def mutated(content: Any, random: Random) -> Any:
    """Return a document with one to three values replaced, removed, renamed or doubled."""
    content = deepcopy(content)
    for _ in range(random.randint(1, 3)):
        if not isinstance(content, dict | list):
            break
        path = random.choice(places(content))
        action = random.randrange(8) if path else 0
        if action < 5:
            content = replaced(content, path, hostile_value(random))
            continue
        holder = content
        for key in path[:-1]:
            holder = holder[key]
        if action == 5:
            del holder[path[-1]]
        elif action == 6 and isinstance(holder, dict):
            holder[random.choice([*NAMES, 7, None])] = holder.pop(path[-1])
        elif isinstance(holder, list):
            holder.extend(holder[:] * random.choice([1, 50]))
    return content


def as_json(content: Any, random: Random) -> bytes:
    """Return a document as a JSON file, at times with duplicate keys, damaged or in another encoding."""
    text = json.dumps(content, ensure_ascii=random.random() < 0.8, indent=random.choice([None, 1]))
    if random.random() < 0.1 and "{" in text:
        text = text.replace("{", '{"id": 1, "id": 2, "name": "a", "name": "b", ', 1)
    if random.random() < 0.03:
        text = random.choice(["[" * 50_000, '{"a":' * 50_000, " " * 3_000_000, '"' + "\\u" * 9, "1" * 6000])
    content = text.encode(random.choice(["utf-8"] * 8 + ["utf-16", "latin-1"]), "replace")
    return damaged(content, random) if random.random() < 0.15 else content


def as_yaml(content: Any, random: Random) -> bytes:
    """Return a document as a YAML file, at times with aliases, tags or damage."""
    text = json.dumps(content, indent=2)  # which is YAML, too
    if random.random() < 0.3:
        text = random.choice(YAML_TEXTS)
    return damaged(text.encode(), random) if random.random() < 0.2 else text.encode()


YAML_TEXTS = [
    "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"a{n + 1}: &a{n + 1} [{f'*a{n}, ' * 10}]\n" for n in range(12)),
    "a: &a [*a]\ntrain: *a\n",
    "a: &a {b: *a}\n",
    "a0: &a0 {k: v}\n" + "".join(f"a{n + 1}: &a{n + 1} {{<<: [{f'*a{n}, ' * 10}]}}\n" for n in range(12)),
    "!!python/object/apply:os.system ['true']\n",
    "!!binary 'not base64'\n",
    "? [a, b]\n: c\n",
    "? {a: b}\n: c\n",
    "train: 2020-99-99\n",
    "train: 1e999999\nval: .nan\n",
    "name: 0x\nval: 0b\n",
    "- " * 3000 + "a\n",
    "{" * 3000,
    "a: " * 2000,
    "name: a\nname: b\nname: c\n",
    "train: {images: a, images: b, masks: c, annotations: d}\n",
    "train: {images: /etc, masks: /etc, annotations: /etc/passwd}\n",
    "root: ~nobody-here\ntrain: {images: a, masks: b, annotations: c}\n",
    "%YAML 9.9\n---\na: b\n",
    "a: b\n---\nc: d\n",
    "\0",
    "'" * 1001,
    "&a " * 500,
    "*a\n",
    "<<: 3\n",
    "=: 3\n",
    "1__0: 1_0\n12:30:45: 60:60:60\n",
]


def damaged(content: bytes, random: Random) -> bytes:
    """Return a file with some bytes changed, or cut off, doubled or moved."""
    if not content:
        return b"\0"
    action = random.randrange(5)
    data = bytearray(content)
    if action == 0:
        return content[: random.randrange(len(content))]
    if action == 1:
        start = random.randrange(len(data))
        return bytes(data[:start] + data[start : start + random.randrange(1, 200)] * 3 + data[start:])
    reach = len(data) if action == 2 else min(len(data), 200)
    for _ in range(random.choice([1, 2, 8, 40])):
        place = random.randrange(reach)
        data[place] = random.choice(
            [0, 1, 0x7F, 0x80, 0xFF, random.randrange(256), data[place] ^ 1 << random.randrange(8)]
        )
    return bytes(data)
