"""The answer of an online read, and the types by which its JSON becomes Python values."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from .connection import Connection, path_of
from .errors import LoftError
from .frames import need, to_pandas
from .value_types import ValueType, parse_type

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

# A view's types change only with a breaking publish. They are asked for again when known for longer than this.
TYPES_SECONDS = 1.0
_REFERENCE = re.compile(r"(?P<view>[^:@]+)(?:@v(?P<version>\d+))?:(?P<feature>.+)")
_TIMESTAMP = parse_type("timestamp")


@dataclass(frozen=True)
class Reference:
    """`view:feature`, or `view@v2:feature`."""

    view: str
    version: str | None
    feature: str

    @classmethod
    def parse(cls, text: str) -> Reference:
        match = _REFERENCE.fullmatch(text)
        if match is None:
            raise LoftError("bad_reference", f"Found {text!r}, expected view:feature or view@v2:feature.")
        return cls(match["view"], match["version"], match["feature"])

    @property
    def pinned_view(self) -> str:
        return self.view if self.version is None else f"{self.view}@v{self.version}"

    def columns(self) -> tuple[str, str, str]:
        """The names that its column may have in a result, the longest first."""
        full = f"{self.view}__{self.feature}"
        return (f"{self.view}_v{self.version}__{self.feature}", full, self.feature)


@dataclass(frozen=True)
class Column:
    """One feature's answer, one element an entity asked for."""

    type: ValueType
    values: list[Any]
    statuses: list[str]
    event_timestamps: list[datetime | None]


class OnlineResult:
    """Newest values, one row an entity asked for, in the order asked.

    `as_of` is the database's clock at the read (UTC): an age is `as_of` minus the event timestamp. A status is
    `PRESENT`, `NULL_VALUE`, `OUTSIDE_MAX_AGE` or `NOT_FOUND`; a value is None unless it is `PRESENT`.
    """

    def __init__(self, as_of: datetime, keys: Mapping[str, Sequence[Any]], columns: Mapping[str, Column]) -> None:
        self.as_of = as_of
        self.keys = {name: list(values) for name, values in keys.items()}
        self._columns = dict(columns)

    @property
    def features(self) -> list[str]:
        return list(self._columns)

    def values(self, feature: str) -> list[Any]:
        return self._column(feature).values

    def statuses(self, feature: str) -> list[str]:
        return self._column(feature).statuses

    def event_timestamps(self, feature: str) -> list[datetime | None]:
        return self._column(feature).event_timestamps

    def to_dict(self) -> dict[str, list[Any]]:
        """Keys, then features: name → values as Python objects, int64 exact, float NaN as NaN."""
        return {**self.keys, **{name: column.values for name, column in self._columns.items()}}

    def to_arrow(self) -> pa.Table:
        """Keys, then features, each of its own type; uuid and json as text."""
        arrays = {name: pa.array(values) for name, values in self.keys.items()}
        for name, column in self._columns.items():
            values = [column.type.to_arrow_value(value) for value in column.values]
            arrays[name] = pa.array(values, column.type.arrow())
        return pa.table(arrays)

    def to_pandas(self, *, arrow_types: bool = False) -> pd.DataFrame:
        """A pandas frame of `to_arrow`; see TrainingSet.to_pandas for its types."""
        return to_pandas(self.to_arrow(), arrow_types)

    def to_polars(self) -> pl.DataFrame:
        return need("polars").from_arrow(self.to_arrow())

    to_df = to_pandas

    def __len__(self) -> int:
        return max((len(values) for values in self.keys.values()), default=0)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Row by row, keys and features."""
        columns = self.to_dict()
        for row in zip(*columns.values(), strict=True):
            yield dict(zip(columns, row, strict=True))

    def __repr__(self) -> str:
        shown = ", ".join(self.features[:5]) + (", …" if len(self.features) > 5 else "")
        return f"<OnlineResult of {len(self)} × {len(self.features)} at {self.as_of.isoformat()}: {shown}>"

    def _column(self, feature: str) -> Column:
        try:
            return self._columns[feature]
        except KeyError:
            raise LoftError("unknown_column", f"Found {feature!r}, expected one of {self.features}.") from None


def read_online(
    answer: Mapping[str, Any], keys: Mapping[str, Sequence[Any]], types: Sequence[tuple[Reference, ValueType]]
) -> OnlineResult:
    """Builds the result from the gateway's JSON. Raises ValueError or TypeError when a value is not of its type."""
    found = answer["columns"]
    columns: dict[str, Column] = {}
    for reference, value_type in types:
        name = next((one for one in reference.columns() if one in found), None)
        if name is None:
            raise LoftError(
                "bad_answer", f"The gateway's answer has no column for {reference.view}:{reference.feature}."
            )
        column = found[name]
        columns[name] = Column(
            value_type,
            [value_type.from_json(value) for value in column["values"]],
            list(column["statuses"]),
            [_TIMESTAMP.from_json(value) for value in column["eventTimestamps"]],
        )
    return OnlineResult(_TIMESTAMP.from_json(answer["asOf"]), keys, columns)


class FeatureTypes:
    """Types of features, as the registry has them; kept while the registry's version stands."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._views: dict[str, dict[str, ValueType]] = {}
        self._services: dict[str, list[str]] = {}
        self._version: int | None = None
        self._asked = 0.0

    def forget(self) -> None:
        with self._lock:
            self._forget()

    def of(self, features: Sequence[str] | None, service: str | None) -> list[tuple[Reference, ValueType]]:
        """The references asked for, or the service's, in their order, each with its type."""
        with self._lock:
            self._check()
            references = [Reference.parse(text) for text in (features or self._service(str(service)))]
            return [(reference, self._type(reference)) for reference in references]

    def _forget(self) -> None:
        self._views.clear()
        self._services.clear()
        self._version = None

    def _check(self) -> None:
        if self._version is not None and time.monotonic() - self._asked < TYPES_SECONDS:
            return
        version = self._connection.get("/v1/registry", {"limit": 1}).json()["registryVersion"]
        if version != self._version:
            self._forget()
        self._version, self._asked = version, time.monotonic()

    def _type(self, reference: Reference) -> ValueType:
        name = reference.pinned_view
        if name not in self._views:
            view = self._connection.get(path_of("views", name)).json()
            self._views[name] = {feature["name"]: parse_type(feature["type"]) for feature in view["features"]}
        try:
            return self._views[name][reference.feature]
        except KeyError:
            known = ", ".join(self._views[name])
            raise LoftError(
                "unknown_feature", f"View {name} has no feature {reference.feature}; it has {known}."
            ) from None

    def _service(self, name: str) -> list[str]:
        if name not in self._services:
            for item in pages(self._connection, "/v1/registry"):
                if item["kind"] == "service":
                    self._services[item["name"]] = item["resolved"]
        try:
            return self._services[name]
        except KeyError:
            known = ", ".join(self._services) or "none"
            raise LoftError("unknown_service", f"There is no service {name}; there are: {known}.") from None


def pages(connection: Connection, path: str, limit: int = 500) -> Iterator[dict[str, Any]]:
    """All items of a paged list."""
    cursor: str | None = None
    while True:
        page = connection.get(path, {"limit": limit, "cursor": cursor}).json()
        yield from page["items"]
        cursor = page.get("nextCursor")
        if cursor is None:
            return
