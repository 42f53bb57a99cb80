-- gdb.target: what gdb sees of a hart: its registers with their description, and memory by way of its page tables.
--
-- Registers are numbered as this file lists them; gdb learns the numbers from the description (target.xml).
-- SPDX-License-Identifier: MIT
local bit    = require "bit"
local ffi    = require "ffi"
local bits   = require "umbra.bits"
local clib   = require "umbra.clib"
local packet = require "umbra.gdb.packet"

local C = clib.C

local target = {}

local NAMES = { "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "fp", "s1", "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7",
  "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6" }
local FNAMES = { "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "fs0", "fs1", "fa0", "fa1", "fa2", "fa3", "fa4", "fa5",
  "fa6", "fa7", "fs2", "fs3", "fs4", "fs5", "fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "ft8", "ft9", "ft10", "ft11" }
local POINTERS = { ra = "code_ptr", pc = "code_ptr", sp = "data_ptr", gp = "data_ptr", tp = "data_ptr", fp = "data_ptr" }
local PRIVILEGES = { [0] = "user", [1] = "supervisor", [3] = "machine" }

target.GENERAL = 33                               -- x0 to x31 and pc: what a `g` packet holds

-- Registers ----------------------------------------------------------------------------------------------------------------

local function has_extension(hart, name)
  for _, has in ipairs(hart.extensions) do if has == name then return true end end
  return false
end

local function add_general(list)
  for i, name in ipairs(NAMES) do
    list[i] = { feature = "cpu", name = name, type = POINTERS[name] or "int",
      read = function(hart) return hart:reg(i - 1) end, write = function(hart, value) hart:set_reg(i - 1, value) end }
  end
  list[33] = { feature = "cpu", name = "pc", type = POINTERS.pc,
    read = function(hart) return hart:pc() end, write = function(hart, value) hart:set_pc(value) end }
end

local function add_float(list, double)
  for i, name in ipairs(FNAMES) do
    list[#list + 1] = { feature = "fpu", name = name, type = double and "riscv_double" or "ieee_single", bits = double and 64 or 32,
      read = function(hart) return hart:freg(i - 1) end,
      write = function(hart, value) hart:set_freg(i - 1, double and value or bit.bor(bits.u64(value), 0xffffffff00000000ULL)) end }
  end
end

-- fflags, frm and fcsr belong to the floating-point registers.
local function add_csrs(list, hart, low, high, feature)
  for number = low, high do
    local name = C.um_riscv_csr_name(number)
    if name ~= nil and pcall(hart.csr, hart, number) then
      list[#list + 1] = { feature = feature, name = ffi.string(name), type = "int", bits = feature == "fpu" and 32 or 64,
        read = function(at) return at:csr(number) end, write = function(at, value) at:set_csr(number, value) end }
    end
  end
end

-- The registers of a hart, from 1 on; gdb counts from 0. A row: { feature, name, type, bits, read(hart), write(hart, value) }.
function target.registers(hart)
  local list = {}
  add_general(list)
  if has_extension(hart, "f") then
    add_float(list, has_extension(hart, "d"))
    add_csrs(list, hart, 1, 3, "fpu")
  end
  add_csrs(list, hart, 4, 4095, "csr")
  list[#list + 1] = { feature = "virtual", name = "priv", type = "int",
    read = function(at) return C.um_hart_priv(at.ptr) end,
    write = function(at, value) at:set_privilege(PRIVILEGES[value]) end }
  return list
end

local FEATURES = { "cpu", "fpu", "csr", "virtual" }
local DOUBLE = '<union id="riscv_double"><field name="float" type="ieee_single"/><field name="double" type="ieee_double"/></union>'

-- The description of `registers` as gdb reads it.
function target.describe(registers)
  local lines = { '<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd">', '<target version="1.0"><architecture>riscv:rv64</architecture>' }
  for _, feature in ipairs(FEATURES) do
    local rows = {}
    for i, row in ipairs(registers) do
      if row.feature == feature then
        rows[#rows + 1] = ('<reg name="%s" bitsize="%d" regnum="%d" type="%s"/>'):format(row.name, row.bits or 64, i - 1, row.type)
      end
    end
    if #rows > 0 then
      lines[#lines + 1] = ('<feature name="org.gnu.gdb.riscv.%s">%s'):format(feature, feature == "fpu" and DOUBLE or "")
      lines[#lines + 1] = table.concat(rows, "\n") .. "</feature>"
    end
  end
  lines[#lines + 1] = "</target>"
  return table.concat(lines, "\n")
end

-- The value of a register row as hexadecimal digits, least byte first.
function target.read(row, hart)
  local value = ffi.new("uint64_t[1]", bits.u64(row.read(hart)))
  return packet.hex(ffi.string(value, (row.bits or 64) / 8))
end

-- Sets a register from such digits. False: it takes no such value.
function target.write(row, hart, hex)
  local bytes = packet.bytes(hex)
  if not bytes or #bytes ~= (row.bits or 64) / 8 then return false end
  local value = ffi.new "uint64_t[1]"
  ffi.copy(value, bytes, #bytes)
  return (pcall(row.write, hart, bits.number(value[0])))
end

-- Memory -------------------------------------------------------------------------------------------------------------------

local PAGE = 4096
local LEVELS = { [8] = 3, [9] = 4, [10] = 5 }     -- by the mode of satp
local PTE_V, PTE_LEAF, NAPOT = 1, 2 + 8, 0x8000000000000000ULL
local PPN = 0xfffffffffffULL

local function entry_at(m, gpa)
  local ok, bytes = pcall(m.mem.read, m.mem, gpa, 8)
  return ok and ffi.cast("const uint64_t *", bytes)[0] or 0ULL
end

-- Where the page tables of `hart` put `gva`, whatever they allow: a debugger looks at pages that nobody has touched yet, and at
-- those of a user while the kernel runs. nil where they have nothing.
local function walk(m, hart, gva)
  local satp = bits.u64(hart:csr "satp")
  local levels = LEVELS[tonumber(bit.rshift(satp, 60))]
  if not levels then return gva end
  local unused = 64 - (12 + 9 * levels)
  if bit.arshift(bit.lshift(gva, unused), unused) ~= gva then return end
  local table_at = bit.lshift(bit.band(satp, PPN), 12)
  for level = levels - 1, 0, -1 do
    local low = 12 + 9 * level
    local pte = entry_at(m, table_at + 8 * bit.band(bit.rshift(gva, low), 511))
    if bit.band(pte, PTE_V) == 0 then return end
    local page = bit.lshift(bit.band(bit.rshift(pte, 10), PPN), 12)
    if bit.band(pte, PTE_LEAF) ~= 0 then
      if bit.band(pte, NAPOT) ~= 0 then low = 16 end
      local offset = bit.lshift(1ULL, low) - 1
      return bit.bor(bit.band(page, bit.bnot(offset)), bit.band(gva, offset))
    end
    table_at = page
  end
end

local function is_memory(m, gpa) return (pcall(m.mem.read, m.mem, gpa, 1)) end

-- The physical address of `gva` for `hart`. Machine mode sees physical memory; where there is none, what the page tables below say.
local function place(m, hart, gva)
  local machine = C.um_hart_priv(hart.ptr) == 3
  if machine and is_memory(m, gva) then return gva end
  if not pcall(hart.csr, hart, "satp") then return gva end
  return walk(m, hart, gva)
end

-- Calls each(gpa, offset, size) for the pieces of a range that lie in one page, until one returns false; returns the bytes before it.
local function pieces(m, hart, gva, size, physical, each)
  local done = 0
  while done < size do
    local at = gva + done
    local part = math.min(size - done, PAGE - tonumber(bit.band(at, PAGE - 1)))
    local gpa = physical and at or place(m, hart, at)
    if not gpa or not each(gpa, done, part) then break end
    done = done + part
  end
  return done
end

-- At most `size` bytes at `gva` (uint64_t) as `hart` sees memory now, fewer where it ends. Devices are left alone: they have no bytes.
function target.peek(m, hart, gva, size, physical)
  local list = {}
  pieces(m, hart, gva, size, physical, function(gpa, _, part)
    local ok, bytes = pcall(m.mem.read, m.mem, gpa, part)
    if ok then list[#list + 1] = bytes end
    return ok
  end)
  return table.concat(list)
end

-- Writes all of `bytes`, or nothing and returns false.
function target.poke(m, hart, gva, bytes, physical)
  local function try(write)
    return pieces(m, hart, gva, #bytes, physical, function(gpa, offset, part)
      if write then return (pcall(m.mem.write, m.mem, gpa, bytes:sub(offset + 1, offset + part))) end
      return is_memory(m, gpa) and is_memory(m, gpa + part - 1)
    end) == #bytes
  end
  return try(false) and try(true)
end

return target
