"""Values between JSON, Python and Arrow: nothing is lost or rounded on the way."""

from __future__ import annotations

import json
import math
import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from featureloft.connection import encode_json
from featureloft.errors import LoftError
from featureloft.value_types import parse_type, to_json, type_of_arrow

# type, JSON text as the gateway writes it, Python value
VALUES: list[tuple[str, str, Any]] = [
    ("bool", "true", True),
    ("int32", "-2147483648", -(2**31)),
    ("int64", "9007199254740993", 2**53 + 1),
    ("int64", "-9223372036854775808", -(2**63)),
    ("float64", "1", 1.0),
    ("float64", "0.1", 0.1),
    ("float64", '"Infinity"', math.inf),
    ("float64", '"-Infinity"', -math.inf),
    ("float32", "16777216", 16777216.0),
    ("float32", "0.1", 0.10000000149011612),
    ("string", '"NaN"', "NaN"),
    ("string", '"שלום 🛫 \\u0001"', "שלום 🛫 \x01"),
    ("bytes", '"AAEC/w=="', b"\x00\x01\x02\xff"),
    ("timestamp", '"0001-01-01T00:00:00Z"', datetime(1, 1, 1, tzinfo=UTC)),
    ("timestamp", '"9999-12-31T23:59:59.999999Z"', datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
    ("timestamp", '"2013-11-03T05:30:00.000001Z"', datetime(2013, 11, 3, 5, 30, 0, 1, tzinfo=UTC)),
    ("date", '"0001-01-01"', date(1, 1, 1)),
    ("decimal(38,10)", '"1234567890123456789012345678.0000000001"', Decimal("1234567890123456789012345678.0000000001")),
    ("uuid", '"00000000-0000-0000-0000-00000000002a"', uuid.UUID(int=42)),
    ("json", '{"a":[1,null,{"b":-0.0}]}', {"a": [1, None, {"b": -0.0}]}),
    ("list<int64>", "[]", []),
    ("list<int64>", "[9007199254740993,null]", [2**53 + 1, None]),
    ("list<string>", '["", null]', ["", None]),
    ("list<timestamp>", '["2013-01-01T00:00:00Z"]', [datetime(2013, 1, 1, tzinfo=UTC)]),
    ("embedding<3>", "[0.5,1,-2]", [0.5, 1.0, -2.0]),
]


@pytest.mark.parametrize(("type_text", "text", "value"), VALUES)
def test_json_becomes_the_python_value_and_goes_back(type_text: str, text: str, value: Any) -> None:
    found = parse_type(type_text).from_json(json.loads(text))
    assert found == value
    assert type(found) is type(value)
    assert parse_type(type_text).from_json(json.loads(encode_json(to_json(found)))) == value


@pytest.mark.parametrize(("type_text", "text", "value"), VALUES)
def test_the_python_value_goes_through_arrow(type_text: str, text: str, value: Any) -> None:
    value_type = parse_type(type_text)
    array = pa.array([value_type.to_arrow_value(value), None], value_type.arrow())
    back = array.to_pylist()
    assert back[1] is None
    if type_text == "json":
        assert json.loads(back[0]) == value
    elif type_text == "uuid":
        assert back[0] == str(value)
    else:
        assert back[0] == value


def test_nan_and_minus_zero_survive() -> None:
    assert math.isnan(parse_type("float64").from_json("NaN"))
    assert math.copysign(1, parse_type("float32").from_json(json.loads("-0.0"))) == -1
    assert encode_json(to_json([math.nan, -0.0, math.inf])) == b'["NaN",-0.0,"Infinity"]'


@pytest.mark.parametrize(
    ("type_text", "value"),
    [
        ("int64", "7"),
        ("int64", True),
        ("int32", 1.5),
        ("bool", 1),
        ("float64", "x"),
        ("timestamp", 7),
        ("list<int32>", "[]"),
    ],
)
def test_a_value_of_another_type_is_an_error(type_text: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        parse_type(type_text).from_json(value)


def test_an_unknown_type_is_named() -> None:
    with pytest.raises(LoftError, match="Unknown type 'int'") as caught:
        parse_type("int")
    assert caught.value.code == "bad_type"


def test_numpy_and_pandas_values_are_sent_as_plain_ones() -> None:
    nairobi = timezone(timedelta(hours=3))
    sent = to_json(
        {
            "int": np.int64(2**53 + 1),
            "float": np.float32(0.5),
            "bool": np.bool_(True),
            "array": np.array([1, 2]),
            "series": pd.Series(["a", "b"]),
            "na": pd.NA,
            "nat": pd.NaT,
            "stamp": pd.Timestamp("2013-01-01T03:00:00.000001", tz=nairobi),
            "time": datetime(2013, 1, 1, 3, tzinfo=nairobi),
            "arrow": pa.scalar(7),
        }
    )
    assert sent == {
        "int": 2**53 + 1,
        "float": 0.5,
        "bool": True,
        "array": [1, 2],
        "series": ["a", "b"],
        "na": None,
        "nat": None,
        "stamp": "2013-01-01T00:00:00.000001Z",
        "time": "2013-01-01T00:00:00Z",
        "arrow": 7,
    }


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (datetime(2013, 1, 1), "without zone"),
        (pd.Timestamp("2013-01-01T00:00:00.000000001Z"), "at most microseconds"),
        (object(), "can't be sent"),
    ],
)
def test_what_can_not_be_sent_is_refused_with_words(value: Any, words: str) -> None:
    with pytest.raises(LoftError, match=words):
        to_json(value)


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(LoftError, match="surrogate"):
        encode_json({"name": "\ud800"})


@pytest.mark.parametrize(
    ("arrow_type", "expected"),
    [
        (pa.bool_(), "bool"),
        (pa.int8(), "int32"),
        (pa.uint16(), "int32"),
        (pa.int32(), "int32"),
        (pa.uint32(), "int64"),
        (pa.int64(), "int64"),
        (pa.float16(), "float32"),
        (pa.float64(), "float64"),
        (pa.large_string(), "string"),
        (pa.dictionary(pa.int32(), pa.string()), "string"),
        (pa.binary(4), "bytes"),
        (pa.timestamp("ns", "Europe/Paris"), "timestamp"),
        (pa.date64(), "date"),
        (pa.decimal128(10, 2), "decimal(10,2)"),
        (pa.uuid(), "uuid"),
        (pa.list_(pa.int64()), "list<int64>"),
        (pa.list_(pa.list_(pa.int64())), "json"),
        (pa.list_(pa.float32(), 3), "embedding<3>"),
        (pa.struct([("a", pa.int64())]), "json"),
    ],
)
def test_a_frame_column_is_given_the_type_that_holds_it(arrow_type: pa.DataType, expected: str) -> None:
    assert type_of_arrow(arrow_type, "x") == expected


@pytest.mark.parametrize(
    ("arrow_type", "words"),
    [
        (pa.timestamp("us"), "a time without zone"),
        (pa.null(), "nulls only"),
        (pa.duration("s"), r"duration\[s\]"),
        (pa.time64("us"), "time64"),
        (pa.decimal256(50, 2), "decimal256"),
    ],
)
def test_a_frame_column_without_a_type_is_named(arrow_type: pa.DataType, words: str) -> None:
    with pytest.raises(LoftError, match=f"Column t: found {words}"):
        type_of_arrow(arrow_type, "t")
