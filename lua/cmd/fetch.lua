-- fetch: the command that brings guests into the cache.
-- SPDX-License-Identifier: MIT

local argparse = require "argparse"
local cjson    = require "cjson.safe"
local fetch    = require "umbra.fetch"

local function parser()
  local p = argparse("umbra fetch", "Brings a guest into the cache; without a name, lists what there is.")
  p:add_help(false)
  p:argument("guest", "Name of the guest."):args "?"
  p:option("--mirror", "URL of a Debian mirror, instead of the one apt is set up with."):argname "URL"
  p:option("--keyring", "Keys that may sign the mirror, instead of Debian's."):argname "FILE"
  p:flag("--force", "Fetch again what is there already.")
  p:flag("--verify", "Only compare the files in the cache with their hashes.")
  p:flag("--json", "Print what is there as JSON.")
  p:flag("-h --help", "Show this help.")
  return p
end

local function say(text)
  io.stderr:write("umbra: ", text, "\n")
end

local function json_of(name, guest)
  local pairs_of = { { "name", name }, { "fetched", guest ~= nil } }
  for _, key in ipairs { "version", "dir", "kernel", "initrd", "firmware", "fw_jump", "sysroot" } do
    if guest and guest[key] then pairs_of[#pairs_of + 1] = { key, guest[key] } end
  end
  for i, pair in ipairs(pairs_of) do
    pairs_of[i] = ("%s: %s"):format(cjson.encode(pair[1]), (cjson.encode(pair[2]):gsub("\\/", "/")))
  end
  return "{ " .. table.concat(pairs_of, ", ") .. " }"
end

local function show(names, as_json)
  local rows = {}
  for i, name in ipairs(names) do
    local guest = fetch.find(name)
    if as_json then
      rows[i] = "  " .. json_of(name, guest)
    else
      rows[i] = ("%-24s %s\n%-24s %s"):format(name, fetch.summary(name), "",
        guest and ("fetched: %s in %s"):format(guest.version, guest.dir) or "not fetched yet")
    end
  end
  if as_json then
    io.write("[\n", table.concat(rows, ",\n"), "\n]\n")
  else
    io.write(table.concat(rows, "\n"), "\n")
  end
end

local function run(args)
  local p = parser()
  local ok, options = p:pparse(args)
  if not ok then
    say(options:gsub("%s*\n%s*", "; ") .. " (umbra fetch --help)")
    return fetch.MISUSED
  end
  if options.help then
    io.write(p:get_help(), "\n")
    return 0
  end
  if not options.guest then
    if options.force or options.verify or options.mirror or options.keyring then
      say "fetch: which guest? (umbra fetch --help)"
      return fetch.MISUSED
    end
    show(fetch.names(), options.json)
    return 0
  end
  if options.verify then
    local good, why = fetch.verify(options.guest)
    if good then
      io.write(options.guest, ": every file is as it came\n")
      return 0
    end
    say(why)
    return fetch.FAILED
  end
  local guest, problem = fetch.try(options.guest, { mirror = options.mirror, keyring = options.keyring, force = options.force })
  if not guest then
    say(problem.text)
    return problem.code
  end
  if options.json then
    show({ options.guest }, true)
  else
    io.write(options.guest, " ", guest.version, " ", guest.dir, "\n")
  end
  return 0
end

return { summary = "bring a guest others built into the cache", run = run }
