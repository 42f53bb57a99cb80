-- hook: what a hook costs on a hot instruction when its condition never holds, and what a hit costs.
-- SPDX-License-Identifier: MIT
local bench, machine, dev, fetch = require "umbra.bench", require "umbra.machine", require "devices", require "umbra.fetch"
local asm   = require "umbra.asm"
local build = bench.file "guest/build.lua"

local GUARD   = "a7 == 0x1234567"                 -- tier 0 decides it by itself
local GENERAL = "a7 + 1 == 0x1234567"             -- it does not

local function nothing() end

local function board(p)
  return machine.build(machine {
    engine = "t0",                                -- a hook keeps its page there: translated code beside it would be another comparison
    cpu  = { isa = "rv64gc_zicntr", mmu = "sv39" },
    ram  = { at = 0x80000000, size = "64M" },
    map  = { { name = "htif", dev.htif {} } },
    boot = { kernel = build.program(p.kernel, "bare", math.ceil(build.kernel(p.kernel).repeats / (p.quick and 10 or 2))) },
  })
end

-- Where a kernel spends its time. The jump of a dispatch loop is found by reading on from its function.
local PLACES = { fib = "fib", qsort = "by_value", sha256 = "kernel", bytecode = "kernel" }

local function place_of(m, kernel)
  local pc = m.symbols:address(PLACES[kernel])
  while kernel == "bytecode" do
    local a, b, c, d = m.mem:read(pc, 4):byte(1, 4)
    local text, length = m.hart:disassemble(a + b * 2^8 + c * 2^16 + d * 2^24, pc)
    if text:find "^c%.jr" then break end
    pc = pc + length
  end
  return pc
end

-- The instruction at which a kernel is found most often: of a short loop.
local function hottest(p)
  local m, seen, best = board(p), {}, nil
  for _ = 1, 300 do
    m:run { instructions = 9973 }
    local pc = m.hart:pc()
    seen[pc] = (seen[pc] or 0) + 1
    if not best or seen[pc] > seen[best] then best = pc end
  end
  m:close()
  return best
end

local function kernel(p)
  local m = board(p)
  if p.when then m:hook { pc = p.kernel == "matrix" and hottest(p) or place_of(m, p.kernel), when = p.when, call = nothing } end
  return m
end

local function linux(p)
  local guest = fetch.ensure "debian-riscv64"
  local m = machine.load("riscv-virt", { firmware = guest.firmware, kernel = guest.kernel, initrd = guest.initrd, append = "mode=off" })
  if p.when then m:hook { pc = "handle_exception", when = p.when, call = nothing } end
  return m
end

local LOOP = "la a1, data\nloop: addi a0, a0, 1\nsd a0, 0(a1)\nj loop\n.balign 4096\ndata: .dword 0"
local HITS = 1000

-- What hits once in the loop.
local HOOKS = {
  pc      = function(at) return { pc = at.loop, call = nothing } end,
  watched = function(at) return { pc = at.loop, call = function() for _ = 1, 1 do nothing() end end } end,
  write   = function(at) return { write = at.data, call = nothing } end,
  ["no pc"]    = function(at) return { pc = at.loop, when = GENERAL, call = nothing } end,
  ["no write"] = function(at) return { write = at.data, when = "value == 0", call = nothing } end,
  beside       = function(at) return { write = at.data + 8, call = nothing } end,
}

local function looping(p)
  local program = asm.assemble(LOOP, { at = 0x80000000 })
  local m = machine.build(machine { ram = { size = "1M" } })
  m.mem:write(0x80000000, program.bytes)
  m:hook(HOOKS[p.hook](program.symbols))
  return m
end

return bench {
  help = "hooks that never hit, and hits",
  bench.guest {
    name = "never", help = "a condition on a hot instruction", needs = { build.compiler_program }, machine = kernel, samples = 20,
    params = { kernel = { "fib", "qsort", "bytecode", "matrix" } },
    sides = { { "guarded", when = GUARD }, { "plain" }, { "general", when = GENERAL } },
  },
  bench.guest {
    name = "linux", help = "a condition on the kernel's trap entry", machine = linux, samples = 20, to = "BOOT-OK",
    sides = { { "guarded", when = GUARD }, { "plain" } },
  },
  bench.component {
    name = "hit", help = "a loop of three instructions with one event; `no` conditions are false, `beside` is in the same page",
    unit = "event", per = HITS, params = { hook = { "pc", "watched", "write", "no pc", "no write", "beside" } },
    setup = looping, routine = function(m) return m:run { instructions = 3 * HITS } end, teardown = function(m) m:close() end,
  },
}
