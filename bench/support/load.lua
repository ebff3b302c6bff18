-- The requests that wrk sends, by arguments of the form name=value:
--   requests   a file of whole requests, separated by zero bytes; each sent request is one of them, at random
--   chain      the requests of that file once each and in order, then the same with the refresh tokens of the
--              answers
--   pause_ms   how long a connection waits, on average, before each request
-- The choice is random, because with requests in turn a cache that evicts the least recently used entry would
-- lose every entry before its next use if it held one entry less than the file has requests.
-- The last printed line is "RESULT" and the figures.
local settings, requests = {}, {}

-- The later requests of a chain. Content-Length is the last header of each.
local function followTokens()
  local head = requests[1]:match("^(.-Content%-Length: )")
  local sent, made = 0, #requests
  request = function()
    sent = sent + 1
    local text = requests[sent]
    if text == nil then error("more requests in flight than there are tokens") end
    requests[sent] = nil
    return text
  end
  response = function(_, _, answer)
    local body = '{"refresh_token":"' .. (answer:match('"refresh_token":"([^"]+)"') or "") .. '"}'
    made = made + 1
    requests[made] = head .. #body .. "\r\n\r\n" .. body
  end
end

function init(args)
  for _, argument in ipairs(args) do
    local name, value = argument:match("^([%w_]+)=(.*)$")
    settings[name] = value
  end

  local file = assert(io.open(settings.requests, "rb"))
  for text in file:read("*a"):gmatch("[^%z]+") do requests[#requests + 1] = text end
  file:close()
  if settings.chain then
    followTokens()
  else
    math.randomseed(os.time())
    request = function() return requests[math.random(#requests)] end
  end

  if settings.pause_ms then
    local most = 2 * tonumber(settings.pause_ms)
    delay = function() return math.random(0, most) end
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests":%d,"seconds":%f,"p50Ms":%f,"p99Ms":%f,"refused":%d,"broken":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
