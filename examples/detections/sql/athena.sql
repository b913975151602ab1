-- The tables of the queries in this folder, for Athena (engine version 3). Put in your bucket and the sink's folder, and the first
-- year that there are events of; run the four statements one by one.

-- What Lockgate's store sink writes: one object for each batch. Partitions are computed, so none has to be added.
CREATE EXTERNAL TABLE lockgate_json (
    `timestamp` string,
    `activity_type` string,
    `server` string,
    `session_id` string,
    `user_name` string,
    `identity` string,
    `source_ip` string,
    `client` string,
    `protocol` string,
    `method` string,
    `reason` string,
    `message` string,
    `status` string,
    `operation` string,
    `path` string,
    `logical_path` string,
    `new_path` string,
    `bytes_in` string,
    `bytes_out` string,
    `key_fingerprint` string,
    `keys_added` string,
    `clean` boolean,
    `state` string,
    `sequence` bigint,
    `previous` string
)
PARTITIONED BY (`year` string, `month` string, `day` string, `hour` string)
ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'
WITH SERDEPROPERTIES (
    'mapping.activity_type' = 'activity-type',
    'mapping.session_id' = 'session-id',
    'mapping.user_name' = 'user',
    'mapping.source_ip' = 'source-ip',
    'mapping.logical_path' = 'logical-path',
    'mapping.new_path' = 'new-path',
    'mapping.bytes_in' = 'bytes-in',
    'mapping.bytes_out' = 'bytes-out',
    'mapping.key_fingerprint' = 'ssh-public-key-fingerprint',
    'mapping.keys_added' = 'ssh-public-key-fingerprint-added'
)
LOCATION 's3://bucket/audit/'
TBLPROPERTIES (
    'projection.enabled' = 'true',
    'projection.year.type' = 'integer',
    'projection.year.range' = '2026,2036',
    'projection.month.type' = 'integer',
    'projection.month.range' = '1,12',
    'projection.month.digits' = '2',
    'projection.day.type' = 'integer',
    'projection.day.range' = '1,31',
    'projection.day.digits' = '2',
    'projection.hour.type' = 'integer',
    'projection.hour.range' = '0,23',
    'projection.hour.digits' = '2'
);

-- The lines as they are, for broken_chain.sql.
CREATE EXTERNAL TABLE lockgate_text (
    `line` string
)
PARTITIONED BY (`year` string, `month` string, `day` string, `hour` string)
ROW FORMAT SERDE 'org.apache.hadoop.hive.serde2.RegexSerDe'
WITH SERDEPROPERTIES (
    'input.regex' = '(.*)'
)
LOCATION 's3://bucket/audit/'
TBLPROPERTIES (
    'projection.enabled' = 'true',
    'projection.year.type' = 'integer',
    'projection.year.range' = '2026,2036',
    'projection.month.type' = 'integer',
    'projection.month.range' = '1,12',
    'projection.month.digits' = '2',
    'projection.day.type' = 'integer',
    'projection.day.range' = '1,31',
    'projection.day.digits' = '2',
    'projection.hour.type' = 'integer',
    'projection.hour.range' = '0,23',
    'projection.hour.digits' = '2'
);

-- The last thirty days.
CREATE OR REPLACE VIEW lockgate_events AS
SELECT
    CAST(from_iso8601_timestamp("timestamp") AT TIME ZONE 'UTC' AS timestamp) AS time,
    activity_type,
    server,
    session_id,
    user_name,
    identity,
    source_ip,
    client,
    protocol,
    method,
    reason,
    message,
    status,
    operation,
    path,
    logical_path,
    new_path,
    CAST(bytes_in AS bigint) AS bytes_in,
    CAST(bytes_out AS bigint) AS bytes_out,
    key_fingerprint,
    keys_added,
    clean,
    state,
    sequence,
    previous
FROM lockgate_json
WHERE concat("year", '-', "month", '-', "day") >= date_format(date_add('day', -30, current_timestamp), '%Y-%m-%d');

-- One row for each line: its SHA-256, and that of the line before it as the line itself says.
CREATE OR REPLACE VIEW lockgate_lines AS
SELECT
    lower(to_hex(sha256(to_utf8(line)))) AS hash,
    json_extract_scalar(line, '$["previous"]') AS previous,
    CAST(json_extract_scalar(line, '$["sequence"]') AS bigint) AS sequence,
    CAST(from_iso8601_timestamp(json_extract_scalar(line, '$["timestamp"]')) AT TIME ZONE 'UTC' AS timestamp) AS time,
    json_extract_scalar(line, '$["server"]') AS server,
    json_extract_scalar(line, '$["activity-type"]') AS activity_type,
    json_extract_scalar(line, '$["reason"]') AS reason,
    CAST(json_extract_scalar(line, '$["clean"]') AS boolean) AS clean
FROM lockgate_text
WHERE concat("year", '-', "month", '-', "day") >= date_format(date_add('day', -30, current_timestamp), '%Y-%m-%d');
