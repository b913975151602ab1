-- On the last day that there are events of, a user logged in with an address for the first time, having used another address before.
-- Give it as many days of events as a user may be away.
WITH logins AS (
    SELECT user_name, source_ip, time FROM lockgate_events
    WHERE activity_type = 'CONNECTED'
),
firsts AS (
    SELECT user_name, source_ip, min(time) AS first_time, max(time) AS last_time, count(*) AS logins
    FROM logins GROUP BY user_name, source_ip
),
known AS (
    SELECT user_name, min(time) AS since FROM logins GROUP BY user_name
)
SELECT firsts.user_name AS who, firsts.source_ip, firsts.first_time, firsts.last_time, firsts.logins, known.since AS user_known_since
FROM firsts JOIN known ON known.user_name = firsts.user_name
WHERE firsts.first_time > known.since
  AND firsts.first_time >= (SELECT max(time) FROM lockgate_events) - INTERVAL '1' DAY
ORDER BY firsts.first_time;
