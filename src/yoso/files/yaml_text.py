"""YAML from anybody: parsed with bounds on size, depth and aliases, and with duplicate keys reported."""

from typing import Any

import yaml

from yoso.files.json_text import MAX_DEPTH, warn_of_duplicate

MAX_CHARACTERS = 2**20
"""Of a document; descriptions of data sets and recipes have a few thousand."""

FEW_CHARACTERS = 2**14
"""Up to this many, PyYAML's own parser is fast enough; longer documents go to that of libyaml, if PyYAML has it."""

MAX_NODES = 10**6
"""Of a document with its aliases written out. A few lines of aliases of aliases stand for billions."""


def parse_yaml(text: str, path: object) -> Any:
    """Return the value of a document; no tag of it makes a Python object.

    Args:
        text: the document.
        path: of the file, for warnings.

    Raises:
        ValueError: it is not YAML, too large, nested too deeply, or contains itself.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"it has {len(text):,} characters; at most {MAX_CHARACTERS:,} are read")
    fast: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        if len(text) > FEW_CHARACTERS:
            _check_depth(text, fast)
        loader: Any = yaml.SafeLoader(text) if len(text) <= FEW_CHARACTERS else fast(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _Size(path).of(node, 0)
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _check_depth(text: str, kind: Any) -> None:
    """Check how deeply a document is nested, without recursion, which libyaml's parser does not bound.

    Raises:
        ValueError: too deeply.
    """
    depth = 0
    for event in yaml.parse(text, Loader=kind):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")


class _Size:
    """Counts the nodes that a document stands for, each alias as a copy."""

    def __init__(self, path: object) -> None:
        self._path = path
        self._known: dict[int, int] = {}
        self._has_warned = False

    def of(self, node: yaml.Node, depth: int) -> int:
        """Return the number of nodes.

        Raises:
            ValueError: there are too many, they are nested too deeply, or a node contains itself.
        """
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep, or contains itself")
        if id(node) not in self._known:
            self._known[id(node)] = 1 + sum(self.of(part, depth + 1) for part in self._parts(node))
        if self._known[id(node)] > MAX_NODES:
            raise ValueError(f"its aliases stand for more than {MAX_NODES:,} values")
        return self._known[id(node)]

    def _parts(self, node: yaml.Node) -> list[yaml.Node]:
        if isinstance(node, yaml.MappingNode):
            self._warn_of_duplicates(node)
            return [part for pair in node.value for part in pair]
        return node.value if isinstance(node, yaml.SequenceNode) else []

    def _warn_of_duplicates(self, node: yaml.MappingNode) -> None:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if self._has_warned or not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if (key.tag, key.value) in seen:
                self._has_warned = True
                warn_of_duplicate(self._path, key.start_mark.line + 1, key.value)
            seen.add((key.tag, key.value))
