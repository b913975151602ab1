-- Wrong passwords: ten within ten minutes from one address, or twenty within an hour for one user.
WITH guesses AS (
    SELECT * FROM lockgate_events
    WHERE activity_type = 'AUTH_FAILURE' AND method IN ('password', 'keyboard-interactive')
      -- The password was right, or was not examined.
      AND coalesce(reason, '') NOT IN (
          'directory-unavailable', 'directory-answer-unusable', 'trail-unavailable', 'too-many-sessions',
          'too-many-password-checks', 'second-factor-missing'
      )
),
counted AS (
    SELECT 'address' AS kind, source_ip AS who, time, 10 AS limit_of_kind, count(*) OVER (
        PARTITION BY source_ip ORDER BY time RANGE BETWEEN INTERVAL '10' MINUTE PRECEDING AND CURRENT ROW
    ) AS failures
    FROM guesses
    UNION ALL
    SELECT 'user' AS kind, user_name AS who, time, 20 AS limit_of_kind, count(*) OVER (
        PARTITION BY user_name ORDER BY time RANGE BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW
    ) AS failures
    FROM guesses
)
SELECT who, kind, min(time) AS first_time, max(time) AS last_time, max(failures) AS failures
FROM counted
WHERE failures >= limit_of_kind
GROUP BY who, kind
ORDER BY first_time;
