-- One user downloaded a gibibyte within an hour.
-- Events of Transfer Family name no user here; they count by session.
WITH counted AS (
    SELECT coalesce(user_name, session_id) AS who, session_id, time, sum(bytes_out) OVER (
        PARTITION BY coalesce(user_name, session_id) ORDER BY time
        RANGE BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW
    ) AS bytes_sent
    FROM lockgate_events
    WHERE activity_type IN ('CLOSE', 'PARTIAL_CLOSE') AND bytes_out IS NOT NULL
)
SELECT who, min(time) AS first_time, max(time) AS last_time, max(bytes_sent) AS bytes_sent
FROM counted
WHERE bytes_sent >= 1073741824
GROUP BY who
ORDER BY first_time;
