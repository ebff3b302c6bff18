-- What wrk sends, by arguments of the form name=value:
--   method, body   of the one request that is sent over and over
--   bodies         a file of bodies, one a line, sent in turns instead
--   chain          each body of that file once, then those that the answers' refresh tokens make
--   pause_ms       how long a connection waits, on average, before each request
-- The last line that it prints is "RESULT" and the figures.
local settings = {}

function init(args)
  for _, argument in ipairs(args) do
    local name, value = argument:match("^([%w_]+)=(.*)$")
    settings[name] = value
  end
  wrk.method = settings.method or "GET"
  wrk.body = settings.body

  if settings.bodies then
    local bodies, sent = {}, 0
    for line in io.lines(settings.bodies) do bodies[#bodies + 1] = line end
    if settings.chain then
      request = function()
        sent = sent + 1
        if bodies[sent] == nil then error("more requests in flight than there are tokens") end
        local body = bodies[sent]
        bodies[sent] = nil
        return wrk.format(nil, nil, nil, body)
      end
      local made = #bodies
      response = function(_, _, body)
        made = made + 1
        bodies[made] = '{"refresh_token":"' .. (body:match('"refresh_token":"([^"]+)"') or "") .. '"}'
      end
    else
      request = function()
        sent = sent % #bodies + 1
        return wrk.format(nil, nil, nil, bodies[sent])
      end
    end
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
