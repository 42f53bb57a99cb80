-- run: the command that runs a machine file, with the guest's serial console on this terminal or these pipes.
-- SPDX-License-Identifier: MIT
local boot    = require "umbra.boot"
local host    = require "umbra.host"
local keys    = require "umbra.keys"
local machine = require "umbra.machine"
local param   = require "umbra.param"
local schema  = require "umbra.schema"
local socket  = require "umbra.socket"
local words   = require "umbra.words"

local TIMEOUT, GONE, FAILED, MISUSED = 124, 141, 125, 126
local SLICE = 0.01                                -- seconds between two looks at input and signals
local MOST_PENDING = 65536                        -- bytes typed ahead of a guest that does not read
local DEFAULT = "riscv-virt"

local HELP = [[
usage: umbra run [FILE.lua] [key=value ...] [options]

Runs a machine file (or one that comes along, by name; without any, riscv-virt).
Its serial console is this terminal: Ctrl-A x ends the run, Ctrl-A h lists the keys.

  --log WHAT    log=WHAT: exec,int:FILE;mmio:FILE of exec, int, mmu, mmio, dev; a FILE - is standard error
  --map         print the memory map and end
  --dtb=FILE    write the device tree to a file and end
  --timeout S   give up after S seconds (exit code 124)
  --stats       print what was counted to standard error at the end
  --json        with --stats: as JSON
  --help        this text and the machine's parameters
  gdb=PLACE     let gdb connect: PORT, ADDRESS:PORT or unix:PATH
  -s            gdb=1234
  -S            the guest waits until gdb lets it run

Words of other emulators: -m, -kernel, -initrd, -append, -bios, -drive file=F,format=raw[,readonly=on], -smp, -nographic,
-gdb PLACE; -d ITEMS [-D FILE]; --isa=S, +signature=F, +signature-granularity=N.
]]

local function misuse(text, ...)
  error({ text = text:format(...), code = MISUSED }, 0)
end

-- Words --------------------------------------------------------------------------------------------------------------------

local function drive_of(value)
  local params = {}
  for part in value:gmatch "[^,]+" do
    local key, what = part:match "^(%w+)=(.*)$"
    if key == "file" then
      params.drive = what
    elseif key == "readonly" then
      params.drive_read_only = what
    elseif key == "format" and what ~= "raw" then
      misuse("-drive format=%s: must be raw", what)
    elseif not (key == "format" or key == "if" and (what == "none" or what == "virtio") or key == "id") then
      misuse("-drive %s: unknown part `%s`; known: file=, format=raw, readonly=on, if=virtio, id=", value, part)
    end
  end
  if not params.drive then misuse("-drive %s: file= is missing", value) end
  return params
end

-- Options that take the next word: what parameters they stand for. Memory without a suffix counts in MiB, as those users expect.
local WITH_VALUE = {
  ["-m"]      = function(v) return { ram = v:find "^%d+$" and v .. "M" or v } end,
  ["-kernel"] = function(v) return { kernel = v } end,
  ["-initrd"] = function(v) return { initrd = v } end,
  ["-append"] = function(v) return { append = v } end,
  ["-bios"]   = function(v) return v == "default" and {} or { firmware = v } end,
  ["-smp"]    = function(v) return { harts = v } end,
  ["-drive"]  = drive_of,
  ["--isa"]   = function(v) return { isa = v } end,
  ["--log"]   = function(v) return { log = v } end,
  ["-d"]      = function(v) return { items = v } end,
  ["-D"]      = function(v) return { items_file = v } end,
  ["+signature"] = function(v) return { signature = v } end,
  ["+signature-granularity"] = function(v) return { signature_granularity = v } end,
}
-- -nographic asks for what is the case: there are no graphics.
local FLAGS = {
  ["-S"] = "wait", ["--stats"] = "stats", ["--map"] = "map", ["--json"] = "json", ["--help"] = "help", ["-h"] = "help", ["-nographic"] = "nographic",
}
local OPTIONS = { "--timeout", "--stats", "--json", "--map", "--dtb", "--help", "-h", "-nographic", "-s", "-S", "-gdb" }
for name in pairs(WITH_VALUE) do OPTIONS[#OPTIONS + 1] = name end
table.sort(OPTIONS)

local function parse(args)
  local options, given, i = {}, {}, 1
  local function set(params)
    for name, value in pairs(params) do           -- at most two, each set once: any order will do
      if given[name] ~= nil then misuse("%s=%s: `%s` is given twice", name, value, name) end
      given[name] = value
    end
  end
  local function set_gdb(word, text)
    local wanted
    if options.gdb then misuse("%s: gdb is given twice", word) end
    options.gdb, wanted = socket.place(text)
    if not options.gdb then misuse("%s: must be %s", word, wanted) end
  end
  local function next_word(word)
    i = i + 1
    return args[i] or misuse("%s: a value must follow", word)
  end
  while args[i] do
    local word = args[i]
    local name, value = word:match "^(%-%-?[%w-]+)=(.*)$"
    if not name then name, value = word:match "^(%+[%w-]+)=(.*)$" end
    name = name or word
    if name == "--timeout" then
      value = value or next_word(word)
      options.timeout = tonumber(value)
      if not options.timeout or not (options.timeout > 0 and options.timeout < math.huge) then
        misuse("--timeout %s: must be a number of seconds above 0", value)
      end
    elseif name == "--dtb" then
      options.dtb = value or next_word(word)
    elseif WITH_VALUE[name] then
      set(WITH_VALUE[name](value or next_word(word)))
    elseif name == "-gdb" then
      value = value or next_word(word)
      set_gdb("-gdb " .. value, value)
    elseif word == "-s" then
      set_gdb("-s", "1234")
    elseif word:find "^gdb=" then
      set_gdb(word, word:sub(5))
    elseif FLAGS[word] then
      options[FLAGS[word]] = true
    elseif word:find "^[-+]." then
      misuse("unknown option `%s`%s (umbra run --help)", word, schema.suggest(name, OPTIONS))
    elseif word:find "^[%a_][%w_-]*=" then
      local key, text = word:match "^([^=]*)=(.*)$"
      set { [key:gsub("-", "_")] = text }
    elseif not options.file then
      options.file = word
    else
      set { kernel = word }
    end
    i = i + 1
  end
  if options.wait and not options.gdb then misuse "-S goes with gdb=PLACE or -s" end
  if given.items_file and not given.items then misuse "-D goes with -d ITEMS" end
  if given.items then set { log = given.items .. ":" .. (given.items_file or "-") } end
  given.items, given.items_file = nil, nil
  if options.json and not options.stats then misuse "--json goes with --stats" end
  return options, given
end

-- What was counted ---------------------------------------------------------------------------------------------------------

local function sorted_keys(t)
  local list = {}
  for key in pairs(t) do list[#list + 1] = key end
  table.sort(list, function(a, b)
    local table_a, table_b = type(t[a]) == "table", type(t[b]) == "table"
    if table_a ~= table_b then return table_b end
    return a < b
  end)
  return list
end

local function json(t, indent)
  if type(t) ~= "table" then return ("%.14g"):format(t) end
  local fields = {}
  for i, key in ipairs(sorted_keys(t)) do fields[i] = ("%s  %q: %s"):format(indent, key, json(t[key], indent .. "  ")) end
  if #fields == 0 then return "{}" end
  return "{\n" .. table.concat(fields, ",\n") .. "\n" .. indent .. "}"
end

local function print_counters(t, indent)
  for _, key in ipairs(sorted_keys(t)) do
    if type(t[key]) == "table" then
      if next(t[key]) ~= nil then io.stderr:write(indent, key, "\n") end
      print_counters(t[key], indent .. "  ")
    else
      io.stderr:write(("%s%-" .. (32 - #indent) .. "s %.14g\n"):format(indent, key, t[key]))
    end
  end
end

local function print_stats(m, options, seconds)
  local counts = m:counters()
  counts.seconds = seconds
  if options.json then io.stderr:write(json(counts, ""), "\n") else print_counters(counts, "") end
end

-- The run ------------------------------------------------------------------------------------------------------------------

-- Takes what was typed or piped in. True when the run is to end. A terminal is read even when the guest is not: Ctrl-A x must work.
local function serve_input(m, input, state)
  local text = m.console
  local room = text and (state.terminal and MOST_PENDING - #text.pending or text:room()) or state.terminal and 1 or 0
  input:want(room > 0)
  local bytes = input:read(room)
  if not bytes or bytes == "" then return false end
  local quit
  if state.terminal then bytes, quit = state.keys:take(bytes, state.write) end
  if text then text:send(bytes) end
  return quit ~= nil
end

-- Runs until the guest or the user ends it: the exit code, and a line to be said.
local function loop(m, input, state)
  while true do
    local signal = input:signal()
    if signal then return 128 + signal end
    if serve_input(m, input, state) then return 0 end
    local left = state.deadline and state.deadline - host.seconds() or SLICE
    if left <= 0 then m:grieve "timeout" end
    if left <= 0 then return TIMEOUT, ("timeout: the guest still ran after %g seconds"):format(state.timeout) end
    m:slice(nil, math.min(left, SLICE))
    if state.trouble == "gone" then return GONE end
    if state.trouble == "refused" then return FAILED, "standard output takes no more: No space left on device, or an error" end
    if state.trouble then return 128 + state.trouble end
    if m.ended and m.ended.reason == "reset" then
      m:reset()
    elseif m.ended then
      local code = m.ended.code
      return m.ended.reason == "exit" and (code > 255 and 255 or code % 256) or 0
    end
  end
end

local function run_machine(m, options)
  local terminal = host.is_terminal(0) and host.is_foreground(0)
  local source = (terminal or not host.is_terminal(0)) and 0 or nil
  local state = { terminal = terminal, timeout = options.timeout, keys = keys.new { { "x", "end the run" } } }
  local input = host.input(source)
  function state.write(bytes)
    if state.trouble then return end
    local ok, why = input:write(1, bytes)
    if not ok then state.trouble = why end
  end
  if m.console then m.console.sink = state.write end
  for _, text in ipairs(m.consoles) do text.sink = text.sink or function() end end     -- those that are not shown
  local restore = terminal and host.raw(0)
  if m.debugger then input:join(m.debugger.fd) end
  m.control:watch(input.fd)
  local start = host.seconds()
  state.deadline = options.timeout and start + options.timeout
  local ok, code, line = pcall(loop, m, input, state)
  m.control:watch(nil)
  if restore then restore() end
  input:close()
  if not ok then error(code, 0) end
  if line then io.stderr:write("umbra: ", line, "\n") end
  if options.stats then print_stats(m, options, host.seconds() - start) end
  return code
end

local function start_gdb(m, options)
  local place = options.gdb
  local server = m:gdb { path = place.path, address = place.address, port = place.port, wait = options.wait }
  io.stderr:write("umbra: gdb: target remote ", server.place, "\n")
end

local function write_tree(m, options)
  words.write(options.dtb, m:dtb(), "--dtb")
  return 0
end

local function show_map(m, options)
  io.write(tostring(m:map()), "\n")
  return options.dtb and write_tree(m, options) or 0
end

-- A machine that is a process: standard streams and exit code are the program's.
local function run_process(m, options)
  for _, key in ipairs { "dtb", "gdb", "timeout" } do
    if options[key] then misuse("%s%s: a process has none", key == "gdb" and "" or "--", key) end
  end
  if options.map then return show_map(m, options) end
  return require("umbra.process").finish(m, options.stats and function(counts, seconds)
    counts.seconds = seconds
    io.stderr:write(options.json and json(counts, "") .. "\n" or require("umbra.process").stats(counts, seconds))
  end)
end

local function run(args)
  local options, given = parse(args)
  if options.help and not options.file then
    io.write(HELP)
    return 0
  end
  local file = options.file or DEFAULT
  local description, rows = machine.describe(file, given, { lenient = options.help })
  if options.help then
    io.write(HELP, "\nParameters of ", file, ":\n", table.concat(param.help(rows), "\n"), "\n")
    return 0
  end
  if description.process then return run_process(machine.build(description), options) end
  local _, problem = boot.guest(description.boot)
  if problem then error(problem, 0) end
  local m = machine.build(description)
  local ok, code = pcall(function()
    if options.map then return show_map(m, options) end
    if options.dtb then return write_tree(m, options) end
    if options.gdb then start_gdb(m, options) end
    return run_machine(m, options)
  end)
  m:close()
  if not ok then error(code, 0) end
  return code
end

return { summary = "run a machine file", run = run }
