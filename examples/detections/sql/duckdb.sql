-- The tables of the queries in this folder, for DuckDB: plain and packed files, of a folder or (with the extension httpfs) of a bucket.
--
--   duckdb -cmd "SET VARIABLE events = '/var/log/lockgate/events.ndjson*'" -cmd '.read duckdb.sql' -f brute_force.sql
--   duckdb -cmd "SET VARIABLE events = 's3://bucket/audit/**/*.ndjson.gz'" -cmd '.read duckdb.sql' -f brute_force.sql

-- One row for each event. What an event does not have is NULL.
CREATE OR REPLACE TEMP VIEW lockgate_events AS
SELECT
    "timestamp" AS time,
    "activity-type" AS activity_type,
    "server",
    "session-id" AS session_id,
    "user" AS user_name,
    "identity",
    "source-ip" AS source_ip,
    "client",
    "protocol",
    "method",
    "reason",
    "message",
    "status",
    "operation",
    "path",
    "logical-path" AS logical_path,
    "new-path" AS new_path,
    CAST("bytes-in" AS BIGINT) AS bytes_in,
    CAST("bytes-out" AS BIGINT) AS bytes_out,
    "ssh-public-key-fingerprint" AS key_fingerprint,
    "ssh-public-key-fingerprint-added" AS keys_added,
    "clean",
    "state",
    "sequence",
    "previous"
FROM read_json(getvariable('events'), format = 'newline_delimited', maximum_object_size = 1048576, columns = {
    'timestamp': 'TIMESTAMP',
    'activity-type': 'VARCHAR',
    'server': 'VARCHAR',
    'session-id': 'VARCHAR',
    'user': 'VARCHAR',
    'identity': 'VARCHAR',
    'source-ip': 'VARCHAR',
    'client': 'VARCHAR',
    'protocol': 'VARCHAR',
    'method': 'VARCHAR',
    'reason': 'VARCHAR',
    'message': 'VARCHAR',
    'status': 'VARCHAR',
    'operation': 'VARCHAR',
    'path': 'VARCHAR',
    'logical-path': 'VARCHAR',
    'new-path': 'VARCHAR',
    'bytes-in': 'VARCHAR',
    'bytes-out': 'VARCHAR',
    'ssh-public-key-fingerprint': 'VARCHAR',
    'ssh-public-key-fingerprint-added': 'VARCHAR',
    'clean': 'BOOLEAN',
    'state': 'VARCHAR',
    'sequence': 'BIGINT',
    'previous': 'VARCHAR'
});

-- One row for each line: its SHA-256, and that of the line before it as the line itself says.
CREATE OR REPLACE TEMP VIEW lockgate_lines AS
SELECT
    sha256(line) AS hash,
    line ->> 'previous' AS previous,
    CAST(line ->> 'sequence' AS BIGINT) AS sequence,
    CAST(line ->> 'timestamp' AS TIMESTAMP) AS time,
    line ->> 'server' AS server,
    line ->> 'activity-type' AS activity_type,
    line ->> 'reason' AS reason,
    CAST(line ->> 'clean' AS BOOLEAN) AS clean
FROM read_csv(
    getvariable('events'),
    columns = {'line': 'VARCHAR'}, header = false, auto_detect = false,
    delim = chr(1), quote = '', escape = '', max_line_size = 1048576
);
