-- abi: C and Lua see the same sizes, offsets and constants at the border.
-- SPDX-License-Identifier: MIT
local ffi  = require "ffi"
local clib = require "umbra.clib"
local tree = require "spec.support.tree"

local HEADER = "build/gen/umbra_ffi.h"

-- { name = "struct um_x", fields = {...} } of every named struct of the border. Nested bodies are counted as one field.
local function structs()
  local found = {}
  for kind, name, body in tree.read(HEADER):gmatch "%f[%w](%l+) (um_[%w_]+)%s*(%b{})%s*;" do
    if kind == "struct" or kind == "union" then
      local fields = {}
      for declaration in body:sub(2, -2):gsub("%b{}", " "):gmatch "[^;]+" do
        for declarator in declaration:gmatch "[^,]+" do
          fields[#fields + 1] = declarator:gsub("%b[]", ""):gsub(":%s*%d+", ""):match "([%a_][%w_]*)%s*$"
        end
      end
      found[#found + 1] = { name = kind .. " " .. name, fields = fields }
    end
  end
  return found
end

local function constants()
  local found = {}
  for body in tree.read(HEADER):gmatch "enum[%s%w_]*(%b{})" do
    for name in body:gmatch "%f[%w_](UM_[%w_]+)%s*[=,}\n]" do found[#found + 1] = name end
  end
  return found
end

-- { expression of C, value Lua has for it }
local function facts()
  local list = {}
  for _, struct in ipairs(structs()) do
    list[#list + 1] = { ("sizeof(%s)"):format(struct.name), ffi.sizeof(struct.name) }
    for _, field in ipairs(struct.fields) do
      list[#list + 1] = { ("offsetof(%s, %s)"):format(struct.name, field), ffi.offsetof(struct.name, field) }
    end
  end
  for _, name in ipairs(constants()) do list[#list + 1] = { name, clib.C[name] } end
  return list
end

describe("the border", function()
  it("has references wide enough for 64-bit guests", function()
    assert.is_true(ffi.abi "gc64")
  end)

  it("has the same layout and constants on both sides", function()
    local list, folder = facts(), os.tmpname()
    os.remove(folder)
    assert.is_true(#list > 10)
    local source = { "#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <stdio.h>\n" }
    source[2] = tree.read(HEADER) .. "int main(void)\n{\n"
    for _, fact in ipairs(list) do source[#source + 1] = ('  printf("%%lld\\n", (long long)(%s));\n'):format(fact[1]) end
    source[#source + 1] = "  return 0;\n}\n"
    local file = assert(io.open(folder .. ".c", "w"))
    file:write(table.concat(source))
    file:close()
    local text, code = tree.run(("cc -std=gnu11 -o %s %s.c && %s"):format(folder, folder, folder))
    os.remove(folder .. ".c")
    os.remove(folder)
    assert.equal(0, code, text)
    local values, wrong = text:gmatch "[^\n]+", {}
    for _, fact in ipairs(list) do
      local value = values()
      if tonumber(value) ~= fact[2] then wrong[#wrong + 1] = ("%s: %s in C, %s in Lua"):format(fact[1], value, fact[2]) end
    end
    assert.equal("", table.concat(wrong, "\n"))
  end)

  it("is declared once however often the module is loaded", function()
    package.loaded["umbra.clib"] = nil
    assert.equal(clib, require "umbra.clib")
  end)

  it("gives a library of the host, and says which one is not there", function()
    local c = clib.host "int getppid(void);"
    assert.is_true(c.getppid() > 0)
    assert.equal(c, clib.host "int getppid(void);")
    local function absent() clib.host("int um_nothing(void);", "libumbra-nothing.so.9") end
    assert.error_matches(absent, "^cannot load libumbra%-nothing%.so%.9$")
  end)
end)
