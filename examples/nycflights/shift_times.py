"""Moves the sample's times by a whole number of hours, the same for every file, and writes the moved files to a folder.

    python shift_times.py --hours N --out DIR [--sample DIR]

Online, a value lives only for its view's ttl after its event time, so the sample of 2013 would be read as expired. The
loader picks the hours that bring `newest` of sample.json to the current hour. Times keep their microseconds, all other
cells keep their text (CSV) or their exact value and type (Parquet), and the same hours give the same bytes. One JSON
line on stdout says what was written. Needs pyarrow.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

UTC_TEXT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,6})?Z")
SECONDS = "%Y-%m-%dT%H:%M:%S"


class BadSample(Exception):
    """The sample's files are not as sample.json says; the message names the file and the place."""


def shift_text(cell: str, hours: int) -> str:
    """A UTC time as text, moved; a fraction of a second stays as it is written, an empty cell stays empty."""
    if cell == "":
        return cell
    match = UTC_TEXT.fullmatch(cell)
    if match is None:
        raise BadSample(f"found {cell!r}, expected a UTC time such as 2013-12-30T23:00:00Z")
    try:
        moved = datetime.strptime(match[1], SECONDS) + timedelta(hours=hours)
    except (ValueError, OverflowError) as error:
        raise BadSample(f"{cell!r} moved by {hours} hours is no time between the years 1 and 9999: {error}") from None
    return f"{moved.isoformat(timespec='seconds')}{match[2] or ''}Z"


def shift_csv(source: Path, target: Path, times: list[str], hours: int) -> int:
    with source.open(encoding="utf-8", newline="") as read, target.open("w", encoding="utf-8", newline="") as write:
        reader, writer = csv.reader(read), csv.writer(write, lineterminator="\n")
        header = next(reader, [])
        positions = [column_index(header, name, source) for name in times]
        writer.writerow(header)
        rows = 0
        for row in reader:
            for position in positions:
                try:
                    row[position] = shift_text(row[position], hours)
                except (BadSample, IndexError) as error:
                    raise BadSample(f"{source.name}, line {reader.line_num}, {header[position]}: {error}") from None
            writer.writerow(row)
            rows += 1
        return rows


def shift_parquet(source: Path, target: Path, times: list[str], hours: int) -> int:
    table = pq.read_table(source)
    for name in times:
        position = column_index(table.column_names, name, source)
        field = table.schema.field(position)
        if not pa.types.is_timestamp(field.type) or field.type.tz is None:
            raise BadSample(f"{source.name}, {name}: found {field.type}, expected a timestamp with a time zone")
        moved = pc.add(table.column(position), pa.scalar(timedelta(hours=hours), pa.duration(field.type.unit)))
        table = table.set_column(position, field, moved.cast(field.type))
    pq.write_table(table, target, compression="zstd", store_schema=False)
    return int(table.num_rows)


def column_index(names: list[str], name: str, source: Path) -> int:
    if name not in names:
        raise BadSample(f"{source.name}: no column {name}; it has {', '.join(names)}")
    return names.index(name)


def shift_sample(sample: Path, out: Path, hours: int) -> list[dict[str, str | int]]:
    """Writes every file of sample.json to `out`, each whole or not at all. Returns file, rows and bytes of each."""
    described = json.loads((sample / "sample.json").read_text(encoding="utf-8"))
    out.mkdir(parents=True, exist_ok=True)
    written: list[dict[str, str | int]] = []
    for entry in described["files"]:
        source, target = sample / entry["file"], out / entry["file"]
        if target.resolve() == source.resolve():
            raise BadSample(f"--out {out} is the sample's own folder; name another one")
        part = target.with_name(f"{target.name}.part")
        shift = shift_parquet if source.suffix == ".parquet" else shift_csv
        try:
            rows = shift(source, part, entry["times"], hours)
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
        written.append({"file": entry["file"], "rows": rows, "bytes": target.stat().st_size})
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description="Moves the sample's times by a whole number of hours.")
    parser.add_argument("--hours", type=int, required=True, help="hours to add to every time; may be negative")
    parser.add_argument("--out", type=Path, required=True, help="folder that receives the moved files")
    parser.add_argument("--sample", type=Path, default=Path(__file__).parent, help="folder of sample.json (this one)")
    arguments = parser.parse_args()
    try:
        files = shift_sample(arguments.sample, arguments.out, arguments.hours)
    except (BadSample, OSError, pa.ArrowException) as error:
        sys.exit(f"The sample's times were not moved. {error}")
    print(json.dumps({"hours": arguments.hours, "files": files}))


if __name__ == "__main__":
    main()
