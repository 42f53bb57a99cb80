-- registers: names of registers, CSRs, rounding modes and fence sets.
-- SPDX-License-Identifier: MIT
local ffi  = require "ffi"
local clib = require "umbra.clib"
local description = require "umbra.asm.description"

local registers = {}

local known = {}                                     -- name -> { file, number }
registers.NAMES = { x = {}, f = {} }

for _, file in ipairs { "x", "f" } do                -- those of the description's register files, and x0 and f0 on
  for name in description.files[file].names:gmatch "%S+" do
    local row = { file, #registers.NAMES[file] }
    known[name], known[file .. row[2]] = row, row
    table.insert(registers.NAMES[file], name)
  end
end
known.fp = known.s0

-- "x" or "f" and the number of the register called `name`; nil when there is none.
function registers.find(name)
  local row = known[name]
  if row then return row[1], row[2] end
end

local csrs, csr_names

local function list_csrs()
  csrs, csr_names = {}, {}
  for n = 0, 4095 do
    local text = clib.C.um_riscv_csr_name(n)
    if text ~= nil then
      local name = ffi.string(text)
      csrs[name] = n
      csr_names[#csr_names + 1] = name
    end
  end
end

-- The number of the CSR called `name`, or nil; and the names of all.
function registers.csr(name)
  if not csrs then list_csrs() end
  return csrs[name], csr_names
end

local ROUNDING = { rne = 0, rtz = 1, rdn = 2, rup = 3, rmm = 4, dyn = 7 }
function registers.rounding(name) return ROUNDING[name] end

-- The bits of a fence set: "rw" is 3. nil when it is none.
local ORDER = { i = 8, o = 4, r = 2, w = 1 }
function registers.fence(name)
  local bits, seen = 0, {}
  for letter in name:gmatch "." do
    if not ORDER[letter] or seen[letter] then return end
    bits, seen[letter] = bits + ORDER[letter], true
  end
  return bits
end

return registers
