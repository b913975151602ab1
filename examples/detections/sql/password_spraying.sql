-- Failed logins for five names from one address within an hour of the clock.
SELECT
    source_ip AS who, min(time) AS first_time, max(time) AS last_time,
    count(DISTINCT user_name) AS names, count(*) AS failures
FROM lockgate_events
WHERE activity_type = 'AUTH_FAILURE'
  AND coalesce(reason, '') NOT IN (
      'directory-unavailable', 'directory-answer-unusable', 'trail-unavailable', 'too-many-password-checks'
  )
GROUP BY source_ip, date_trunc('hour', time)
HAVING count(DISTINCT user_name) >= 5
ORDER BY first_time;
