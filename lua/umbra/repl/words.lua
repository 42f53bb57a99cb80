-- words: what people of other emulators type at a monitor, as Lua functions over the session's machine.
--
-- Each shows what it found as text. A place in memory is an address, a symbol ("main+8") or a register ("$pc"). docs/repl.md has a row
-- for each word; help(word) shows it.
-- SPDX-License-Identifier: MIT
local bits   = require "umbra.bits"
local dis    = require "umbra.dis"
local fault  = require "umbra.fault"
local help   = require "umbra.help"
local schema = require "umbra.schema"
local show   = require "umbra.repl.show"
local socket = require "umbra.socket"

local words = {}

local MOST_ITEMS, MOST_STRING, MOST_STEPS = 65536, 4096, 10000

-- The machine that is m now.
local function machine_of(session, word)
  local m = session.env.m
  if help.noun(m) ~= "machine" then fault.raise("%s: m is no machine: m = machine.load(FILE) makes one", word) end
  return m
end

local function count_of(value, what, least, most)
  local count = tonumber(value)
  if not count or count % 1 ~= 0 or count < least or count > most then
    fault.raise("%s: must be a whole number from %d to %d, not %s", what, least, most, schema.show(value))
  end
  return count
end

-- The hart that ran last, or that of a number.
local function hart_of(m, number, word)
  local hart = m.cpu[number == nil and m.hart.exit.hart or tonumber(number)]
  return hart or fault.raise("%s: hart must be 0 to %d, not %s", word, m.harts - 1, schema.show(number))
end

local function register(hart, name)
  if name == "pc" then return hart:pc() end
  local kinds = { hart.reg, hart.freg, hart.csr }
  for _, read in ipairs(kinds) do
    local ok, value = pcall(read, hart, name)
    if ok then return value end
  end
  fault.raise("no register or CSR %s", schema.show(name))
end

local function place_of(m, place, word, hart)
  if type(place) == "string" and place:sub(1, 1) == "$" then
    local name, sign, more = place:match "^%$(%w+)([+-]?)(.*)$"
    local offset = sign and sign ~= "" and tonumber(more) or 0
    if not name or sign ~= "" and not tonumber(more) then fault.raise("%s: %s is no place like $pc or $sp+16", word, schema.show(place)) end
    return bits.number(bits.u64(register(hart, name)) + bits.u64(sign == "-" and -offset or offset))
  end
  if type(place) == "string" and tonumber(place) then place = tonumber(place) end
  return m.symbols:resolve(place, word)
end

-- info -----------------------------------------------------------------------------------------------------------------------

local info, INFO = {}, {}                         -- INFO: their names, in order

local function topic(name, f)
  info[name], INFO[#INFO + 1] = f, name
end

local function each_hart(m)
  local list = {}
  for i = 0, m.harts - 1 do list[i + 1] = m.cpu[i]:describe() end
  return table.concat(list, "\n")
end

topic("registers", each_hart)
topic("mtree", function(m) return tostring(m:map()) end)
topic("tlb", function(m) return show.value(m:counters().tlb) end)
topic("jit", function(m)
  local of, counts = m.description, m:counters().blocks
  return ("engine %s; blocks %s"):format(of.engine, show.value(counts))
end)
topic("block", function(m)
  local list = {}
  for _, row in ipairs(m.rows) do
    if row.device.name == "virtio_blk" then list[#list + 1] = m:describe(row.name) end
  end
  return #list > 0 and table.concat(list, "\n") or "no disks"
end)
topic("status", function(m, session) return session:status(m) end)
topic("clock", function(m) return m.clock:describe() end)
topic("counters", function(m) return show.value(m:counters()) end)
topic("hooks", function(m)
  local lines = {}
  for i, hook in ipairs(m:hooks()) do lines[i] = ("%-32s %.0f hits"):format(hook.name, hook:counters().hits) end
  return #lines > 0 and table.concat(lines, "\n") or "no hooks"
end)
topic("consoles", function(m)
  local lines = {}
  for i, text in ipairs(m.consoles) do lines[i] = text:describe() end
  return #lines > 0 and table.concat(lines, "\n") or "no consoles"
end)

-- Memory ---------------------------------------------------------------------------------------------------------------------

local SIZES = { b = 1, h = 2, w = 4, g = 8 }
local FORMATS = {
  x = function(value, size) return ("0x%0" .. 2 * size .. "s"):format(bits.hex(value):sub(3)):gsub(" ", "0") end,
  u = function(value) return (tostring(bits.u64(value)):gsub("ULL$", "")) end,
  d = function(value, size)
    local high = bits.u64(2) ^ (8 * size - 1)
    local signed = bits.u64(value) >= high and size < 8 and tonumber(value) - 2 ^ (8 * size) or require("ffi").cast("int64_t", bits.u64(value))
    return (tostring(signed):gsub("LL$", ""))
  end,
  c = function(value) return "'" .. show.clean(string.char(tonumber(bits.u64(value) % 256))) .. "'" end,
}

-- { count, format, size } of "10i", "8gx" or "4dw".
local function parse_format(text, word)
  local count, letters = tostring(text):match "^/?(%d*)(%a*)$"
  local what = { count = count and count ~= "" and tonumber(count) or 1, format = "x" }
  for letter in (letters or "?"):gmatch "." do
    if SIZES[letter] then what.size = SIZES[letter]
    elseif FORMATS[letter] or letter == "i" or letter == "s" then what.format = letter
    else fault.raise("%s: %s is no format: a count, one of x d u c i s, and a size of b h w g, as in 10i or 4xg", word, schema.show(text)) end
  end
  what.size = what.size or what.format == "c" and 1 or 4
  count_of(what.count, word .. ": count", 1, MOST_ITEMS)
  return what
end

local function value_of(bytes, at, size)
  local value = 0ULL
  for i = size, 1, -1 do value = value * 256ULL + bytes:byte(at + i - 1) end
  return bits.number(value)
end

local function string_at(read, at)
  local parts = {}
  for i = 0, MOST_STRING - 1 do
    local byte = read(bits.number(bits.u64(at) + i), 1)
    if byte == "\0" then return table.concat(parts) end
    parts[i + 1] = byte
  end
  return table.concat(parts) .. "..."
end

-- Up to `size` bytes, up to where nothing is mapped; refuses when nothing is at `at`.
local function read_up_to(read, at, size)
  local bytes, done = {}, 0
  while done < size do
    local from = bits.number(bits.u64(at) + done)
    local step = math.min(size - done, 4096 - tonumber(bits.u64(from) % 4096))
    local ok, part = pcall(read, from, step)
    if not ok and done == 0 then error(part, 0) end
    if not ok then break end
    bytes[#bytes + 1], done = part, done + step
  end
  return table.concat(bytes)
end

local function instructions(m, read, at, count)
  local bytes, lines = read_up_to(read, at, 4 * count), {}
  for line in dis.bytes(bytes, { at = at, symbols = m.symbols, isa = m.hart.isa }) do
    lines[#lines + 1] = ("%s  <%s>"):format(tostring(line), m.symbols:name(line.at) or "?"):gsub("  <%?>$", "")
    if #lines == count then break end
  end
  return table.concat(lines, "\n")
end

local function numbers(m, read, at, what)
  local bytes = read_up_to(read, at, what.count * what.size)
  local each, lines = math.max(1, 16 / what.size), {}
  for i = 0, math.floor(#bytes / what.size) - 1 do
    if i % each == 0 then lines[#lines + 1] = m.symbols:show(bits.number(bits.u64(at) + i * what.size)) .. ":" end
    lines[#lines] = lines[#lines] .. " " .. FORMATS[what.format](value_of(bytes, i * what.size + 1, what.size), what.size)
  end
  return table.concat(lines, "\n")
end

local function examine(m, read, at, what)
  if what.format == "i" then return instructions(m, read, at, what.count) end
  if what.format == "s" then return show.value(string_at(read, at)) end
  return numbers(m, read, at, what)
end

-- The words ------------------------------------------------------------------------------------------------------------------

-- Words over `session` (umbra.repl) as { name = function }, and what their texts may be, for completion.
function words.new(session)
  local w = {}

  function w.info(what)
    local m = machine_of(session, "info")
    if what == nil then return session:say("info WHAT: " .. table.concat(INFO, " ")) end
    local f = info[what] or fault.raise("info: nothing is known about %s%s", schema.show(what), schema.suggest(tostring(what), INFO))
    session:say(f(m, session))
  end

  function w.x(place, format)
    local m = machine_of(session, "x")
    local hart = hart_of(m, nil, "x")
    local at = place_of(m, place == nil and "$pc" or place, "x", hart)
    session:say(examine(m, function(from, size) return hart:read(from, size) end, at, parse_format(format or (place == nil and "10i" or "8xw"), "x")))
  end

  function w.xp(place, format)
    local m = machine_of(session, "xp")
    local at = place_of(m, place, "xp", hart_of(m, nil, "xp"))
    session:say(examine(m, function(from, size) return m.mem:read(from, size) end, at, parse_format(format or "8xw", "xp")))
  end

  function w.str(place)
    local m = machine_of(session, "str")
    local hart = hart_of(m, nil, "str")
    session:say(show.value(string_at(function(from, size) return hart:read(from, size) end, place_of(m, place, "str", hart))))
  end

  function w.reg(number, name)
    local m = machine_of(session, "reg")
    if name == nil and number ~= nil and not tonumber(number) then number, name = nil, number end
    local hart = hart_of(m, number, "reg")
    if name == nil then return session:say(hart:describe()) end
    session:say(m.symbols:show(register(hart, name)))
  end

  function w.whatis(place)
    local m = machine_of(session, "whatis")
    local at = place_of(m, place, "whatis", hart_of(m, nil, "whatis"))
    local lines = { m.symbols:show(at) }
    for _, row in ipairs(m:map()) do
      if bits.u64(at) >= bits.u64(row.at) and bits.u64(at) < bits.u64(row.at) + row.size then
        lines[#lines + 1] = ("%s: %s, offset %s"):format(row.name, row.kind, bits.hex(bits.u64(at) - row.at))
      end
    end
    local ok, gpa = pcall(function() return hart_of(m, nil, "whatis"):translate(at, "r") end)
    if ok and bits.u64(gpa) ~= bits.u64(at) then lines[#lines + 1] = "guest-physical " .. bits.hex(gpa) end
    session:say(table.concat(lines, "\n"))
  end
  w.sysbus = { WhatIsAt = w.whatis }

  function w.peripherals()
    local m, lines = machine_of(session, "peripherals"), {}
    for i, row in ipairs(m.rows) do
      local irq = row.options.irq and ", irq " .. row.options.irq or ""
      lines[i] = ("%-12s %-14s %s%s"):format(row.name, row.device.name, row.at and bits.hex(row.at) or "", irq)
    end
    session:say(table.concat(lines, "\n"))
  end

  function w.stop() session:stop(machine_of(session, "stop"), true) end
  function w.cont() session:go(machine_of(session, "cont")) end
  w.pause, w.start = w.stop, w.cont

  function w.system_reset() machine_of(session, "system_reset"):reset() end

  function w.rs(count)
    session:run(machine_of(session, "rs"), { instructions = count_of(count or 1, "rs", 1, 2 ^ 53) })
  end

  function w.step(count, number)
    local m = machine_of(session, "step")
    local hart = hart_of(m, number, "step")
    session:stop(m)
    for _ = 1, count_of(count or 1, "step", 1, MOST_STEPS) do
      session:say(instructions(m, function(from, size) return hart:read(from, size) end, hart:pc(), 1))
      local reason = hart:step()
      if reason ~= "step" then return session:say(reason == "time" and "the hart sleeps" or reason) end
    end
  end

  w["until"] = function(what, number, place)
    local m = machine_of(session, "until")
    if what ~= "pc" then fault.raise("until: until pc [HART] ADDRESS, not %s", schema.show(what)) end
    if place == nil then number, place = nil, number end
    if type(place) == "string" and place:find "^%x%x%x%x+$" then place = bits.parse("0x" .. place) end
    session:run(m, { until_pc = place_of(m, place, "until", hart_of(m, number, "until")) })
  end

  function w.log(what)
    local list, lines = machine_of(session, "log"):log(what), {}
    for item, file in pairs(list) do lines[#lines + 1] = item .. ": " .. tostring(file) end
    table.sort(lines)
    session:say(#lines > 0 and table.concat(lines, "\n") or "nothing is logged")
  end

  function w.gdbserver(place)
    local m = machine_of(session, "gdbserver")
    if place == "none" then
      local ran = session:runs(m)
      session:stop(m)
      if m.debugger then m.debugger:close() end
      if ran then session:go(m) end
      return
    end
    local text = tostring(place or "1234"):gsub("^tcp:", "")
    local at, wanted = socket.place(text)
    if not at then fault.raise("gdbserver: %s: must be %s, or none", schema.show(place), wanted) end
    local ran = session:runs(m)
    session:stop(m)
    local server = m:gdb { path = at.path, address = at.address, port = at.port }
    session:say("target remote " .. server.place)
    if ran then session:go(m) end
  end

  function w.console(name) session:console(machine_of(session, "console"), name) end
  function w.quit(code) session:quit(code) end

  return w
end

local function device_names(session)
  local list = {}
  local m = session.env.m
  for i, text in ipairs(help.noun(m) == "machine" and m.consoles or {}) do list[i] = text.name end
  return list
end

local root = debug.getinfo(1, "S").source:match "^@(.*)lua/umbra/"      -- of the tree, or of what was installed

-- For umbra.repl.complete.
function words.arguments(session)
  local registers = { "pc" }
  for name in ("zero ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6 " ..
    "mstatus mepc mcause mtval mtvec sstatus sepc scause stval stvec satp"):gmatch "%S+" do registers[#registers + 1] = name end
  local function machines()
    local list = {}
    for name in require("lfs").dir(root .. "machines") do list[#list + 1] = name:match "^(.*)%.lua$" end
    table.sort(list)
    return list
  end
  return {
    info = INFO, reg = registers, set_reg = registers, csr = registers, load = machines, log = { "exec:", "int:", "mmu:", "mmio:", "dev:" },
    console = function() return device_names(session) end,
    describe = function()
      local list = {}
      for i, row in ipairs(help.noun(session.env.m) == "machine" and session.env.m.rows or {}) do list[i] = row.name end
      return list
    end,
    help = function() return help.pages() end,
  }
end

return words
