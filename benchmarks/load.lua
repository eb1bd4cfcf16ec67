-- Random intervals of a fixed length, for wrk. Arguments: path, Range and Authorization headers
-- (may be empty), limit, span, seed.
-- {start}, {end} and {last} stand for the interval in both texts.
local path, range, authorization, limit, span

function init(args)
   path, range, authorization = args[1], args[2], args[3]
   limit, span = tonumber(args[4]), tonumber(args[5])
   math.randomseed(tonumber(args[6]))
end

local function fill(text, start)
   text = text:gsub("{start}", string.format("%d", start))
   text = text:gsub("{end}", string.format("%d", start + span))
   return (text:gsub("{last}", string.format("%d", start + span - 1)))
end

function request()
   local start = math.random(0, limit - span)
   local headers = {}
   if range ~= "" then headers["Range"] = fill(range, start) end
   if authorization ~= "" then headers["Authorization"] = authorization end
   return wrk.format("GET", fill(path, start), headers)
end

function done(summary, latency, requests)
   local errors = summary.errors
   local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
   io.write(string.format("counted %d %d %d %d\n",
      summary.requests, summary.duration, summary.bytes, failed))
end
