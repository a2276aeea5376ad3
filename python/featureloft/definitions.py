"""What is published: entities, views, features and services, as objects, as mappings, or as `*.features.yaml` files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from os import PathLike
from pathlib import Path
from typing import Any

import yaml

from .errors import LoftError

# More than any sane definition file holds; a few lines of aliases can stand for billions of nodes.
MAX_NODES = 1_000_000
MAX_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class Entity:
    """What features describe. `keys` maps each join key to its type, in the order of the primary key."""

    name: str
    keys: Mapping[str, str]
    description: str | None = None
    owner: str | None = None
    tags: Sequence[str] = ()

    def definition(self) -> dict[str, Any]:
        return {"name": self.name, "keys": dict(self.keys), **_described(self)}


@dataclass(frozen=True)
class Feature:
    """One value of a view. `type` is as in `float64` or `decimal(10,2)`; `rules` are as in a definition file."""

    name: str
    type: str
    description: str | None = None
    tags: Sequence[str] = ()
    deprecated: str | None = None
    sensitive: bool = False
    rules: Sequence[Mapping[str, Any]] = ()

    def definition(self) -> dict[str, Any]:
        given = {"description": self.description, "deprecated": self.deprecated, "sensitive": self.sensitive or None}
        lists = {"tags": list(self.tags), "rules": [dict(rule) for rule in self.rules]}
        return {"type": self.type, **_without_empty({**given, **lists})}


@dataclass(frozen=True)
class View:
    """Features of one entity that are written and read together, under one time.

    `ttl` is how long a value may be used, `freshness` how old the newest may get: `"3h"` or a timedelta of whole
    seconds; `source` is as in a definition file, with `file` or `dataset`.
    """

    name: str
    entity: str | Entity
    features: Sequence[Feature] | Mapping[str, str]
    ttl: str | timedelta | None = None
    freshness: str | timedelta | None = None
    source: Mapping[str, Any] | None = None
    description: str | None = None
    owner: str | None = None
    tags: Sequence[str] = ()
    version: int | None = None
    allow_future_events: bool = False

    def definition(self) -> dict[str, Any]:
        features = self.features
        given = {
            "version": self.version,
            "ttl": duration(self.ttl),
            "freshness": duration(self.freshness),
            "allow_future_events": self.allow_future_events or None,
            "source": None if self.source is None else dict(self.source),
        }
        return {
            "name": self.name,
            "entity": self.entity.name if isinstance(self.entity, Entity) else self.entity,
            **_without_empty(given),
            **_described(self),
            "features": dict(features)
            if isinstance(features, Mapping)
            else _unique({feature.name: feature.definition() for feature in features}, features, self.name),
        }


@dataclass(frozen=True)
class Service:
    """The features that one model reads: references such as `airport_weather:temp`, or `airport_weather@v2:temp`."""

    name: str
    features: Sequence[str] = field(default_factory=tuple)
    description: str | None = None
    owner: str | None = None
    tags: Sequence[str] = ()

    def definition(self) -> dict[str, Any]:
        return {"name": self.name, "features": list(self.features), **_described(self)}


Definition = Entity | View | Service
Definitions = str | PathLike[str] | Mapping[str, Any] | Definition | Sequence["Definitions"]


@dataclass(frozen=True)
class Gathered:
    """Definitions as they go to the gateway, and for each view's `source.file` the folder that it is relative to."""

    wire: dict[str, list[Any]]
    folders: dict[str, Path]


def gather(definitions: Definitions) -> Gathered:
    """Reads definitions of any form into one document. Raises LoftError `bad_definition` with file and line."""
    gathered = Gathered({"entities": [], "views": [], "services": []}, {})
    _gather(definitions, gathered)
    return gathered


def _gather(definitions: Definitions, gathered: Gathered) -> None:
    match definitions:
        case str() | PathLike():
            path = Path(definitions)
            _add(read_yaml(path), gathered, path.parent)
        case View():
            if (
                isinstance(definitions.entity, Entity)
                and definitions.entity.definition() not in gathered.wire["entities"]
            ):
                _gather(definitions.entity, gathered)
            _add({"views": [definitions.definition()]}, gathered, Path())
        case Entity():
            _add({"entities": [definitions.definition()]}, gathered, Path())
        case Service():
            _add({"services": [definitions.definition()]}, gathered, Path())
        case Mapping():
            _add(definitions, gathered, Path())
        case Sequence():
            for one in definitions:
                _gather(one, gathered)
        case _:
            expected = "a path, a mapping, or featureloft's Entity, View or Service"
            raise LoftError("bad_definition", f"Found a {type(definitions).__name__}, expected {expected}.")


def _add(document: Any, gathered: Gathered, folder: Path) -> None:
    if not isinstance(document, Mapping):
        raise LoftError("bad_definition", f"Found {document!r}, expected a mapping of entities, views and services.")
    for member, items in document.items():
        known = gathered.wire.setdefault(
            str(member), []
        )  # an unknown member is for the gateway to refuse, with its words
        known.extend(items if isinstance(items, list) else [items])
        if member != "views":
            continue
        for view in items if isinstance(items, list) else ():
            if isinstance(view, Mapping) and isinstance(view.get("source"), Mapping) and "file" in view["source"]:
                gathered.folders[str(view.get("name"))] = folder


def duration(value: str | timedelta | None) -> str | None:
    """`timedelta(hours=3)` → `"3h"`: the largest unit that holds it whole."""
    if not isinstance(value, timedelta):
        return value
    seconds, rest = divmod(value, timedelta(seconds=1))
    if rest or seconds < 0:
        raise LoftError("bad_duration", f"Found {value!r}, expected a whole number of seconds, not negative.")
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _described(one: Entity | View | Service) -> dict[str, Any]:
    return _without_empty({"description": one.description, "owner": one.owner, "tags": list(one.tags)})


def _without_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None and value != []}


def _unique(built: dict[str, Any], features: Sequence[Feature], view: str) -> dict[str, Any]:
    if len(built) < len(features):
        raise LoftError("bad_definition", f"View {view} names a feature twice: {[one.name for one in features]}.")
    return built


def read_yaml(path: Path) -> Any:
    """The document of a definition file, read by YAML 1.2's core rules, as the gateway's own tools read it.

    PyYAML's own rules are YAML 1.1's, under which the key `on` of a rule is a boolean and `1:30` a number. Raises
    LoftError `bad_definition` that names file, line and column; a key written twice, a tag or a bomb of aliases is
    such a mistake.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise LoftError("bad_definition", f"{path} has {size} bytes, expected at most {MAX_BYTES}.")
        document = yaml.load(path.read_text(encoding="utf-8-sig"), _Loader)
        _limit(document)
        return {} if document is None else document
    except FileNotFoundError:
        raise LoftError("bad_definition", f"There is no file {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise LoftError("bad_definition", f"{path} can't be read: {error}") from None
    except RecursionError:
        raise LoftError("bad_definition", f"{path} is nested too deeply.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise LoftError("bad_definition", f"{place}: {getattr(error, 'problem', None) or error}.") from None


def _limit(document: Any) -> None:
    """Counts nodes as they would be sent, aliases expanded, and stops at the limit."""
    left = MAX_NODES
    waiting = [document]
    while waiting:
        left -= 1
        node = waiting.pop()
        if isinstance(node, dict):
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
        if left < 0 or len(waiting) > MAX_NODES:
            raise yaml.YAMLError(f"it stands for more than {MAX_NODES} values once its aliases are expanded")


class _Loader(yaml.SafeLoader):
    """Safe, YAML 1.2 core types only, duplicate keys refused."""

    yaml_implicit_resolvers = {}  # noqa: RUF012
    yaml_constructors = {  # noqa: RUF012
        tag: constructor
        for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in ("null", "bool", "float", "seq", "str")
    }


_CORE_SCHEMA = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
}
for _tag, (_pattern, _first) in _CORE_SCHEMA.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    return int(text, 0) if text.startswith(("0o", "0x")) else int(text)


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    """Keys are the text as written, so that `on` and `1` are names like any other."""
    mapping: dict[str, Any] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "a key is not plain text", key.start_mark)
        if key.value in mapping:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key.value} is written twice", key.start_mark)
        mapping[key.value] = loader.construct_object(value, deep=True)
    return mapping


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)
