"""The store's value types between their three forms: JSON on the wire, Python objects, Arrow columns."""

from __future__ import annotations

import base64
import functools
import json
import math
import re
import struct
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

from .errors import LoftError

UTC_MICROSECONDS = pa.timestamp("us", tz="UTC")

_ARROW: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "string": pa.string(),
    "bytes": pa.binary(),
    "timestamp": UTC_MICROSECONDS,
    "date": pa.date32(),
    # Arrow's tools handle these two best as text.
    "uuid": pa.string(),
    "json": pa.string(),
}
_DECIMAL = re.compile(r"decimal\( ?(\d+) ?, ?(\d+) ?\)")
_LIST = re.compile(r"list< ?(.+?) ?>")
_EMBEDDING = re.compile(r"embedding< ?(\d+) ?>")
_FLOATS = frozenset({"float32", "float64"})
_SPECIAL_FLOATS = frozenset({"NaN", "Infinity", "-Infinity"})


@dataclass(frozen=True)
class ValueType:
    """A type of the store: a kind, and what belongs to it."""

    kind: str
    item: ValueType | None = None
    precision: int = 0
    scale: int = 0
    size: int = 0

    def arrow(self) -> pa.DataType:
        if self.kind == "decimal":
            return pa.decimal128(self.precision, self.scale)
        if self.kind == "list":
            assert self.item is not None
            return pa.list_(self.item.arrow())
        if self.kind == "embedding":
            return pa.list_(pa.float32(), self.size)
        return _ARROW[self.kind]

    def from_json(self, value: Any) -> Any:
        """A value of the gateway's JSON as a Python object.

        That is an int, float, bool, str, bytes, datetime in UTC, date, Decimal, UUID or a list of these.

        Raises ValueError or TypeError when the value is not of this type.
        """
        if value is None:
            return None
        match self.kind:
            case "bool" | "string":
                return _expect(value, bool if self.kind == "bool" else str)
            case "int32" | "int64":
                return _expect(value, int)
            case "float32" | "float64":
                if isinstance(value, str) and value not in _SPECIAL_FLOATS:
                    raise ValueError(f"found {value!r}, expected a number")
                return _single(float(value)) if self.kind == "float32" else float(value)
            case "bytes":
                return base64.b64decode(_expect(value, str), validate=True)
            case "timestamp":
                return datetime.fromisoformat(_expect(value, str)).astimezone(UTC)
            case "date":
                return date.fromisoformat(_expect(value, str))
            case "decimal":
                return Decimal(_expect(value, str))
            case "uuid":
                return uuid.UUID(_expect(value, str))
            case "list":
                assert self.item is not None
                return [self.item.from_json(element) for element in _expect(value, list)]
            case "embedding":
                return [_single(float(element)) for element in _expect(value, list)]
            case _:
                return value

    def to_arrow_value(self, value: Any) -> Any:
        """A Python object of `from_json` as `pa.array` of `arrow()` takes it."""
        if value is None:
            return None
        if self.kind == "uuid":
            return str(value)
        if self.kind == "json":
            return json.dumps(value, ensure_ascii=False)
        if self.kind == "list" and self.item is not None and self.item.kind in ("uuid", "json"):
            return [self.item.to_arrow_value(element) for element in value]
        return value


@functools.lru_cache(maxsize=512)
def parse_type(text: str) -> ValueType:
    """`"decimal(10,2)"` → its type. Raises LoftError `bad_type` for text that names none."""
    if text in _ARROW:
        return ValueType(text)
    if match := _DECIMAL.fullmatch(text):
        return ValueType("decimal", precision=int(match[1]), scale=int(match[2]))
    if match := _EMBEDDING.fullmatch(text):
        return ValueType("embedding", size=int(match[1]))
    if match := _LIST.fullmatch(text):
        return ValueType("list", item=parse_type(match[1]))
    kinds = ", ".join(_ARROW)
    raise LoftError("bad_type", f"Unknown type {text!r}; expected one of {kinds}, decimal(p,s), list<T>, embedding<n>.")


def _single(value: float) -> float:
    """The wire has the shortest text that names the float32; as a Python float it is that float32's exact value."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def _expect(value: Any, kind: type) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"found {value!r}, expected {kind.__name__}")
    return value


def type_of_arrow(data_type: pa.DataType, name: str) -> str:
    """The store's type for an Arrow column, as a data frame is published. `name` is the column, for the words.

    Raises LoftError `bad_column` for a type that the store has not, a time without zone, or a column of nulls only.
    """
    types = pa.types
    if types.is_dictionary(data_type):
        return type_of_arrow(data_type.value_type, name)
    if types.is_boolean(data_type):
        return "bool"
    if types.is_integer(data_type):
        fits = data_type.bit_width < 32 or data_type.equals(pa.int32())
        return "int32" if fits else "int64"
    if types.is_floating(data_type):
        return "float64" if types.is_float64(data_type) else "float32"
    if types.is_string(data_type) or types.is_large_string(data_type) or types.is_string_view(data_type):
        return "string"
    if isinstance(data_type, pa.BaseExtensionType):
        if data_type.extension_name == "arrow.uuid":
            return "uuid"
        if data_type.extension_name == "arrow.json":
            return "json"
        return type_of_arrow(data_type.storage_type, name)
    if (
        types.is_binary(data_type)
        or types.is_large_binary(data_type)
        or types.is_fixed_size_binary(data_type)
        or types.is_binary_view(data_type)
    ):
        return "bytes"
    if types.is_timestamp(data_type):
        if data_type.tz is None:
            raise bad_column(
                name, "a time without zone", f"a time with one, such as df[{name!r}].dt.tz_localize('UTC')"
            )
        return "timestamp"
    if types.is_date(data_type):
        return "date"
    if types.is_decimal(data_type) and data_type.precision <= 38 and 0 <= data_type.scale <= data_type.precision:
        return f"decimal({data_type.precision},{data_type.scale})"
    if types.is_fixed_size_list(data_type) and types.is_floating(data_type.value_type):
        return f"embedding<{data_type.list_size}>"
    if types.is_list(data_type) or types.is_large_list(data_type) or types.is_fixed_size_list(data_type):
        item = type_of_arrow(data_type.value_type, name)
        return "json" if item.startswith(("list<", "embedding<")) else f"list<{item}>"
    if types.is_struct(data_type) or types.is_map(data_type):
        return "json"
    if types.is_null(data_type):
        raise bad_column(name, "nulls only", f"a type: types={{{name!r}: 'float64'}}")
    raise bad_column(name, str(data_type), "a column of a type that the store has")


def bad_column(name: str, found: str, expected: str) -> LoftError:
    return LoftError("bad_column", f"Column {name}: found {found}, expected {expected}.")


def to_json(value: Any) -> Any:
    """A Python, NumPy or pandas value as JSON on the wire: NaN and infinities as strings, bytes as base64.

    Raises LoftError `bad_value` for a time without zone and for what has no form on the wire.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        return ("Infinity" if value > 0 else "-Infinity") if math.isinf(value) else value
    if isinstance(value, datetime):
        return _time_to_json(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (Decimal, uuid.UUID)):
        return format(value, "f") if isinstance(value, Decimal) else str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Mapping):
        return {str(name): to_json(inner) for name, inner in value.items()}
    if isinstance(value, Sequence):
        return [to_json(inner) for inner in value]
    if isinstance(value, pa.Scalar):
        return to_json(value.as_py())
    if type(value).__name__ in ("NAType", "NaTType"):  # pandas' missing values, without importing pandas
        return None
    for plain in ("tolist", "item"):  # NumPy's arrays and scalars, and pandas' Series
        if hasattr(value, plain):
            return to_json(getattr(value, plain)())
    raise LoftError("bad_value", f"A {type(value).__name__} can't be sent: found {value!r}, expected a plain value.")


def _time_to_json(value: datetime) -> str | None:
    if value != value:  # pandas' NaT is a datetime
        return None
    if value.tzinfo is None:
        raise LoftError(
            "bad_value", f"Found the time {value.isoformat()} without zone, expected one such as tzinfo=UTC."
        )
    if getattr(value, "nanosecond", 0):
        raise LoftError("bad_value", f"Found {value}, expected at most microseconds: round it to them.")
    return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
