-- runner: the test runner and the tools of the build do what the rest relies on.
-- SPDX-License-Identifier: MIT
local tree = require "spec.support.tree"

local function scratch(files)
  local folder = os.tmpname()
  os.remove(folder)
  assert(require("lfs").mkdir(folder))
  for name, text in pairs(files) do
    local file = assert(io.open(folder .. "/" .. name, "w"))
    file:write(text)
    file:close()
  end
  finally(function() tree.run("rm -r " .. folder) end)
  return folder
end

local function busted(files)
  local folder = scratch(files)
  return tree.run(("luajit $(command -v busted) -o spec/support/plain_output.lua %s"):format(folder))
end

local function last_line(text) return text:match "([^\n]*)\n*$" end

describe("the output handler", function()
  it("counts on its last line", function()
    local text, code = busted { ["a_spec.lua"] = [[
      it("works", function() end)
      it("works too", function() end)
      pending "waits"
    ]] }
    assert.equal("2 passed, 0 failed, 1 skipped", last_line(text))
    assert.equal(0, code)
  end)

  it("shows what failed, where and why, and fails", function()
    local text, code = busted { ["a_spec.lua"] = [[
      it("adds", function() assert.equal(3, 1 + 1) end)
      it("breaks", function() error("on purpose") end)
    ]] }
    assert.equal("0 passed, 2 failed, 0 skipped", last_line(text))
    assert.matches("FAILED [^\n]*a_spec.lua:1: adds", text)
    assert.matches("on purpose", text)
    assert.equal(1, code)
  end)

  it("fails when a spec file cannot be loaded", function()
    local text, code = busted { ["a_spec.lua"] = "it(", ["b_spec.lua"] = 'it("works", function() end)' }
    assert.equal("1 passed, 1 failed, 0 skipped", last_line(text))
    assert.equal(1, code)
  end)

  it("fails when no test ran", function()
    local text, code = busted { ["a_spec.lua"] = "" }
    assert.equal("0 passed, 0 failed, 0 skipped", last_line(text))
    assert.equal(1, code)
  end)

  it("fails after 256 failures too, where busted's own exit code would be 0", function()
    local text, code = busted { ["a_spec.lua"] = 'for i = 1, 256 do it("fails " .. i, function() assert.is_true(false) end) end' }
    assert.equal("0 passed, 256 failed, 0 skipped", last_line(text))
    assert.equal(1, code)
  end)
end)

describe("gen_ffi", function()
  it("orders declarations by layer and by what they name, and names the header LuaJIT does not take", function()
    local folder = scratch {}
    tree.run(("mkdir -p %s/csrc/base %s/csrc/tlb"):format(folder, folder))
    local function write(name, text)
      local file = assert(io.open(folder .. "/csrc/" .. name, "w"))
      file:write(text)
      file:close()
    end
    write("LAYERS", "base\ntlb\n")
    write("tlb/a_ffi.h", "#pragma once\nint um_a(struct um_b b);   // needs b_ffi.h\n")
    write("tlb/b_ffi.h", "struct um_b { um_c c; };\n")
    write("base/c_ffi.h", "typedef int um_c;\n")
    write("base/d_ffi.h", "um_nowhere *um_d(void);\n")
    local at = folder .. "/csrc/"
    local text, code = tree.run(("luajit lua/tools/gen_ffi.lua -o %s/out.h %sLAYERS %stlb/a_ffi.h %stlb/b_ffi.h %sbase/c_ffi.h")
      :format(folder, at, at, at, at))
    assert.equal("", text)
    assert.equal(0, code)
    assert.equal("typedef int um_c;\nstruct um_b { um_c c; };\nint um_a(struct um_b b);\n", tree.read(folder .. "/out.h"))
    text, code = tree.run(("luajit lua/tools/gen_ffi.lua -o %s/no.h %sLAYERS %sbase/d_ffi.h"):format(folder, at, at))
    assert.matches("csrc/base/d_ffi%.h: not for LuaJIT: declaration specifier expected near 'um_nowhere'", text)
    assert.equal(1, code)
    tree.run(("luajit lua/tools/gen_map.lua -o %s/out.map %s/out.h"):format(folder, folder))
    assert.equal("{\n  global:\n    um_a;\n  local: *;\n};\n", tree.read(folder .. "/out.map"))
  end)
end)

describe("clib", function()
  it("says in one line what to do when the library is not built", function()
    local folder = scratch {}
    tree.run(("mkdir -p %s/lua/umbra && cp lua/umbra/clib.lua %s/lua/umbra"):format(folder, folder))
    local script = ('package.path = "%s/lua/?.lua" print(select(2, pcall(require, "umbra.clib")))'):format(folder)
    local text, code = tree.run(("env -u UMBRA_LIB luajit -e '%s'"):format(script))
    assert.equal(0, code)
    assert.equal("build/libumbra.so not found: run ./configure.py && ninja", (text:match "^[^\n]+"))
  end)
end)

describe("the launcher", function()
  local MAIN = [[return function(args) print(args[0] ~= nil, args[1], args[2], #args) return 7 end]]

  -- Runs a copy of the launcher with `main` for umbra.main at `place` below the same root.
  local function launch(place, main)
    local folder = scratch {}
    tree.run(("mkdir -p %s/bin %s/%s && cp build/umbra %s/bin"):format(folder, folder, place, folder))
    local file = assert(io.open(("%s/%s/main.lua"):format(folder, place), "w"))
    file:write(main)
    file:close()
    return tree.run(("cd / && %s/bin/umbra run 'a b'"):format(folder))
  end

  it("finds its Lua in a tree and below a prefix, passes the arguments, and exits as main says", function()
    for _, place in ipairs { "lua/umbra", "share/umbra/lua/umbra" } do
      local text, code = launch(place, MAIN)
      assert.equal("true\trun\ta b\t2\n", text)
      assert.equal(7, code)
    end
  end)

  it("says in a line what main could not handle, with exit code 125", function()
    local text, code = launch("lua/umbra", "return function() error('no such luck', 0) end")
    assert.equal("umbra: no such luck\n", text)
    assert.equal(125, code)
  end)
end)
