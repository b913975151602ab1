-- Lines whose predecessor is not there as it was (it was changed or removed, or the chain was begun anew), and lines that follow the
-- same line as another one (one of them was added). `restart` is true where the gateway says itself that the process before was killed:
-- `lockgate audit verify` knows whether that explains a gap, and whether signatures are right. What is missing or was added at the end
-- shows nowhere. Of a part of a trail, the first line is a finding. A line that a sink delivered twice is none.
WITH lines AS (
    SELECT DISTINCT hash, previous, sequence, time, server, activity_type, reason, clean FROM lockgate_lines
),
followers AS (
    SELECT previous, count(*) AS lines FROM lines GROUP BY previous
),
firsts AS (
    SELECT server, min(time) AS time FROM lines GROUP BY server
)
SELECT
    line.server AS who, line.sequence, line.time, line.activity_type,
    CASE WHEN earlier.hash IS NULL THEN 'predecessor' ELSE 'fork' END AS finding,
    coalesce(line.reason = 'start' AND NOT line.clean, false) AS restart
FROM lines AS line
LEFT JOIN lines AS earlier ON earlier.hash = line.previous
JOIN followers ON followers.previous = line.previous
JOIN firsts ON firsts.server = line.server
-- The first line of a server's first chain follows no other.
WHERE (earlier.hash IS NULL AND NOT (line.sequence = 1 AND line.time = firsts.time))
   OR (earlier.hash IS NOT NULL AND followers.lines > 1)
ORDER BY line.time, line.sequence;
