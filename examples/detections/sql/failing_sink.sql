-- Logins that were refused because they could not be recorded.
SELECT user_name AS who, server, min(time) AS first_time, max(time) AS last_time, count(*) AS refused
FROM lockgate_events
WHERE (activity_type = 'AUTH_FAILURE' AND reason = 'trail-unavailable')
   OR (activity_type = 'DISCONNECTED' AND reason = 'server' AND message = 'the login could not be recorded')
GROUP BY user_name, server
ORDER BY first_time;
