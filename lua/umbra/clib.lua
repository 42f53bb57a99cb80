-- clib: the one place that declares and loads the C side. `clib.C` is libumbra.so.
--
-- LuaJIT's declarations, metatypes and loaded libraries are one per Lua state and cannot be made twice, while test runners
-- reload modules at will: so what is made here lies in the registry, anchored for ever (a collected handle would unmap
-- code under live pointers), and a second load of this file finds it there.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"

local registry = debug.getregistry()
if registry.umbra_clib then return registry.umbra_clib end

local here = debug.getinfo(1, "S").source:match("^@(.*)clib%.lua$")   -- .../lua/umbra/

local function read(path)
  local file = io.open(path, "rb")
  if not file then return end
  local text = file:read "*a"
  file:close()
  return text
end

-- { library, declarations }: in the source tree; installed below a prefix.
local PLACES = {
  { here .. "../../build/libumbra.so", here .. "../../build/gen/umbra_ffi.h" },
  { here .. "../../../../lib/libumbra.so", here .. "../../umbra_ffi.h" },
}

local function find()
  local chosen = os.getenv "UMBRA_LIB"
  for _, place in ipairs(PLACES) do
    local declarations = read(place[2])
    local library = chosen or place[1]
    local file = declarations and io.open(library, "rb")
    if file then
      file:close()
      return library, declarations
    end
  end
  if chosen then error(("UMBRA_LIB=%s not found, or built without build/gen/umbra_ffi.h"):format(chosen), 0) end
  error("build/libumbra.so not found: run ./configure.py && ninja", 0)
end

if not ffi.abi "gc64" then
  error("this LuaJIT has 32-bit GC references (no gc64): guest memory would not fit beside it", 0)
end

local library, declarations = find()
ffi.cdef(declarations)

local clib = {
  C    = ffi.load(library),
  path = library,
}
registry.umbra_clib = clib

local once = {}

-- Gives a border type its methods, once for the life of the Lua state; returns the ctype.
function clib.metatype(name, methods)
  once[name] = once[name] or ffi.metatype(name, methods)
  return once[name]
end

-- Declares functions of the host, once for each text, and returns the library `soname` that has them (ffi.C when it is nil):
-- clib.host([[ int fdt_check_header(const void *fdt); ]], "libfdt.so.1"). Raises "cannot load SONAME" when it is not there.
function clib.host(text, soname)
  if not once[text] then
    local ok, host = true, ffi.C
    if soname then ok, host = pcall(ffi.load, soname) end
    if not ok then error("cannot load " .. soname, 0) end
    ffi.cdef(text)
    once[text] = host
  end
  return once[text]
end

return clib
