-- A login, and in the quarter of an hour before it five wrong passwords for the same user from the same address.
WITH guesses AS (
    SELECT * FROM lockgate_events
    WHERE activity_type = 'AUTH_FAILURE' AND method IN ('password', 'keyboard-interactive')
      -- The password was right, or was not examined.
      AND coalesce(reason, '') NOT IN (
          'directory-unavailable', 'directory-answer-unusable', 'trail-unavailable', 'too-many-sessions',
          'too-many-password-checks', 'second-factor-missing'
      )
)
SELECT
    login.user_name AS who, login.source_ip, login.session_id, min(guesses.time) AS first_time, login.time AS last_time,
    count(*) AS failures
FROM lockgate_events AS login
JOIN guesses ON guesses.user_name = login.user_name AND guesses.source_ip = login.source_ip
    AND guesses.time BETWEEN login.time - INTERVAL '15' MINUTE AND login.time
WHERE login.activity_type = 'CONNECTED'
GROUP BY login.user_name, login.source_ip, login.session_id, login.time
HAVING count(*) >= 5
ORDER BY last_time;
