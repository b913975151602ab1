//! What is done in Redis in one step, as scripts. Each begins with [`HEAD`], and answers with how much it found that no gateway wrote.
//!
//! Time is Redis' own, so that the clocks of the gateways need not agree. What others could have made long is not read but measured first.

/// A key of another kind than ours was written by somebody else: it is removed, and counted in `tampered`.
const HEAD: &str = "
local tampered = 0
local function own(key, kind)
  local is = redis.call('TYPE', key).ok
  if is ~= kind and is ~= 'none' then
    redis.call('DEL', key)
    tampered = tampered + 1
  end
end
local function tell(news, most, value)
  own(news, 'stream')
  local told = redis.pcall('XADD', news, 'MAXLEN', '~', most, '*', 'n', value)
  if type(told) == 'table' and told.err then
    redis.call('DEL', news)
    tampered = tampered + 1
    redis.call('XADD', news, '*', 'n', value)
  end
  redis.call('PEXPIRE', news, 3600000)
end
local function since(stream, after, count, longest, most)
  own(stream, 'stream')
  local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  if not newest then return '0-0', {} end
  if after == '$' or after == newest[1] then return newest[1], {} end
  local function began(id) return tonumber(string.match(id, '^%d+')) end
  if began(newest[1]) < began(after) then after = '0-0' end
  local found = redis.call('XREAD', 'COUNT', count, 'STREAMS', stream, after)
  if not found then return newest[1], {} end
  local all, last, bytes = {}, after, 0
  for _, entry in ipairs(found[1][2]) do
    local name, value = entry[2][1], entry[2][2]
    if name == 'n' and value and #value <= longest then
      bytes = bytes + #value
      if bytes > most then break end
      all[#all + 1] = value
    else
      tampered = tampered + 1
    end
    last = entry[1]
  end
  return last, all
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
";

/// A script.
#[derive(Debug, Clone, Copy)]
pub(super) struct Script {
    body: &'static str,
    keys: usize,
}

impl Script {
    const fn new(keys: usize, body: &'static str) -> Script {
        Script { body, keys }
    }

    /// The call of it.
    pub(super) fn on(self, keys: &[&str]) -> redis::Cmd {
        debug_assert_eq!(keys.len(), self.keys);
        let mut command = redis::cmd("EVAL");
        command.arg(format!("{HEAD}{}", self.body)).arg(self.keys).arg(keys);
        command
    }
}

/// A gateway says that it is there. Keys: gateways, its own text, its sessions. Arguments: its id, the lease, what it says, and what it said
/// before. Answers: now, whether it was known, how many sessions it has, `tampered`.
pub(super) const BEAT: Script = Script::new(
    3,
    "
own(KEYS[1], 'zset')
own(KEYS[2], 'string')
own(KEYS[3], 'hash')
local id, lease = ARGV[1], tonumber(ARGV[2])
local known = redis.call('ZSCORE', KEYS[1], id)
if known and tonumber(known) <= now then known = false end
local length = redis.call('STRLEN', KEYS[2])
if known and length > 0 and ARGV[4] ~= '' then
  if length ~= #ARGV[4] or redis.call('GET', KEYS[2]) ~= ARGV[4] then tampered = tampered + 1 end
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - lease)
redis.call('ZREMRANGEBYSCORE', KEYS[1], now + 10 * lease, '+inf')
redis.call('ZADD', KEYS[1], now + lease, id)
redis.call('PEXPIRE', KEYS[1], 10 * lease)
redis.call('SET', KEYS[2], ARGV[3], 'PX', lease)
redis.call('PEXPIRE', KEYS[3], lease)
return {now, known and 1 or 0, redis.call('HLEN', KEYS[3]), tampered}
",
);

/// A gateway leaves. Keys as for [`BEAT`]. Arguments: its id.
pub(super) const LEAVE: Script = Script::new(
    3,
    "
own(KEYS[1], 'zset')
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2], KEYS[3])
return {now, tampered}
",
);

/// Which gateways are there. Keys: gateways. Arguments: what all keys begin with, how many at most, how long a text may be. Answers: now,
/// and for each gateway its id, the end of its lease, what it says, how many sessions it has.
pub(super) const GATEWAYS: Script = Script::new(
    1,
    "
own(KEYS[1], 'zset')
local found = redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local all = {}
for i = 1, #found, 2 do
  local id = found[i]
  if #id <= 300 then
    local text, sessions = ARGV[1] .. 'gateway:' .. id, ARGV[1] .. 'sessions:' .. id
    local says, has = '', 0
    if redis.call('TYPE', text).ok == 'string' and redis.call('STRLEN', text) <= tonumber(ARGV[3]) then
      says = redis.call('GET', text)
    end
    if redis.call('TYPE', sessions).ok == 'hash' then has = redis.call('HLEN', sessions) end
    all[#all + 1] = {id, found[i + 1], says, has}
  end
end
return {now, all, tampered}
",
);

/// A page of the sessions of a gateway. Keys: its sessions. Arguments: the cursor, how many, how long one may be. Answers: the next
/// cursor, the sessions, how many were left out.
pub(super) const SESSIONS: Script = Script::new(
    1,
    "
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then return {'0', {}, 0} end
local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local all, left, bytes = {}, 0, 0
for i = 1, #page[2], 2 do
  local value = page[2][i + 1]
  bytes = bytes + #value
  if #value <= tonumber(ARGV[3]) and bytes <= 3000000 then
    all[#all + 1] = value
  else
    left = left + 1
  end
end
return {page[1], all, left}
",
);

/// Writes sessions of a gateway. Keys: its sessions. Arguments: the lease, `all` to begin anew or `some`, then ids and what they do; an id
/// without anything is removed.
pub(super) const WRITE_SESSIONS: Script = Script::new(
    1,
    "
own(KEYS[1], 'hash')
if ARGV[2] == 'all' then redis.call('DEL', KEYS[1]) end
for i = 3, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[1], ARGV[i])
  else
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return {now, tampered}
",
);

/// Takes a place. Keys: the places of the user. Arguments: the limit, the lease, the session, and sessions that have ended. Answers:
/// whether there was one, `tampered`.
pub(super) const CLAIM: Script = Script::new(
    1,
    "
own(KEYS[1], 'zset')
local limit, lease = tonumber(ARGV[1]), tonumber(ARGV[2])
for i = 4, #ARGV do redis.call('ZREM', KEYS[1], ARGV[i]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
tampered = tampered + redis.call('ZREMRANGEBYSCORE', KEYS[1], now + 10 * lease, '+inf')
if not redis.call('ZSCORE', KEYS[1], ARGV[3]) and redis.call('ZCARD', KEYS[1]) >= limit then return {0, tampered} end
redis.call('ZADD', KEYS[1], now + lease, ARGV[3])
redis.call('PEXPIRE', KEYS[1], 2 * lease)
return {1, tampered}
",
);

/// Keeps places, and gives others back. Keys: the places of the user. Arguments: the lease, how many are kept, those, and those that have
/// ended.
pub(super) const KEEP_PLACES: Script = Script::new(
    1,
    "
own(KEYS[1], 'zset')
local lease, kept = tonumber(ARGV[1]), tonumber(ARGV[2])
for i = 3, #ARGV do
  if i - 2 <= kept then
    redis.call('ZADD', KEYS[1], now + lease, ARGV[i])
  else
    redis.call('ZREM', KEYS[1], ARGV[i])
  end
end
redis.call('PEXPIRE', KEYS[1], 2 * lease)
return {now, tampered}
",
);

/// What is new, and whether somebody follows the events of all gateways. Keys: news, followed. Arguments: after which id (`$`: nothing,
/// only the newest id), how many, how long one may be, and all together. Answers: now, the last id, the news, whether somebody follows,
/// `tampered`.
pub(super) const READ_NEWS: Script = Script::new(
    2,
    "
local last, all = since(KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]))
own(KEYS[2], 'string')
local left = redis.call('PTTL', KEYS[2])
if left == -1 or left > 60000 then
  redis.call('DEL', KEYS[2])
  tampered = tampered + 1
end
return {now, last, all, left > 0 and left <= 60000 and 1 or 0, tampered}
",
);

/// Says that somebody follows the events of all gateways, and reads them. Keys: followed, events. Arguments: how long that is valid, then as
/// for [`READ_NEWS`]. Answers: the last id, the events, `tampered`.
pub(super) const FOLLOW: Script = Script::new(
    2,
    "
own(KEYS[1], 'string')
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
local last, all = since(KEYS[2], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]))
return {last, all, tampered}
",
);

/// Tells events. Keys: events. Arguments: how many are kept and for how long, the events.
pub(super) const TELL_EVENTS: Script = Script::new(
    1,
    "
for i = 3, #ARGV do tell(KEYS[1], ARGV[1], ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {now, tampered}
",
);

/// Tells news. Keys: news. Arguments: how many are kept, the news.
pub(super) const TELL: Script = Script::new(
    1,
    "
tell(KEYS[1], ARGV[1], ARGV[2])
return {now, tampered}
",
);

/// Adds points to a source. Keys: its points. Arguments: how many, and within which time they count together. Answers: all of them,
/// `tampered`.
pub(super) const COUNT: Script = Script::new(
    1,
    "
own(KEYS[1], 'string')
local points = redis.pcall('INCRBY', KEYS[1], ARGV[1])
if type(points) == 'table' then
  redis.call('DEL', KEYS[1])
  tampered = tampered + 1
  points = redis.call('INCRBY', KEYS[1], ARGV[1])
end
local left = redis.call('PTTL', KEYS[1])
if left < 0 or left > tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return {points, tampered}
",
);

/// Bans a source. Keys: bans, its points, news. Arguments: the source, for how long, the ban's number, who bans, how many news are kept, how
/// many bans.
pub(super) const BAN: Script = Script::new(
    3,
    "
own(KEYS[1], 'hash')
local till = now + tonumber(ARGV[2])
local text = string.format('%.0f %s %s', till, ARGV[3], ARGV[4])
if redis.call('HLEN', KEYS[1]) < tonumber(ARGV[6]) then redis.call('HSET', KEYS[1], ARGV[1], text) end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2] + 60000) end
redis.call('DEL', KEYS[2])
tell(KEYS[3], ARGV[5], 'ban ' .. ARGV[1] .. ' ' .. text)
return {now, tampered}
",
);

/// Lifts a ban. Keys: bans, its points, news. Arguments: the source, who lifts, how many news are kept.
pub(super) const LIFT: Script = Script::new(
    3,
    "
own(KEYS[1], 'hash')
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2])
tell(KEYS[3], ARGV[3], 'lift ' .. ARGV[1] .. ' ' .. ARGV[2])
return {now, tampered}
",
);

/// A page of the bans, without those that are over. Keys: bans. Arguments: the cursor, how many. Answers: now, the next cursor, the sources
/// and what is known of them, `tampered`.
pub(super) const BANS: Script = Script::new(
    1,
    "
own(KEYS[1], 'hash')
local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local all = {}
for i = 1, #page[2], 2 do
  local source, text = page[2][i], page[2][i + 1]
  local till = #source <= 64 and #text <= 400 and tonumber(string.match(text, '^(%d+) '))
  if not till then
    redis.call('HDEL', KEYS[1], source)
    tampered = tampered + 1
  elseif till <= now then
    redis.call('HDEL', KEYS[1], source)
  else
    all[#all + 1] = source .. ' ' .. text
  end
end
return {now, page[1], all, tampered}
",
);

/// Notes what was told of users, and asks who tells of others. Keys: who tells, what was told. Arguments: the gateway's id, how long it tells
/// then, how long what was told is kept, how many users were told of, these and what is noted of each, and the users that are asked for.
/// Answers: whether this gateway tells (0: another one; 1: from now on; 2: as before), what was noted of each user, `tampered`.
pub(super) const USERS: Script = Script::new(
    2,
    "
own(KEYS[1], 'string')
own(KEYS[2], 'hash')
local lease, told = tonumber(ARGV[2]), tonumber(ARGV[4])
for i = 5, 3 + 2 * told, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
local left = redis.call('PTTL', KEYS[1])
if left == -1 or left > 10 * lease or redis.call('STRLEN', KEYS[1]) > 300 then
  redis.call('DEL', KEYS[1])
  tampered = tampered + 1
end
local teller, tells = redis.call('GET', KEYS[1]), 0
if not teller then tells = 1 elseif teller == ARGV[1] then tells = 2 end
if tells > 0 then redis.call('SET', KEYS[1], ARGV[1], 'PX', lease) end
local all = {}
for i = 5 + 2 * told, #ARGV do
  local value = ''
  if redis.call('HSTRLEN', KEYS[2], ARGV[i]) <= 300 then value = redis.call('HGET', KEYS[2], ARGV[i]) or '' end
  all[#all + 1] = value
end
return {tells, all, tampered}
",
);

/// A gateway tells no more of a source's users. Keys: who tells. Arguments: its id.
pub(super) const TELL_NO_MORE: Script = Script::new(
    1,
    "
own(KEYS[1], 'string')
if redis.call('STRLEN', KEYS[1]) <= 300 and redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return {now, tampered}
",
);
