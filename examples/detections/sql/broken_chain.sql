-- Lines whose predecessor is not there as it was: it was changed or removed, or the chain was begun anew. `restart` is true where
-- the gateway says itself that the process before was killed: `lockgate audit verify` knows whether that explains the gap, and
-- whether signatures are right. Lines that are missing at the end show nowhere. Of a part of a trail, the first line is a finding.
SELECT
    line.server AS who, line.sequence, line.time, line.activity_type,
    coalesce(line.reason = 'start' AND NOT line.clean, false) AS restart
FROM lockgate_lines AS line
LEFT JOIN lockgate_lines AS earlier ON earlier.hash = line.previous
LEFT JOIN (SELECT server, min(time) AS time FROM lockgate_lines GROUP BY server) AS first ON first.server = line.server
WHERE earlier.hash IS NULL
  -- The first line of the first chain follows no other.
  AND NOT (line.sequence = 1 AND line.time = first.time)
ORDER BY line.time;
