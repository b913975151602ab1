-- One user downloaded a hundred files within ten minutes; what the client broke off counts as well.
-- Events of Transfer Family name no user here; they count by session.
WITH counted AS (
    SELECT coalesce(user_name, session_id) AS who, session_id, time, count(*) OVER (
        PARTITION BY coalesce(user_name, session_id) ORDER BY time
        RANGE BETWEEN INTERVAL '10' MINUTE PRECEDING AND CURRENT ROW
    ) AS files
    FROM lockgate_events
    WHERE activity_type IN ('CLOSE', 'PARTIAL_CLOSE') AND bytes_out IS NOT NULL AND coalesce(operation, '') <> 'copy'
)
SELECT who, min(time) AS first_time, max(time) AS last_time, max(files) AS files
FROM counted
WHERE files >= 100
GROUP BY who
ORDER BY first_time;
