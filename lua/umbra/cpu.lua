-- cpu: harts: what runs guest instructions.
--
-- A hart needs memory, a clock and a control (the machine makes all of them, or a script by hand):
--
--   local hart = cpu.new { mem = mem, clock = clock, control = control, isa = "rv64gc", reset_pc = 0x80000000 }
--   local exit = hart:run(1000000)
-- SPDX-License-Identifier: MIT
local bit     = require "bit"
local ffi     = require "ffi"
local address = require "umbra.address"
local bits    = require "umbra.bits"
local clib    = require "umbra.clib"
local engine  = require "umbra.cpu.engine"
local fault   = require "umbra.fault"
local handle  = require "umbra.handle"
local isa     = require "umbra.cpu.isa"
local schema  = require "umbra.schema"

local C = clib.C

local cpu = { extensions = isa.extensions, parse_isa = isa.parse_isa, isa_mask = isa.isa_mask }
local Hart = { noun = "hart" }
Hart.__index = Hart

local EVER = 2^63                                 -- a budget that is never reached
local HIGH = 2^32

cpu.OPTIONS = {
  { "isa", type = "string", default = "rv64gc", help = "instruction set, like rv64gc_zba_zbb" },
  { "mmu", type = "enum", values = { "none", "sv39", "sv48", "sv57" }, default = "sv48", help = "widest address translation" },
  { "modes", type = "enum", values = { "m", "mu", "msu" }, default = "msu", help = "privilege modes: machine, supervisor, user" },
  { "tlb", type = "table", default = {}, help = "{ entries = 512 }" },
  { "pmp", type = "enum", values = { 0, 16 }, default = 16, help = "entries of physical memory protection" },
  { "misaligned", type = "enum", values = { "fast", "trap" }, default = "fast", help = "misaligned loads and stores are done, or trap" },
  { "fuse", type = "boolean", default = true, help = "run frequent pairs of instructions as one" },
  { "semihosting", type = "boolean", default = false, help = "let the guest exit and print through semihosting calls" },
}

local TLB = { { "entries", type = "integer", default = 512, min = 16, max = 65536, power_of_two = true, help = "a kind and context" } }
local LEVELS = { none = 0, sv39 = 3, sv48 = 4, sv57 = 5 }

local OWN = {
  { "mem", type = "table", required = true }, { "clock", type = "table", required = true }, { "control", type = "table", required = true },
  { "hartid", type = "integer", default = 0, min = 0 }, { "reset_pc", type = "address", default = 0 }, engine.ROWS[1], engine.ROWS[2],
}

local REASONS = {
  [C.UM_EXIT_BUDGET] = "budget", [C.UM_EXIT_TIME] = "time", [C.UM_EXIT_HALT] = "halt", [C.UM_EXIT_ATTENTION] = "attention",
  [C.UM_EXIT_STOP] = "stop", [C.UM_EXIT_STEP] = "step", [C.UM_EXIT_HOOK] = "hook",
}

local ABI = {}                                    -- register name -> number
for i, name in ipairs { "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7",
  "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6" } do
  ABI[name], ABI["x" .. i - 1] = i - 1, i - 1
end
ABI.fp = ABI.s0
cpu.registers = ABI

local FABI = {}
for i, name in ipairs { "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "fs0", "fs1", "fa0", "fa1", "fa2", "fa3", "fa4", "fa5",
  "fa6", "fa7", "fs2", "fs3", "fs4", "fs5", "fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "ft8", "ft9", "ft10", "ft11" } do
  FABI[name], FABI["f" .. i - 1] = i - 1, i - 1
end
cpu.float_registers = FABI

cpu.EXCEPTIONS = {
  [0] = "fetch misaligned", [1] = "fetch access", [2] = "illegal instruction", [3] = "breakpoint", [4] = "load misaligned",
  [5] = "load access", [6] = "store misaligned", [7] = "store access", [8] = "ecall from user", [9] = "ecall from supervisor",
  [11] = "ecall from machine", [12] = "fetch page fault", [13] = "load page fault", [15] = "store page fault",
}
cpu.INTERRUPTS = {
  [1] = "supervisor software", [3] = "machine software", [5] = "supervisor timer", [7] = "machine timer", [9] = "supervisor external",
  [11] = "machine external",
}

local MIP = { msip = 3, mtip = 7, seip = 9, meip = 11 }
local PRIVILEGES = { [0] = "user", [1] = "supervisor", [3] = "machine" }

-- IR -----------------------------------------------------------------------------------------------------------------------

local guest

-- The guest of RISC-V blocks (umbra.ir): slots x and f, and what the descriptions leave to C. Its state is a hart.
function cpu.guest()
  guest = guest or require("umbra.ir").wrap_guest(ffi.cast("um_ir_guest *", C.um_riscv_guest()))
  return guest
end

local LIFT = {
  { "isa", type = "string", default = "rv64gc", help = "instruction set" },
  { "fp_ready", type = "boolean", default = false, help = "take for granted that FS is Dirty and frm a rounding mode" },
}

-- The IR of the instructions in `bytes` (a string), up to the first that ends a block; and how many they are.
function cpu.lift(bytes, options)
  if type(bytes) ~= "string" then fault.raise("cpu.lift takes a string of instructions, not %s", schema.show(bytes)) end
  options = schema.check(options or {}, LIFT, "lift")
  local block, why, mask = require("umbra.ir").new(cpu.guest()), ffi.new "struct um_fault", cpu.isa_mask(options.isa)
  if options.fp_ready then mask = bit.bor(mask, bit.lshift(1ULL, 63)) end
  return block, fault.check(C.um_riscv_lift(block.ptr, bytes, #bytes, mask, why), why)
end

-- Which registers of RISC-V live in registers of the host: those that compilers use most (the register numbers of compressed code).
local PINS = {
  { "x", 2, "rbx" }, { "x", 8, "r12" }, { "x", 10, "rdi" }, { "x", 11, "rsi" }, { "x", 12, "r8" }, { "x", 13, "r9" }, { "x", 14, "r10" }, { "x", 15, "r11" },
  { "f", 8, "xmm5" }, { "f", 9, "xmm6" }, { "f", 10, "xmm7" }, { "f", 11, "xmm8" }, { "f", 12, "xmm9" }, { "f", 13, "xmm10" }, { "f", 14, "xmm11" },
  { "f", 15, "xmm12" },
}

-- A jit for blocks of RISC-V: options of jit.new but the guest; its code runs by hart:run_code. `window`: what cpu.user made, for code
-- that runs there.
function cpu.jit(options)
  local given = { pins = PINS }
  for key, value in pairs(options or {}) do given[key] = value end
  given.guest, given.window = cpu.guest(), nil
  local window = options and options.window and handle.pointer(options.window, "cpu.user", "cpu.jit: window")
  local made = require("umbra.jit").new(given)
  if window then C.um_riscv_prepare_window(made.ptr, window) else C.um_riscv_prepare(made.ptr) end
  return made
end

-- A hart -------------------------------------------------------------------------------------------------------------------

-- Options of a machine's `cpu` table (without `harts`), checked in full: the ISA string too.
function cpu.check(options, where)
  options = schema.check(options, cpu.OPTIONS, where)
  options.tlb = schema.check(options.tlb, TLB, (where or "cpu") .. ".tlb")
  options.extensions = cpu.parse_isa(options.isa)
  return options
end

function cpu.new(options)
  if type(options) ~= "table" then fault.raise("cpu.new takes a table, not %s", schema.show(options)) end
  local own, rest = {}, {}
  for key, value in pairs(options) do rest[key] = value end
  for _, row in ipairs(OWN) do own[row[1]], rest[row[1]] = rest[row[1]], nil end
  own = schema.check(own, OWN, "cpu")
  own.jit = engine.check_jit(own.jit, "cpu.jit")
  rest = cpu.check(rest, "cpu")
  local o, why = ffi.new "struct um_hart_options", ffi.new "struct um_fault"
  o.extensions, o.hartid, o.reset_pc = cpu.isa_mask(rest.isa, rest.modes), own.hartid, bits.u64(own.reset_pc)
  o.tlb_entries, o.paging_levels, o.pmp_entries = rest.tlb.entries, LEVELS[rest.mmu], rest.pmp
  o.engine, o.threshold, o.code_bytes = engine.choose(own)
  o.misaligned_trap, o.fuse, o.semihosting = rest.misaligned == "trap", rest.fuse, rest.semihosting
  local ptr = C.um_hart_new(handle.pointer(own.mem, "mem", "cpu.mem"), handle.pointer(own.clock, "clock", "cpu.clock"),
    handle.pointer(own.control, "control", "cpu.control"), o, why)
  if ptr == nil then fault.raise("cpu: %s", ffi.string(why.text)) end
  local self = handle.new(Hart, ptr, C.um_hart_free, {
    lines = {},
    own = own, why = why, exit = ffi.new "struct um_exit", isa = rest.isa, extensions = rest.extensions, mmu = rest.modes == "msu" and rest.mmu or "none",
  })
  -- A hart needs its memory, clock and control (own) to the end and lets go of them when it is freed. Finalizers run in any order,
  -- so it has none: forgotten, it leaks.
  ffi.gc(ptr, nil)
  self.family = { self }
  local notice = ffi.string(C.um_hart_notice(ptr))
  if notice ~= "" then io.stderr:write("umbra: ", notice, "\n") end
  return self
end

-- The hart's pointer, and proof that what it leans on is still there.
local function whole(self)
  local own = self.own
  return own.mem.ptr and own.clock.ptr and own.control.ptr and self.ptr
end

-- Another hart beside the first one: they share what cpu.new was told, run by turns in the first one's run, and are closed in
-- reverse order, before it. At most 8 in all.
function Hart:add(hartid)
  local ptr = C.um_hart_add(whole(self), address.count(hartid, "hartid", 0, 2^53), self.why)
  if ptr == nil then fault.raise("cpu: %s", ffi.string(self.why.text)) end
  local other = handle.new(Hart, ptr, C.um_hart_free, {
    lines = {}, family = self.family,
    own = self.own, first = self, why = self.why, exit = self.exit, isa = self.isa, extensions = self.extensions, mmu = self.mmu,
  })
  ffi.gc(ptr, nil)
  table.insert(self.family, other)
  return other
end

function Hart:check(status) return fault.check(status, self.why) end

-- Runs at most `budget` instructions (default: no limit) and `seconds` of host time (default: no limit). Returns why it came
-- back: "budget", "time", "halt", "attention", "stop", "step" or "hook"; and how many instructions were executed. Harts that were added run too;
-- hart.exit.hart is the place (from 0) of the one the reason is about.
function Hart:run(budget, seconds)
  if self.first then fault.raise "hart:run: harts that were added run with the first one" end
  for _, limit in ipairs { budget or 0, seconds or 0 } do
    if type(limit) ~= "number" or limit ~= limit or limit < 0 then
      fault.raise("hart:run takes instructions and seconds, numbers from 0 on, not %s", schema.show(limit))
    end
  end
  local ptr = whole(self)
  if self.bus then return self.bus:run(budget, seconds) end       -- which serves hooks and devices in Lua
  local ns = seconds and math.min(seconds * 1e9, EVER) or EVER
  C.um_hart_run(ptr, budget and math.min(budget, EVER) or EVER, ns, self.exit)
  return REASONS[self.exit.reason], tonumber(self.exit.executed)
end

function Hart:reset() C.um_hart_reset(whole(self)) end

-- Whether this hart and those added to it sleep, with no timer to wake one: only the host can.
function Hart:idle() return C.um_hart_idle(whole(self)) end

-- The declared state: { name =, size =, count =, bytes = } a row, `count` elements of `size` bytes.
function Hart:state()
  local rows, row = {}, ffi.new "struct um_hart_state"
  while C.um_hart_state(self.ptr, #rows, row, self.why) >= 0 do
    local size, index = row.size * row.count, #rows
    local to = ffi.new("uint8_t[?]", size)
    self:check(C.um_hart_state_read(self.ptr, index, to, size, self.why))
    rows[index + 1] = { name = ffi.string(row.name), size = row.size, count = row.count, bytes = ffi.string(to, size) }
  end
  return rows
end

local function index_of(names, name, what)
  if type(name) == "number" and name >= 0 and name < 32 and name % 1 == 0 then return name end
  local index = names[name]
  if index then return index end
  fault.raise("unknown %s %s", what, schema.show(name))
end

local function value_of(value)
  if bits.is_integer(value) then return bits.u64(value) end
  fault.raise("a register holds 64-bit integers, not %s", schema.show(value))
end

-- Integer registers, by name ("a0", "x10") or number. Values as umbra.bits describes.
function Hart:reg(name) return bits.number(C.um_hart_reg(self.ptr, index_of(ABI, name, "register"))) end
function Hart:set_reg(name, value) C.um_hart_set_reg(self.ptr, index_of(ABI, name, "register"), value_of(value)) end

-- Floating-point registers as raw bits, by name ("fa0", "f10") or number.
function Hart:freg(name) return bits.number(C.um_hart_freg(self.ptr, index_of(FABI, name, "floating-point register"))) end
function Hart:set_freg(name, value) C.um_hart_set_freg(self.ptr, index_of(FABI, name, "floating-point register"), value_of(value)) end

function Hart:pc() return bits.number(C.um_hart_pc(self.ptr)) end
function Hart:set_pc(value) C.um_hart_set_pc(self.ptr, value_of(value)) end
local PRIVILEGE_NUMBERS = { user = 0, supervisor = 1, machine = 3 }

function Hart:set_privilege(name)
  local number = PRIVILEGE_NUMBERS[name] or fault.raise('a privilege is "user", "supervisor" or "machine", not %s', schema.show(name))
  self:check(C.um_hart_set_priv(whole(self), number, self.why))
end

function Hart:privilege() return PRIVILEGES[C.um_hart_priv(self.ptr)] end      -- "user", "supervisor" or "machine"

local csr_numbers                                 -- name -> number, made at first use

-- The number of the CSR called `name`, or nil.
function cpu.csr_number(name)
  if not csr_numbers then
    csr_numbers = {}
    for number = 0, 4095 do
      local text = C.um_riscv_csr_name(number)
      if text ~= nil then csr_numbers[ffi.string(text)] = number end
    end
  end
  return csr_numbers[name]
end

local function csr_number(name)
  if type(name) == "number" and name >= 0 and name < 4096 and name % 1 == 0 then return name end
  local known = cpu.csr_number(name)
  if known then return known end
  local names = {}
  for each in pairs(csr_numbers) do names[#names + 1] = each end
  table.sort(names)
  local near = type(name) == "string" and schema.nearest(name, names)
  fault.raise("unknown CSR %s%s", schema.show(name), near and (", did you mean `%s`?"):format(near) or "")
end

-- Runs `count` instructions (or exceptions they raise) by evaluating their IR, which is slow and what faster ways are compared with.
-- Time stands still meanwhile and stops are not looked at. Returns how many: fewer when the hart waits in wfi.
function Hart:evaluate(count)
  local done = ffi.new "uint64_t[1]"
  self:check(C.um_hart_evaluate(whole(self), address.count(count, "count", 0, 2^53), done, self.why))
  return tonumber(done[0])
end

-- Runs `code`, a block that a jit of cpu.guest() translated, on the hart, whatever its pc is. Returns how the block was left, as
-- block:eval has it; the hart is behind it, or in the trap that it took.
function Hart:run_code(code)
  local exit = ffi.new "struct um_ir_exit"
  self:check(C.um_hart_run_code(whole(self), handle.pointer(code.jit, "jit", "code"), code.number, exit, self.why))
  return require("umbra.ir").left(exit)
end

-- Control and status registers, by name ("mstatus") or number, as machine mode sees them.
function Hart:csr(name)
  local value = ffi.new "uint64_t[1]"
  self:check(C.um_hart_csr(whole(self), csr_number(name), value, self.why))
  return bits.number(value[0])
end

function Hart:set_csr(name, value)
  self:check(C.um_hart_set_csr(whole(self), csr_number(name), value_of(value), self.why))
end

-- Memory at guest-virtual addresses, as a load would see it now.
function Hart:read(gva, size)
  gva = address.check(gva, "gva")
  local buffer = ffi.new("uint8_t[?]", math.max(address.count(size, "size", 0, 2^31 - 1), 1))
  self:check(C.um_hart_read(whole(self), gva, buffer, size, self.why))
  return ffi.string(buffer, size)
end

function Hart:write(gva, bytes)
  if type(bytes) ~= "string" then fault.raise("`bytes` must be a string, not %s", schema.show(bytes)) end
  self:check(C.um_hart_write(whole(self), address.check(gva, "gva"), bytes, #bytes, self.why))
end

local ACCESS = { r = 0, w = 1, x = 2 }

-- The guest-physical address of `gva` for "r", "w" or "x"; raises where it does not translate.
function Hart:translate(gva, access)
  local gpa = ffi.new "uint64_t[1]"
  local kind = ACCESS[access or "r"] or fault.raise("access must be \"r\", \"w\" or \"x\", not %s", schema.show(access))
  self:check(C.um_hart_translate(whole(self), address.check(gva, "gva"), kind, gpa, self.why))
  return bits.number(gpa[0])
end

-- The line (umbra.irq; within the toolkit a um_irq) drives a bit of mip: "msip", "mtip", "seip" or "meip".
function Hart:connect(line, bit_name)
  local number = MIP[bit_name] or fault.raise('a line drives "msip", "mtip", "seip" or "meip", not %s', schema.show(bit_name))
  local ptr = type(line) == "table" and line.ptr or line
  if not ffi.istype("um_irq *", ptr) then fault.raise("`line` must be what umbra.irq makes, not %s", schema.show(line)) end
  if type(line) == "table" then self.lines[#self.lines + 1] = line end
  self:check(C.um_hart_connect(self.ptr, ptr, number, self.why))
end

-- From now on a run stops before the instruction at `pc` (on == false: no longer).
function Hart:stop_at(pc, on)
  self:check(C.um_hart_stop_at(whole(self), address.check(pc, "pc"), on ~= false, self.why))
end

local PACE = {
  { "step", type = "boolean", default = false, help = "a run ends with \"step\" after its next instruction, done or trapped" },
  { "interrupts", type = "boolean", default = true, help = "false: one that is due does not come before that instruction" },
  { "hold", type = "boolean", default = false, help = "it stands still while others run" },
}

-- How the hart takes its turns from now on: hart:pace { step, interrupts, hold }; hart:pace {} runs freely again.
function Hart:pace(options)
  options = schema.check(options, PACE, "pace")
  local pace = (options.step and C.UM_PACE_STEP or 0) + (options.interrupts and 0 or C.UM_PACE_MASKED) + (options.hold and C.UM_PACE_HELD or 0)
  C.um_hart_pace(whole(self), pace)
end

local STEP = {
  { "interrupts", type = "boolean", default = true, help = "whether one that is due comes first" },
  { "others", type = "boolean", default = false, help = "other harts run on while it is not this one's turn" },
  { "seconds", type = "number", default = 1, min = 0, help = "host time to wait for a hart that sleeps" },
}

-- Runs one instruction of this hart, done or trapped, while the others stand still. Returns "step"; or what else ended it: "time"
-- (it sleeps), "stop", "halt", "attention". Devices written in Lua are served as in m:run.
function Hart:step(options)
  options = schema.check(options or {}, STEP, "step")
  local first = self.first or self
  for _, hart in ipairs(self.family) do hart:pace { hold = hart ~= self and not options.others } end
  self:pace { step = true, interrupts = options.interrupts }
  local ok, reason = pcall(function() return (first.bus or first):run(nil, options.seconds) end)
  for _, hart in ipairs(self.family) do hart:pace {} end
  if not ok then error(reason, 0) end
  return reason
end

local function by_cause(counts, names)
  local list = {}
  for cause = 0, 31 do
    local count = tonumber(counts[cause])
    if count > 0 then list[names[cause] or "cause " .. cause] = count end
  end
  return list
end

-- What happened so far, as a tree of numbers. Traps are listed by cause, those that never came left out.
function Hart:counters()
  local counts = ffi.new "struct um_hart_counts"
  C.um_hart_counts(self.ptr, counts)
  local misses = { read = tonumber(counts.tlb_misses[0]), write = tonumber(counts.tlb_misses[1]), execute = tonumber(counts.tlb_misses[2]) }
  local translated = self:translations()
  local accesses = not (translated and translated.executed > 0) and tonumber(counts.accesses) or nil      -- translated code does not count them
  return {
    instructions = tonumber(counts.instructions),
    accesses     = accesses,
    tlb          = {
      hits    = accesses and math.max(accesses - misses.read - misses.write, 0),
      misses  = misses,
      fills   = tonumber(counts.tlb_fills),
      flushes = tonumber(counts.tlb_flushes),
    },
    walks        = tonumber(counts.walks),
    walk_steps   = tonumber(counts.walk_steps),
    blocks       = {
      alive = tonumber(counts.blocks), bytes = tonumber(counts.block_bytes), decoded = tonumber(counts.decoded),
      invalidated = tonumber(counts.invalidated),
    },
    exceptions   = by_cause(counts.exceptions, cpu.EXCEPTIONS),
    interrupts   = by_cause(counts.interrupts, cpu.INTERRUPTS),
    mmio         = tonumber(counts.mmio),
    idle_ns      = tonumber(counts.idle_ns),
  }
end

local function add(to, from)
  for key, value in pairs(from) do                -- sums: any order will do
    if type(value) == "table" then
      to[key] = to[key] or {}
      add(to[key], value)
    else
      to[key] = (to[key] or 0) + value
    end
  end
end

-- The counters of several harts, added up. Decoded blocks are one set, which the harts of a machine share.
function cpu.sum_counters(list)
  local sum = {}
  for _, counts in ipairs(list) do add(sum, counts) end
  sum.blocks = {}
  add(sum.blocks, list[1].blocks)
  return sum
end

local TRANSLATED = { "blocks", "instructions", "bytes", "alive", "used", "size", "links", "entries", "executed", "punts", "refused", "flushes", "differences",
  "ns" }

-- What was translated, of all harts that share it (docs/tier1.md); nil where nothing is.
function Hart:translations()
  local counts, result = ffi.new "struct um_translations", {}
  if not C.um_hart_translations(whole(self), counts) then return nil end
  for _, name in ipairs(TRANSLATED) do result[name] = tonumber(counts[name]) end
  result.slowest = { ns = tonumber(counts.slowest_ns), pc = bits.number(counts.slowest_pc) }
  result.backing = counts.backing == C.UM_CODE_DUAL and "dual" or "private"
  return result
end

-- The block that is translated for `pc`: its IR; its host code, a string; where in that its instructions begin, and what comes behind
-- them, from index 0; how many they are. Refused where there is none.
function Hart:translated(pc)
  local block, most = require("umbra.ir").new(cpu.guest()), 2 ^ 17
  local to, marks, insns = ffi.new("uint8_t[?]", most), ffi.new "uint32_t[65]", ffi.new "uint32_t[1]"
  local size = tonumber(C.um_hart_translated(whole(self), bits.u64(address.check(pc, "pc")), block.ptr, to, most, marks, insns, self.why))
  if size < 0 then block:close() end
  self:check(size)
  return block, ffi.string(to, size), marks, insns[0]
end

local ABI_NAMES = {}
for name, number in pairs(ABI) do                 -- each number has one name that is no x and no fp
  if not name:find "^x%d" and name ~= "fp" then ABI_NAMES[number] = name end
end

-- Registers and what it is, for people.
function Hart:describe()
  local id = self:csr "mhartid"
  local lines = { ("hart %s: %s, mmu %s; %s mode, pc %s, %.0f instructions"):format(tostring(id), self.isa, self.mmu, self:privilege(), bits.hex(self:pc()),
    self:counters().instructions) }
  for row = 0, 7 do
    local cells = {}
    for column = 0, 3 do
      local number = row + 8 * column
      cells[column + 1] = ("%-4s %18s"):format(ABI_NAMES[number], bits.hex(self:reg(number)))
    end
    lines[#lines + 1] = "  " .. table.concat(cells, "   ")
  end
  for _, names in ipairs { "mstatus mie mip mtvec mepc mcause mtval", "sstatus sie sip stvec sepc scause stval satp" } do
    local cells = {}
    for name in names:gmatch "%S+" do
      local ok, value = pcall(self.csr, self, name)
      if ok then cells[#cells + 1] = name .. " " .. bits.hex(value) end
    end
    if cells[1] then lines[#lines + 1] = "  " .. table.concat(cells, "  ") end
  end
  return table.concat(lines, "\n")
end

-- "addi a0,a0,1" for the instruction in `word` at `pc` (default 0), and its length in bytes; nil when it is none.
function Hart:disassemble(word, pc)
  address.count(word, "word", 0, HIGH - 1)
  local text = ffi.new "char[128]"
  local length = C.um_riscv_disassemble(word, address.check(pc or 0, "pc"), cpu.isa_mask(self.isa), text, 128)
  if length > 0 then return ffi.string(text), length end
end

-- A hart in user mode with memory of its own, as processes have it: registers as a hart's, pages by user:map, code by user:run_code.
local User = { noun = "cpu.user" }
User.__index = User
for _, name in ipairs { "reg", "set_reg", "freg", "set_freg", "pc", "set_pc", "check" } do User[name] = Hart[name] end

-- cpu.user { isa = "rv64gc" }
function cpu.user(options)
  options = schema.check(options or {}, { { "isa", type = "string", default = "rv64gc", help = "the ISA string" } }, "cpu.user")
  local why = ffi.new "struct um_fault"
  local ptr = C.um_hart_user(cpu.isa_mask(options.isa, "msu"), why)
  if ptr == nil then fault.raise("cpu.user: %s", ffi.string(why.text)) end
  return handle.new(User, ptr, C.um_hart_user_free, { why = why })
end

User.close = handle.close

-- Fresh pages of zeros, that may be read, and written unless `readonly`. Returns where they lie, as a uint8_t pointer.
function User:map(gva, size, readonly)
  local at = C.um_hart_user_map(self.ptr, address.check(gva, "gva"), address.check(size, "size"), not readonly, self.why)
  if at == nil then fault.raise("user:map: %s", ffi.string(self.why.text)) end
  return ffi.cast("uint8_t *", at)
end

-- Floating-point flags and rounding mode, "fflags" and "frm".
function User:csr(name)
  local value = ffi.new "uint64_t[1]"
  self:check(C.um_hart_csr(self.ptr, csr_number(name), value, self.why))
  return bits.number(value[0])
end

function User:set_csr(name, value) self:check(C.um_hart_set_csr(self.ptr, csr_number(name), value_of(value), self.why)) end

-- As hart:run_code; a fault leaves pc at its instruction and comes with its cause and value.
function User:run_code(code)
  local exit = ffi.new "struct um_ir_exit"
  self:check(C.um_hart_run_code(self.ptr, handle.pointer(code.jit, "jit", "code"), code.number, exit, self.why))
  local left = require("umbra.ir").left(exit)
  if left.reason == "fault" then left.cause, left.value = bits.number(exit.cause), bits.number(exit.value) end
  return left
end

-- Lines that outlive the hart drive nothing from now on.
function Hart:close()
  local family = self.family
  if family[#family] ~= self then fault.raise "harts are closed in reverse order: one that was added comes first" end
  for _, line in ipairs(self.lines) do
    local ptr = rawget(line, "ptr")               -- nil: closed
    if ptr then C.um_hart_disconnect(whole(self), ptr) end
  end
  local _ = whole(self)
  family[#family] = nil
  handle.close(self)
end

return cpu
