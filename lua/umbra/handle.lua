-- handle: the Lua side of a C object: closed once, and an error, not a crash, when it is used afterwards.
--
-- LuaJIT passes nil to C as NULL, so an object that only forgot its pointer would take the process down. A closed one gets another
-- metatable instead: every use of it, `ptr` by another module included, is refused at the user's line.
-- SPDX-License-Identifier: MIT
local ffi    = require "ffi"
local fault  = require "umbra.fault"
local schema = require "umbra.schema"

local handle = {}

local function nothing() end

-- An object of `class` around `ptr`, which `free` (a C function) frees. `fields` become the object's own, `class.noun` names it.
function handle.new(class, ptr, free, fields)
  fields = fields or {}
  fields.ptr, fields.free = ffi.gc(ptr, free), free
  return setmetatable(fields, class)
end

-- The pointer of `object`, which must be a `noun` and open; a refusal calls it `what`.
function handle.pointer(object, noun, what)
  local ptr = type(object) == "table" and object.ptr        -- a closed one refuses here
  local class = getmetatable(object)
  if not ptr or type(class) ~= "table" or class.noun ~= noun then
    fault.raise("`%s` must be what umbra.%s makes, not %s", what, noun, schema.show(object))
  end
  return ptr
end

-- Takes every field out of `object`; any order will do. Never compiled: Debian 12's LuaJIT makes of a loop over a table that
-- empties itself one that does not end, in one of four processes that close 300 machines.
function handle.clear(object)
  for key in pairs(object) do object[key] = nil end
end
jit.off(handle.clear)

-- What `class.close` does.
function handle.close(object)
  local noun = getmetatable(object).noun
  object.free(ffi.gc(object.ptr, nil))
  handle.clear(object)
  setmetatable(object, {
    __index    = function(_, key)
      if key == "close" then return nothing end
      fault.raise("this %s is closed", noun)
    end,
    __newindex = function() fault.raise("this %s is closed", noun) end,
    __tostring = function() return noun .. " (closed)" end,
  })
end

return handle
