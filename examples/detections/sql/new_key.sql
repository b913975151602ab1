-- On the last day that there are events of, a user logged in with a key for the first time, having used another key before.
-- Give it as many days of events as a user may be away.
WITH logins AS (
    SELECT user_name, key_fingerprint, time FROM lockgate_events
    WHERE activity_type = 'CONNECTED' AND key_fingerprint IS NOT NULL
),
firsts AS (
    SELECT user_name, key_fingerprint, min(time) AS first_time, max(time) AS last_time, count(*) AS logins
    FROM logins GROUP BY user_name, key_fingerprint
),
known AS (
    SELECT user_name, min(time) AS since FROM logins GROUP BY user_name
)
SELECT firsts.user_name AS who, firsts.key_fingerprint, firsts.first_time, firsts.last_time, firsts.logins, known.since AS user_known_since
FROM firsts JOIN known ON known.user_name = firsts.user_name
WHERE firsts.first_time > known.since
  AND firsts.first_time >= (SELECT max(time) FROM lockgate_events) - INTERVAL '1' DAY
ORDER BY firsts.first_time;
