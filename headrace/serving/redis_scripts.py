"""What the Redis store does in one step on the server: its writes, as Lua scripts.

A script runs alone, and the server logs its changes together. `KEYS[1]` is always the key of the
view's state; the other keys of a view begin with its name, so that all lie in one slot of a cluster.

Beside the state, which is a hash and says how many `rows` it came with: `rows:N` (a hash of the rows of generation N), `newest:N` (their
newest times), `lock` (the token of the writer), `turn` (counts writers), `building` (the generation
that is being written and not visible yet).

All versions of a view have their keys in one slot as well. The one that moves them is the only script
with several `KEYS`.
"""

PIECE_ROWS = 1_000  # Lua takes about 8,000 values in one call

# Every script that writes: its writer still has the turn, or takes it again if nobody came between.
_FENCE = """
local lock, turn = KEYS[1] .. ':lock', KEYS[1] .. ':turn'
local held = redis.call('get', lock)
if held ~= ARGV[1] and (held or redis.call('get', turn) ~= ARGV[2]) then
    return redis.error_reply('FENCED another writer took its turn')
end
redis.call('set', lock, ARGV[1], 'px', ARGV[3])
"""

# token, ms to hold the turn → its number, or 0 if another writer has it
TAKE_TURN = """
local lock, state = KEYS[1] .. ':lock', KEYS[1]
local held = redis.call('get', lock)
if held and held ~= ARGV[1] then
    return 0
end
-- counted first: a user who may not write is refused here, and leaves no lock
local turn = held and redis.call('get', KEYS[1] .. ':turn') or redis.call('incr', KEYS[1] .. ':turn')
redis.call('set', lock, ARGV[1], 'px', ARGV[2])
local left = redis.call('get', KEYS[1] .. ':building')
if left then
    if left ~= redis.call('hget', state, 'generation') then
        redis.call('unlink', KEYS[1] .. ':rows:' .. left, KEYS[1] .. ':newest:' .. left)
    end
    redis.call('del', KEYS[1] .. ':building')
end
return tonumber(turn)
"""

# token → nothing; the turn ends
END_TURN = """
if redis.call('get', KEYS[1] .. ':lock') == ARGV[1] then
    redis.call('del', KEYS[1] .. ':lock')
end
"""

# token, turn, ms, generation → nothing; rows of this generation are about to be written
BEGIN_GENERATION = (
    _FENCE
    + """
redis.call('set', KEYS[1] .. ':building', ARGV[4])
redis.call('unlink', KEYS[1] .. ':rows:' .. ARGV[4], KEYS[1] .. ':newest:' .. ARGV[4])
"""
)

# Rows are texts: 20 digits of event time, 20 of known_at, then the values. They are compared as texts
# because numbers of Lua are doubles. A row that took the place of one known later may lower the
# newest `known_at` of the view, which `exact` then says. Rows whose keys are new are written in one
# call, and nothing of them is looked at: a full publication has no others.
#
# token, turn, ms, generation, digits of the times, number of keys to delete, those keys, number of
# fields of the state, names and values of those, then pieces: the newest times of up to 1,000 rows, and
# their keys and rows, each key once → number of changed keys
WRITE = (
    _FENCE
    + """
local rows, width, at = KEYS[1] .. ':rows:' .. ARGV[4], tonumber(ARGV[5]), 7
local changed, exact, newest_event, newest_known = 0, true, '', ''
local gone = tonumber(ARGV[6])
for n = at, at + gone - 1 do
    if redis.call('hdel', rows, ARGV[n]) == 1 then exact = false end
end
at = at + gone
local fields, state = tonumber(ARGV[at]), {}
for n = at + 1, at + 2 * fields do
    state[#state + 1] = ARGV[n]
end
at = at + 1 + 2 * fields
local size = 2 * PIECE_ROWS
local empty = redis.call('exists', rows) == 0
for piece = at, #ARGV, size + 2 do
    local from, to = piece + 2, math.min(piece + 1 + size, #ARGV)
    local keys, stored, held = {}, {}, false
    if not empty then
        for n = from, to, 2 do keys[#keys + 1] = ARGV[n] end
        stored = redis.call('hmget', rows, unpack(keys))
        for n = 1, #keys do held = held or stored[n] end
    end
    if not held then
        redis.call('hset', rows, unpack(ARGV, from, to))
        changed = changed + (to - from + 1) / 2
        if ARGV[piece] > newest_event then newest_event = ARGV[piece] end
        if ARGV[piece + 1] > newest_known then newest_known = ARGV[piece + 1] end
    else
        local taken = {}
        for n = from, to, 2 do
            local old, new = stored[(n - from) / 2 + 1], ARGV[n + 1]
            local times = string.sub(new, 1, width)
            local before = old and string.sub(old, 1, width) or ''
            if times >= before then
                if old ~= new then
                    taken[#taken + 1] = ARGV[n]
                    taken[#taken + 1] = new
                end
                local event, known = string.sub(times, 1, width / 2), string.sub(times, width / 2 + 1)
                if event > newest_event then newest_event = event end
                if known > newest_known then newest_known = known end
                if old and string.sub(before, width / 2 + 1) > known then exact = false end
            end
        end
        if #taken > 0 then redis.call('hset', rows, unpack(taken)) end
        changed = changed + #taken / 2
    end
end
local newest = KEYS[1] .. ':newest:' .. ARGV[4]
for _, pair in ipairs({{'event', newest_event}, {'known', newest_known}}) do
    if pair[2] > (redis.call('hget', newest, pair[1]) or '') then
        redis.call('hset', newest, pair[1], pair[2])
    end
end
if not exact then
    redis.call('hset', newest, 'inexact', '1')
end
for n = 7, 6 + gone do
    if redis.call('hexists', rows, ARGV[n]) == 0 then
        changed = changed + 1
    end
end
if #state > 0 then
    local last = redis.call('hget', KEYS[1], 'generation')
    local held = redis.call('hlen', rows)
    redis.call('hset', KEYS[1], 'generation', ARGV[4], 'rows', held, unpack(state))
    redis.call('del', KEYS[1] .. ':building')
    if last and last ~= ARGV[4] then
        redis.call('unlink', KEYS[1] .. ':rows:' .. last, KEYS[1] .. ':newest:' .. last)
    end
end
return changed
""".replace("PIECE_ROWS", str(PIECE_ROWS))
)

# token, turn, ms → the number of keys that the view had; it was never published
DROP = (
    _FENCE
    + """
local generation, gone = redis.call('hget', KEYS[1], 'generation'), 0
if generation then
    gone = redis.call('hlen', KEYS[1] .. ':rows:' .. generation)
    redis.call('unlink', KEYS[1] .. ':rows:' .. generation, KEYS[1] .. ':newest:' .. generation)
end
redis.call('del', KEYS[1])
return gone
"""
)

# token, turn, ms, generation, event time, known_at → nothing; the newest times as they were counted
SET_NEWEST = (
    _FENCE
    + """
local newest = KEYS[1] .. ':newest:' .. ARGV[4]
redis.call('del', newest)
if ARGV[5] ~= '' then
    redis.call('hset', newest, 'event', ARGV[5], 'known', ARGV[6])
end
"""
)

# KEYS: the states of all names that are concerned. ms, then token and turn of each, number of moves,
# then for each move the places of the old and the new name in KEYS → nothing. A generation gets a
# number that no writer of its new name has had, as a writer begins its own by deleting it. That number
# is the turn of each name afterwards: a client that lost the answer sends the script once more, and the
# second run, which finds that turn under its own locks, leaves all as it is.
RENAME = """
local held, newest, done = {}, 0, true
for n = 1, #KEYS do
    newest = math.max(newest, tonumber(ARGV[2 * n + 1]))
end
local number = string.format('%d', newest + 1)
for n = 1, #KEYS do
    local token, turn = redis.call('get', KEYS[n] .. ':lock'), redis.call('get', KEYS[n] .. ':turn')
    done = done and token == ARGV[2 * n] and turn == number
end
if done then return end
for n = 1, #KEYS do
    local lock, turn = KEYS[n] .. ':lock', redis.call('get', KEYS[n] .. ':turn')
    local token = redis.call('get', lock)
    if token ~= ARGV[2 * n] and (token or turn ~= ARGV[2 * n + 1]) then
        return redis.error_reply('FENCED another writer took its turn')
    end
    redis.call('set', lock, ARGV[2 * n], 'px', ARGV[1])
    held[n] = redis.call('hget', KEYS[n], 'generation')
end
local at, moved, taken = 2 * #KEYS + 3, {}, {}
local last = at + 2 * tonumber(ARGV[at - 1]) - 1
for n = at, last, 2 do
    local old, new = tonumber(ARGV[n]), tonumber(ARGV[n + 1])
    moved[old], taken[new] = new, true
end
local function rename(from, to)
    if redis.call('exists', from) == 1 then redis.call('rename', from, to) end
end
for n = 1, #KEYS do
    local rows = held[n] and ':rows:' .. held[n] or ''
    local times = held[n] and ':newest:' .. held[n] or ''
    if held[n] and moved[n] then
        redis.call('hset', KEYS[n], 'generation', number)
        rename(KEYS[n], KEYS[n] .. ':moving')
        rename(KEYS[n] .. rows, KEYS[n] .. ':moving:rows')
        rename(KEYS[n] .. times, KEYS[n] .. ':moving:newest')
    elseif held[n] and taken[n] then
        redis.call('del', KEYS[n])
        redis.call('unlink', KEYS[n] .. rows, KEYS[n] .. times)
    end
    redis.call('set', KEYS[n] .. ':turn', number)
end
for old, new in pairs(moved) do
    rename(KEYS[old] .. ':moving', KEYS[new])
    rename(KEYS[old] .. ':moving:rows', KEYS[new] .. ':rows:' .. number)
    rename(KEYS[old] .. ':moving:newest', KEYS[new] .. ':newest:' .. number)
end
"""

# KEYS: state and rows of each view. The fields of a state, separated by spaces, then for each view the
# keys asked for, one a line → for each view its fields, the rows in the order of the keys, one a line and
# empty where there is none, and the number of rows. A client packs and parses one text for each view,
# and not one for each key; neither keys nor rows have a line's end, which JSON escapes.
READ = """
local names, answers = {}, {}
for name in string.gmatch(ARGV[1], '%S+') do names[#names + 1] = name end
for n = 1, #KEYS, 2 do
    local asked, found = {}, {}
    for key in string.gmatch(ARGV[(n + 3) / 2], '[^\\n]+') do asked[#asked + 1] = key end
    for first = 1, #asked, 1000 do
        local last = math.min(#asked, first + 999)
        for _, row in ipairs(redis.call('hmget', KEYS[n + 1], unpack(asked, first, last))) do
            found[#found + 1] = row or ''
        end
    end
    answers[#answers + 1] = redis.call('hmget', KEYS[n], unpack(names))
    answers[#answers + 1] = table.concat(found, '\\n')
    answers[#answers + 1] = redis.call('hlen', KEYS[n + 1])
end
return answers
"""

# KEYS: the rows of a generation, its newest times. → how many rows, and the three fields
NEWEST = """
return {
    redis.call('hlen', KEYS[1]), unpack(redis.call('hmget', KEYS[2], 'event', 'known', 'inexact'))
}
"""
