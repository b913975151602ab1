-- Logins between 20:00 and 05:00 UTC, but for users who work at night.
SELECT user_name AS who, source_ip, min(time) AS first_time, max(time) AS last_time, count(*) AS logins
FROM lockgate_events
WHERE activity_type = 'CONNECTED' AND (hour(time) >= 20 OR hour(time) < 5) AND user_name NOT IN ('nightly')
GROUP BY user_name, source_ip
ORDER BY first_time;
