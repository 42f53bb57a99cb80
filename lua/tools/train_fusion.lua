-- train_fusion: chooses the sequences that tier 0 fuses, from where a corpus of guests spends its instructions.
-- SPDX-License-Identifier: MIT
-- Usage: luajit lua/tools/train_fusion.lua COUNT MACHINE key=value ... [-- MACHINE key=value ...] > lua/isa/riscv/fusion.lua
--
-- Each run is sampled: budgets of about 1,000 instructions end in a block with a chance in proportion to the time spent
-- there. Blocks are decoded as the hart decodes them; then sequences of two and three are chosen greedily by the
-- dispatches they save, measured by replaying the matching over the samples after each round. Progress goes to stderr.
local root = arg[0]:match "^(.*)lua/tools/" or ""
package.path = root .. "lua/?.lua;" .. package.path
local ffi = require "ffi"
local bit = require "bit"
local isa = require "umbra.isa"
local emit_c = require "umbra.isa.emit_c"
local machine = require "umbra.machine"
local C = require("umbra.clib").C

local MOST = 64                                        -- instructions of a block, as in csrc/cpu/riscv/blocks.h
local SAMPLES = tonumber(os.getenv "SAMPLES") or 400000  -- at most, a run

local description = isa.load(root .. "lua/isa/riscv/riscv.lua")
local rows = {}
for op, insn in ipairs(description.insns) do
  local kind = emit_c.kind(insn)
  local destination, field = emit_c.destination(insn)
  local sources = {}
  for i, name in ipairs(emit_c.sources(insn)) do sources[i] = { slot = insn.slots[name], file = insn.scope.fields[name].regs } end
  local ends = kind == "indirect" or kind == "branch" and insn.meaning.body[1].op ~= "if" or kind == "state"
  rows[op] = { name = insn.name, kind = kind, ends = ends, sources = sources,
               destination = destination and { slot = insn.slots[destination .. ">"], file = field.regs } }
end

-- Sampling ----------------------------------------------------------------------------------------

local slot_index = { a = 0, b = 1, c = 2, d = 3 }
local decoded = ffi.new "struct um_riscv_decoded"

local function decode_block(m, gva)
  local items, at = {}, gva
  local bytes = m.hart:read(gva, math.min(4 * MOST, 4096 - gva % 4096))
  local offset = 0
  while #items < MOST and offset + 2 <= #bytes do
    local low = bytes:byte(offset + 1) + bytes:byte(offset + 2) * 256
    local word = low
    if low % 4 == 3 then
      if offset + 4 > #bytes then break end
      word = low + bytes:byte(offset + 3) * 65536 + bytes:byte(offset + 4) * 16777216
    end
    C.um_riscv_decode(word, bit.bnot(0ULL), decoded)
    local row = rows[decoded.op]
    if not row then break end
    local target = (at + offset) % 4096 + decoded.imm
    items[#items + 1] = { row = row, far = row.kind == "branch" and (target < 0 or target >= 4096),
                          slots = { [0] = decoded.slot[0], decoded.slot[1], decoded.slot[2], decoded.slot[3] } }
    offset = offset + decoded.length
    if row.ends then break end
  end
  return items
end

local function sample(name, parameters, blocks)
  local m = machine.load(name, parameters)
  local exit = ffi.new "struct um_exit"
  local samples, state = 0, 12345
  while samples < SAMPLES do
    state = (state * 1103515245 + 12345) % 2147483648
    C.um_hart_run(m.hart.ptr, 700 + state % 613, 1000000000ULL, exit)
    if exit.reason == C.UM_EXIT_HALT then break end
    if samples % 1000 == 0 then m:slice(0, 0) end       -- drains the console
    if exit.reason == C.UM_EXIT_BUDGET then
      local gva = tonumber(exit.block)
      local ok, gpa = pcall(m.hart.translate, m.hart, exit.block, "x")
      if ok then
        local key = tostring(gpa)
        local block = blocks[key]
        if not block then
          local fine, items = pcall(decode_block, m, gva)
          block = { items = fine and items or {}, weight = 0 }
          blocks[key] = block
        end
        block.weight = block.weight + 1
        samples = samples + 1
      end
    end
  end
  io.stderr:write(("%s: %d samples\n"):format(name, samples))
  m:close()
end

-- Matching ----------------------------------------------------------------------------------------

local function links(items, first, last)
  local words = {}
  for j = first, last do
    local row, own = items[j].row, items[j]
    if j == first then words[1] = row.name
    else
      local digits, over = {}, 0
      for s, source in ipairs(row.sources) do
        digits[s] = 0
        for i = first, j - 1 do
          local d = items[i].row.destination
          if d and d.file == source.file and items[i].slots[slot_index[d.slot]] == own.slots[slot_index[source.slot]] then digits[s] = i - first + 1 end
        end
      end
      local mine = row.destination
      local number = mine and own.slots[slot_index[mine.slot]]
      for i = first, j - 1 do
        local d = items[i].row.destination
        if mine and number ~= 32 and d and d.file == mine.file and items[i].slots[slot_index[d.slot]] == number then over = i - first + 1 end
      end
      words[#words + 1] = ("%s:%s.%d"):format(row.name, table.concat(digits), over)
    end
  end
  return table.concat(words, " ")
end

local DISPATCH, LINK = 4, 3                            -- COST_DISPATCH, SAVED_LINK of csrc/cpu/riscv/blocks.c

-- What a sequence saves: dispatches, and results handed on in registers.
local function saving(text, length)
  local linked = 0
  for digits in text:gmatch ":(%d*)%." do
    for _ in digits:gmatch "[1-9]" do linked = linked + 1 end
  end
  return (length - 1) * DISPATCH + linked * LINK
end

local function add_option(options, text, length)
  for _, option in ipairs(options) do
    if option.text == text then return end
  end
  options[#options + 1] = { text = text, length = length, saving = saving(text, length) }
end

-- The handlers that may serve at a place, as fused_of in csrc/cpu/riscv/blocks.c tries them: links and overwriting as they
-- are, links alone, and for pairs neither. A sequence begins with plain instructions; its last may jump within the page.
local function candidates(block)
  if block.candidates then return block.candidates end
  local items, list = block.items, {}
  for i = 1, #items do
    list[i] = {}
    for length = 3, 2, -1 do
      local fine = i + length - 1 <= #items
      for j = i, i + length - 1 do
        if fine and (items[j].row.kind == "state" or items[j].far or j < i + length - 1 and items[j].row.kind ~= "plain") then fine = false end
      end
      if fine then
        local text = links(items, i, i + length - 1)
        add_option(list[i], text, length)
        add_option(list[i], (text:gsub("%.%d", ".0")), length)
        if length == 2 then add_option(list[i], (text:gsub(":(%d*)%.%d", function(digits) return ":" .. ("0"):rep(#digits) .. ".0" end)), 2) end
      end
    end
  end
  block.candidates = list
  return list
end

-- Follows the hart's choice (fuse in csrc/cpu/riscv/blocks.c): the most is saved, from a block's end to its start.
local function replay(blocks, chosen)
  local used, dispatches, instructions = {}, 0, 0
  for _, block in ipairs(blocks) do
    local list, n = candidates(block), #block.items
    local weight = n > 0 and block.weight / n or 0
    local saved, take = { [n + 1] = 0 }, {}
    for i = n, 1, -1 do
      saved[i] = saved[i + 1]
      for _, option in ipairs(list[i]) do
        local all = chosen[option.text] and option.saving + saved[i + option.length]
        if all and all > saved[i] then saved[i], take[i] = all, option end
      end
    end
    local i = 1
    while i <= n do
      local option = take[i]
      local length = option and option.length or 1
      if option then used[option.text] = (used[option.text] or 0) + weight * option.saving end
      dispatches, instructions, i = dispatches + weight, instructions + weight * length, i + length
    end
  end
  return used, dispatches, instructions
end

local function ranked(scores)
  local list = {}
  for text, score in pairs(scores) do list[#list + 1] = { text = text, score = score } end
  table.sort(list, function(a, b)
    if a.score ~= b.score then return a.score > b.score end
    return a.text < b.text
  end)
  return list
end

local function choose(blocks, count)
  local scores = {}
  for _, block in ipairs(blocks) do
    local n = #block.items
    for _, options in ipairs(candidates(block)) do
      for _, option in ipairs(options) do scores[option.text] = (scores[option.text] or 0) + block.weight / n * option.saving end
    end
  end
  local order, chosen = ranked(scores), {}
  for i = 1, math.min(3 * count, #order) do chosen[order[i].text] = true end
  for round = 1, 6 do
    local used, dispatches, instructions = replay(blocks, chosen)
    io.stderr:write(("round %d: %.3f dispatches an instruction\n"):format(round, dispatches / instructions))
    local best = ranked(used)
    chosen = {}
    for i = 1, math.min(#best, round == 6 and count or math.floor(count * (1 + (6 - round) / 4))) do chosen[best[i].text] = true end
  end
  local used, dispatches, instructions = replay(blocks, chosen)
  io.stderr:write(("chosen: %.3f dispatches an instruction\n"):format(dispatches / instructions))
  return ranked(used)
end

-- -------------------------------------------------------------------------------------------------

local count = tonumber(arg[1]) or error "usage: train_fusion.lua COUNT MACHINE key=value ... [-- MACHINE ...]"
local by_key, i = {}, 2
while arg[i] do
  local name, parameters = arg[i], {}
  i = i + 1
  while arg[i] and arg[i] ~= "--" do
    local key, value = arg[i]:match "^([^=]+)=(.*)$"
    parameters[key] = value
    i = i + 1
  end
  i = i + 1
  local blocks = {}
  sample(name, parameters, blocks)
  local total = 0
  for _, block in pairs(blocks) do total = total + block.weight end
  local keys = {}
  for key in pairs(blocks) do keys[#keys + 1] = key end
  table.sort(keys)
  for _, key in ipairs(keys) do                          -- each run counts alike
    blocks[key].weight = blocks[key].weight / total
    by_key[#by_key + 1] = blocks[key]
  end
end
print "-- fusion: sequences that tier 0 runs as one, chosen by lua/tools/train_fusion.lua (docs/perf/2026-11-tier0.md)."
print "-- SPDX-License-Identifier: MIT"
print "-- \"slli add:10.1\": after the colon which earlier item made each source (0: none), after the dot whose result is overwritten."
print "return {"
for _, row in ipairs(choose(by_key, count)) do print(("  %q,"):format(row.text)) end
print "}"
