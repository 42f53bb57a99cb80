-- isa: ISA strings like rv64gc_zba_zbb, and the masks of extensions that harts are made with.
-- SPDX-License-Identifier: MIT
local bit    = require "bit"
local ffi    = require "ffi"
local clib   = require "umbra.clib"
local fault  = require "umbra.fault"
local schema = require "umbra.schema"

local C = clib.C

local isa = {}

-- Names of the mask's bits: extensions, and "s" and "u" for the privilege modes.
local function mask_names()
  local list = {}
  for name in ffi.string(C.um_riscv_extensions()):gmatch "%S+" do list[#list + 1] = name end
  return list
end

local LETTERS = "iemafdqlcbkjtpvnh"               -- the canonical order of single letters (unprivileged manual, "Naming")

local function rank(name)
  if #name == 1 then return ("0%02d"):format(LETTERS:find(name, 1, true) or 99) end
  return (name:sub(1, 1) == "z" and "1" or name:sub(1, 1) == "s" and "2" or "3") .. name
end

-- The extensions this library knows, in the order of an ISA string.
function isa.extensions()
  local list = {}
  for _, name in ipairs(mask_names()) do
    if name ~= "s" and name ~= "u" then list[#list + 1] = name end
  end
  table.sort(list, function(a, b) return rank(a) < rank(b) end)
  return list
end

-- What an extension brings along (unprivileged manual, "Naming"; only what is known here is added).
local IMPLIES = {
  g = { "i", "m", "a", "f", "d", "zicsr", "zifencei" }, d = { "f" }, f = { "zicsr" }, zicntr = { "zicsr" }, zihpm = { "zicsr" },
  b = { "zba", "zbb", "zbs" },
}

-- Extensions named by an ISA string and what they imply, in canonical order. Raises what is wrong with the string.
function isa.parse_isa(text)
  if type(text) ~= "string" then fault.raise("an ISA string is text like rv64gc, not %s", schema.show(text)) end
  local known, place = isa.extensions(), {}
  for i, name in ipairs(known) do place[name] = i end
  local lower = text:lower()
  local width, rest = lower:match "^rv(%d+)(.*)$"
  if width ~= "64" then fault.raise("isa `%s`: must begin with rv64, like rv64gc", text) end
  if rest:find "__" or rest:find "_$" then fault.raise("isa `%s`: an extension is missing behind `_`", text) end
  local has = {}
  local function add(name)
    if not place[name] and not IMPLIES[name] then
      fault.raise("isa `%s`: unknown extension `%s`%s", text, name, #name > 1 and schema.suggest(name, known) or "; known: " .. table.concat(known, ", "))
    end
    if has[name] then return end
    has[name] = true
    for _, more in ipairs(IMPLIES[name] or {}) do if place[more] then add(more) end end
  end
  local singles, others = rest:match "^(%l-)_(.*)$"
  if not singles then singles, others = rest, "" end
  local at = singles:find "[zsx]"                 -- rv64imafdczicsr: a long name may follow the letters directly
  if at then
    others = singles:sub(at) .. "_" .. others
    singles = singles:sub(1, at - 1)
  end
  if singles:find "[^%l]" then fault.raise("isa `%s`: must look like rv64gc_zba_zbb", text) end
  for letter in singles:gmatch "%l" do add(letter) end
  for name in others:gmatch "[^_]+" do add(name) end
  if not has.i then fault.raise("isa `%s`: the base i (or g) is missing", text) end
  local list = {}
  for _, name in ipairs(known) do if has[name] then list[#list + 1] = name end end
  return list
end

-- The mask of extensions for um_hart_options: those of an ISA string, and the privilege modes ("msu" by default).
function isa.isa_mask(text, modes)
  local wanted, mask = {}, 0ULL
  for _, name in ipairs(isa.parse_isa(text)) do wanted[name] = true end
  for mode in (modes or "msu"):gmatch "[su]" do wanted[mode] = true end
  for i, name in ipairs(mask_names()) do
    if wanted[name] then mask = bit.bor(mask, bit.lshift(1ULL, i - 1)) end
  end
  return mask
end

return isa
