"""Runs the saved queries over recorded events: FOLDER EVENTS START [transfer-family].

Each query runs in DuckDB as it stands, and a second time as what sqlglot makes of it when it reads it as Athena's SQL; both have
to find the same. Prints {name of a query: whom it names} as JSON.
"""

import json
import os
import sys
import tempfile

import duckdb
import sqlglot

import recording

TABLES = ["duckdb", "athena"]


def main():
    folder, file, start, *less = sys.argv[1:]
    tables = parts(folder, "duckdb", "duckdb")
    parts(folder, "athena", "athena")
    fired = {}
    for name in sorted(file.removesuffix(".sql") for file in os.listdir(folder)):
        if name in TABLES:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            # A line that was moved in time is another line: what follows it would not fit.
            copy = file if name == "broken_chain" else moved(file, start, less, scratch)
            database = duckdb.connect()
            database.execute("SET VARIABLE events = $file", {"file": copy})
            for statement in tables:
                database.execute(statement)
            with open(os.path.join(folder, f"{name}.sql")) as text:
                query = text.read()
            rows = database.sql(query).fetchall()
            for translated in sqlglot.transpile(query, read="athena", write="duckdb"):
                assert database.sql(translated).fetchall() == rows, f"{name} means something else to Athena: {translated}"
            if rows:
                fired[name] = sorted({row[0] or "" for row in rows})
    print(json.dumps(fired))


def parts(folder, name, dialect):
    """The statements of a file, each of which has to be of that dialect."""
    with open(os.path.join(folder, f"{name}.sql")) as text:
        text = text.read()
    statements = [statement for statement in sqlglot.parse(text, read=dialect) if statement]
    unread = [statement for statement in statements if isinstance(statement, sqlglot.exp.Command)]
    assert statements and not unread, f"not {dialect}: {unread}"
    # As it stands, not as sqlglot would write it.
    return [statement for statement in text.split(";\n") if statement.strip()]


def moved(file, start, less, scratch):
    events = recording.events(file, start)
    copy = os.path.join(scratch, "events.ndjson")
    with open(copy, "w") as out:
        for event in recording.of_transfer_family(events) if less else events:
            out.write(json.dumps(event) + "\n")
    return copy


main()
