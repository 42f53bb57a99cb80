-- log: what a machine does, as lines of text in files.
--
--   local m = machine.load("riscv-virt", { log = "int,mmio:/tmp/log;exec:/tmp/exec" })
--   m:log { mmu = "/tmp/walks" }                 -- more, while it exists
--   m:log { exec = false }                       -- and less
-- SPDX-License-Identifier: MIT
local bit    = require "bit"
local ffi    = require "ffi"
local clib   = require "umbra.clib"
local fault  = require "umbra.fault"
local schema = require "umbra.schema"

local C = clib.C

local log = {}
local Log = {}
Log.__index = Log

log.ITEMS = { "exec", "int", "mmu", "mmio", "dev" }
local NUMBER = { exec = C.UM_LOG_EXEC, int = C.UM_LOG_INT, mmu = C.UM_LOG_MMU, mmio = C.UM_LOG_MMIO, dev = C.UM_LOG_DEV }

local function check_item(name)
  if not NUMBER[name] then fault.raise("log: unknown item `%s`%s", tostring(name), schema.suggest(tostring(name), log.ITEMS)) end
  return bit.lshift(1, NUMBER[name])
end

-- Rows { mask, path } of text like "exec,int:FILE;mmio:-".
function log.parse(text)
  local rows = {}
  for part in (text .. ";"):gmatch "([^;]*);" do
    local items, path = part:match "^([^:]*):(.+)$"
    if not path and (part ~= "" or not text:find "[^;]") then
      fault.raise("log = %s: must be ITEMS:FILE, like exec,int:out.log; items: %s", schema.show(text), table.concat(log.ITEMS, ", "))
    end
    local mask = 0
    for name in (items or ""):gmatch "[^,]+" do mask = bit.bor(mask, check_item(name)) end
    if path and mask == 0 then fault.raise("log = %s: which items? %s", schema.show(text), table.concat(log.ITEMS, ", ")) end
    if path then rows[#rows + 1] = { mask, path } end
  end
  return rows
end

-- A log to which nothing is written yet. warn(text) is told of a file that takes no more; limit: bytes a file.
function log.new(warn, limit)
  local ptr = C.um_log_new()
  if ptr == nil then fault.raise "log: the host has no memory for it" end
  return setmetatable({ ptr = ptr, warn = warn, limit = limit, why = ffi.new "struct um_fault", paths = {} }, Log)
end

function Log:close() C.um_log_free(self.ptr) end

local function open(self, mask, path, limit)
  fault.check(C.um_log_open(self.ptr, mask, path, limit or 0, self.why), self.why)
  for _, name in ipairs(log.ITEMS) do
    if bit.band(mask, check_item(name)) ~= 0 then self.paths[name] = path end
  end
end

-- What is said by text as log.parse takes it, or by a table { exec = "FILE", int = false, limit = "1G" }.
function Log:set(what)
  local limit
  if type(what) == "string" then
    for _, row in ipairs(log.parse(what)) do open(self, row[1], row[2], self.limit) end
    return
  end
  if type(what) ~= "table" then fault.raise("log takes text like \"int:FILE\" or a table like { int = \"FILE\" }, not %s", schema.show(what)) end
  for name, path in pairs(what) do                -- each is checked and set by itself: any order will do
    if name == "limit" then
      local wanted
      limit, wanted = schema.convert({ type = "size", min = 1 }, path)
      if not limit then fault.raise("log.limit must be %s, not %s", wanted, schema.show(path)) end
    else
      check_item(name)
      if path ~= false and (type(path) ~= "string" or path == "") then fault.raise("log.%s must be a file or false, not %s", name, schema.show(path)) end
    end
  end
  for _, name in ipairs(log.ITEMS) do
    if what[name] then open(self, check_item(name), what[name], limit or self.limit) end
    if what[name] == false then
      C.um_log_close(self.ptr, check_item(name))
      self.paths[name] = nil
    end
  end
end

-- { item = file } of what is logged now.
function Log:list()
  local on, list = C.um_log_items(self.ptr), {}
  for _, name in ipairs(log.ITEMS) do
    if bit.band(on, check_item(name)) ~= 0 then list[name] = self.paths[name] end
  end
  return list
end

-- A line of a device written in Lua.
function Log:text(name, text)
  C.um_log_text(self.ptr, C.UM_LOG_DEV, ("dev  %s: "):format(name), text, #text)
end

-- After a run: what went wrong meanwhile is told once, and does not concern the guest.
function Log:settle()
  while C.um_log_trouble(self.ptr, self.why) < 0 do self.warn(ffi.string(self.why.text)) end
end

return log
