-- house: the rules of the source tree, checked.
-- SPDX-License-Identifier: MIT
local tree = require "spec.support.tree"

local MAX_LINES = 80

-- Folders of csrc/ that are no component of their own for Lua.
local NO_MODULE = { base = true, fuzz = true }

-- Pairs that LAYERS' order would allow and that meet elsewhere: cpu and dev in mem (windows) and irq (lines).
local STRANGERS = { dev = { cpu = true, jit = true, ir = true }, jit = { tlb = true, mmu = true, irq = true, block = true } }

local LUA_HEADERS = { ["lua.h"] = true, ["lauxlib.h"] = true, ["lualib.h"] = true, ["luajit.h"] = true, ["luaconf.h"] = true }

local function layers()
  local rank, last = {}, 0
  for name in tree.read("csrc/LAYERS"):gmatch "%S+" do
    last = last + 1
    rank[name] = last
  end
  rank.fuzz = last + 1
  return rank
end

local function none(list)
  assert.equal("", table.concat(list, "\n"))
end

local function each_line(path)
  local number, lines = 0, {}
  for line in (tree.read(path) .. "\n"):gmatch "(.-)\n" do
    number = number + 1
    lines[number] = line
  end
  return ipairs(lines)
end

-- What is wrong with an #include of `what` by a file of `folder`, or nil.
local function include_fault(rank, folder, what)
  if LUA_HEADERS[what:match "[^/]+$"] then return "a Lua header" end
  local target = what:match "^([^/]+)/"
  if not target then
    if tree.exists("build/gen/" .. what) then return end
    return "without its folder, and not generated"
  end
  if not rank[target] then return "not a folder of csrc/LAYERS" end
  if rank[target] > rank[folder] then return "a later layer" end
  if STRANGERS[folder] and STRANGERS[folder][target] then return "a stranger" end
end

describe("the layers", function()
  it("name every folder of csrc", function()
    local rank, missing = layers(), {}
    for _, folder in ipairs(tree.folders "csrc") do
      if not rank[folder] then missing[#missing + 1] = folder end
    end
    none(missing)
  end)

  it("see a wrong include", function()
    local rank = layers()
    assert.equal("a later layer", include_fault(rank, "tlb", "cpu/cpu.h"))
    assert.equal("a stranger", include_fault(rank, "dev", "cpu/cpu.h"))
    assert.equal("a Lua header", include_fault(rank, "cpu", "lua.h"))
    assert.equal("a Lua header", include_fault(rank, "cpu", "lauxlib.h"))
    assert.equal("not a folder of csrc/LAYERS", include_fault(rank, "cpu", "device/x.h"))
    assert.is_nil(include_fault(rank, "cpu", "tlb/tlb.h"))
    assert.is_nil(include_fault(rank, "cpu", "cpu/cpu.h"))
  end)

  it("are kept by every #include", function()
    local rank, wrong, seen = layers(), {}, 0
    local files = tree.files("csrc", { ".c", ".h" })
    for _, path in ipairs(tree.files("build/gen", { ".c" })) do files[#files + 1] = path end
    for _, path in ipairs(files) do
      local folder = path:match "^csrc/([^/]+)/" or path:match "^build/" and "cpu"     -- generated C counts as cpu/GUEST
      for number, line in each_line(path) do
        local bracket, what = line:match '^%s*#%s*include%s*(["<])([^">]+)[">]'
        if what and folder then
          seen = seen + 1
          local ours = bracket == '"' or LUA_HEADERS[what:match "[^/]+$"]
          local fault = ours and include_fault(rank, folder, what)
          if fault then wrong[#wrong + 1] = ("%s:%d: %s: %s"):format(path, number, what, fault) end
        end
      end
    end
    assert.is_true(seen > 0)
    none(wrong)
  end)
end)

describe("a C file", function()
  it("says what it is for in its first line and names its licence", function()
    local wrong = {}
    for _, path in ipairs(tree.files("csrc", { ".c", ".h" })) do
      local text = tree.read(path)
      if not text:match "^// [%w_/, -]+: %S" then wrong[#wrong + 1] = path .. ": first line" end
      if not text:sub(1, 2000):find("\n// SPDX-License-Identifier: MIT\n", 1, true) then wrong[#wrong + 1] = path .. ": licence" end
    end
    none(wrong)
  end)

  it("has no function of more than " .. MAX_LINES .. " lines", function()
    local files, macros = tree.files("csrc", { ".c", ".h" }), {}
    for _, path in ipairs(files) do                -- a line like DEFINE_X(f) would be taken for a function by ctags
      for name in tree.read(path):gmatch "#define ([%u%d_]+)%(" do macros[#macros + 1] = name .. "+" end
    end
    local text, code = tree.run(("ctags -x --c-kinds=f --fields=+ne --_xformat='%%{input}:%%{line}:%%{end} %%N' -I %s %s"):format(
      table.concat(macros, ","), table.concat(files, " ")))
    assert.equal(0, code)
    local long, seen = {}, 0
    for path, from, to, name in text:gmatch "([^\n:]+):(%d+):(%d+) ([^\n]+)" do
      seen = seen + 1
      local lines = to - from + 1
      if lines > MAX_LINES then long[#long + 1] = ("%s:%d: %s: %d lines"):format(path, from, name, lines) end
    end
    assert.is_true(seen > 0)
    none(long)
  end)
end)

describe("the border", function()
  -- What LuaJIT's parser or gcc would not take, or would take differently.
  local REFUSED = {
    { "^%s*#", "a preprocessor line" }, { "_Static_assert", "an assertion" }, { "_Atomic", "an atomic" }, { "_Alignas", "an alignment" },
    { "%f[%w]inline%f[%W]", "a body" }, { "%f[%w]static%f[%W]", "a static", unless = "static const int" },
    { "%(%s*%*", "a pointer to a function" }, { "%f[%w]long%f[%W]", "a type whose size is the host's" },
  }

  local function line_fault(line)
    if line == "#pragma once" then return end
    local code = line:gsub("//.*", "")
    for _, row in ipairs(REFUSED) do
      if code:find(row[1]) and not (row.unless and code:find(row.unless, 1, true)) then return row[2] end
    end
    local name = code:match "^[%w_%s%*]-([%a_][%w_]*)%s*%(" or code:match "^struct%s+([%w_]+)" or code:match "^typedef%s.-([%w_]+)%s*;"
    if name and not name:find "^um_" and name ~= "__attribute__" then return name .. " without um_" end
  end

  it("sees what may not stand in an _ffi.h", function()
    assert.equal("a preprocessor line", line_fault "#define UM_X 1")
    assert.equal("a pointer to a function", line_fault "int um_call(int (*f)(void));")
    assert.equal("tlb_new without um_", line_fault "struct um_tlb *tlb_new(uint32_t entries);")
    assert.equal("tlb without um_", line_fault "struct tlb {")
    assert.is_nil(line_fault "#pragma once")
    assert.is_nil(line_fault "struct um_tlb *um_tlb_new(uint32_t entries);   // (*) not a pointer")
  end)

  it("is only what LuaJIT and gcc both read", function()
    local wrong, headers = {}, tree.files("csrc", { "_ffi.h" })
    assert.is_true(#headers > 0)
    for _, path in ipairs(headers) do
      for number, line in each_line(path) do
        local fault = line_fault(line)
        if fault then wrong[#wrong + 1] = ("%s:%d: %s"):format(path, number, fault) end
      end
    end
    none(wrong)
  end)

  it("is exactly what the library exports", function()
    local declared, exported, wrong = {}, {}, {}
    for name in tree.read("build/gen/umbra.map"):gmatch "(um_[%w_]+);" do declared[#declared + 1] = name end
    for name in tree.run("nm -D --defined-only " .. require("umbra.clib").path):gmatch " %u ([%w_]+)" do exported[name] = true end
    for _, name in ipairs(declared) do
      if not exported[name] then wrong[#wrong + 1] = name .. ": declared, not exported (not written, or without UM_EXPORT)" end
      exported[name] = nil
    end
    for name in pairs(exported) do wrong[#wrong + 1] = name .. ": exported, not declared in an _ffi.h" end
    table.sort(wrong)
    assert.is_true(#declared > 0)
    none(wrong)
  end)

  it("leaves no name of the library undefined", function()
    local text, code = tree.run(("LD_BIND_NOW=1 luajit -e 'require(\"ffi\").load %q'"):format(require("umbra.clib").path))
    assert.equal("", text)
    assert.equal(0, code)
  end)

  it("is crossed in umbra.clib alone", function()
    local calls = { "ffi%.cdef%f[%W]", "ffi%.load%f[%W]", "ffi%.metatype%f[%W]", 'ffi%.cast%(%s*"[^"]*%(%s*%*%s*%)%s*%(' }
    local keeper = { ["lua/umbra/clib.lua"] = true, ["lua/tools/gen_ffi.lua"] = true }
    local wrong = {}
    for _, path in ipairs(tree.files("lua", { ".lua" })) do
      for number, line in each_line(path) do
        for _, call in ipairs(keeper[path] and {} or calls) do
          if line:gsub("%-%-.*", ""):find(call) then wrong[#wrong + 1] = ("%s:%d: %s"):format(path, number, line) end
        end
      end
    end
    none(wrong)
  end)

  it("is not needed by machines and examples", function()
    local wrong = {}
    for _, folder in ipairs { "machines", "examples" } do
      for _, path in ipairs(tree.files(folder, { ".lua" })) do
        for name in tree.read(path):gmatch 'require%s*%(?%s*["\']([^"\']+)' do
          local fine = name:find "^umbra%." or name == "devices"
          if not fine then wrong[#wrong + 1] = path .. ": requires " .. name end
        end
      end
    end
    none(wrong)
  end)
end)

describe("the tree", function()
  local TEXT = { ".c", ".h", ".lua", ".py", ".in", ".md" }

  it("has no unfinished marks", function()
    local marks, wrong = { "TO" .. "DO", "FIX" .. "ME", "X" .. "XX" }, {}
    for _, path in ipairs(tree.files(".", TEXT)) do
      for number, line in each_line(path) do
        for _, mark in ipairs(marks) do
          if line:find("%f[%w]" .. mark .. "%f[%W]") then wrong[#wrong + 1] = ("%s:%d: %s"):format(path, number, line) end
        end
      end
    end
    none(wrong)
  end)

  it("has a module, a spec and a page for every noun of csrc", function()
    local missing = {}
    for _, folder in ipairs(tree.folders "csrc") do
      if not NO_MODULE[folder] and #tree.files("csrc/" .. folder, { ".c" }) > 0 then
        for _, place in ipairs { "lua/umbra/%s.lua", "spec/%s_spec.lua", "docs/%s.md" } do
          local path = place:format(folder)
          if not tree.exists(path) and not tree.exists((path:gsub("%.lua$", ""))) then missing[#missing + 1] = path end
        end
      end
    end
    none(missing)
  end)

  it("has Lua modules that a stock luajit loads, each by itself", function()
    local wrong, modules = {}, tree.files("lua/umbra", { ".lua" })
    for _, path in ipairs(modules) do
      local name = path:match("^lua/(.*)%.lua$"):gsub("/", ".")
      local text, code = tree.run(([[luajit -e 'package.path = "./lua/?.lua;" .. package.path; require %q']]):format(name))
      if code ~= 0 or text ~= "" then wrong[#wrong + 1] = name .. ": " .. text end
    end
    assert.is_true(#modules > 0)
    none(wrong)
  end)
end)
