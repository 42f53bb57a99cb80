-- doctor: what the host offers and what is missing.
-- SPDX-License-Identifier: MIT
local cjson   = require "cjson.safe"
local process = require "umbra.fetch.process"

local function command(environment, ...)
  local words = { ... }
  for i, word in ipairs(words) do words[i] = ("%q"):format(word) end
  environment.LD_PRELOAD = os.getenv "LD_PRELOAD"          -- the sanitizer that the library may have been built with
  return assert(process.run({ "/usr/bin/env", "luajit", "-e", ([[
    package.path = "./lua/?.lua;" .. package.path
    os.exit(require("cmd.doctor").run { %s }, true)]]):format(table.concat(words, ", ")) }, { env = environment }))
end

local function by_name(result)
  local report, rows = cjson.decode(result.out), {}
  for _, row in ipairs(report.checks) do rows[row.name] = row end
  return rows, report
end

describe("the doctor", function()
  it("finds a host that runs these specs healthy", function()
    local result = command({}, "--json")
    local rows, report = by_name(result)
    assert.same({ 0, "", true }, { result.code, result.err, report.ok })
    for _, name in ipairs { "luajit", "libumbra", "luv", "cjson", "argparse", "lpeg", "libfdt", "libzstd" } do
      assert.equal("ok", rows[name].status, name)
    end
    assert.matches("gc64", rows.luajit.value)
    assert.matches("^%d+%.%d", rows.libumbra.value)
    assert.is_true(rows.cores.number >= 1)
    assert.is_true(rows.memory.number > 2^27)
    assert.matches("%%", rows["steal time"].value)
  end)

  it("says the same as a table", function()
    local result = command {}
    assert.equal(0, result.code)
    assert.matches("\nlua +luv +ok +%d", result.out)
    assert.matches("\neverything umbra needs is here\n", result.out)
  end)

  it("says what to do where the library is not built", function()
    local result = command({ UMBRA_LIB = "/nowhere/libumbra.so" }, "--json")
    local rows, report = by_name(result)
    assert.same({ 1, false, "missing" }, { result.code, report.ok, rows.libumbra.status })
    assert.equal("./configure.py && ninja", rows.libumbra.hint)
    assert.equal("not known before libumbra is built", rows["executable memfd"].value)
    assert.matches("something umbra needs is missing\n", command({ UMBRA_LIB = "/nowhere/libumbra.so" }).out)
  end)

  it("names the packages of missing programs, without which one can still run", function()
    local luajit = process.run({ "sh", "-c", "command -v luajit" }).out:match "[^\n]+"
    local folder = require("luv").fs_mkdtemp "/tmp/umbra-spec-XXXXXX"
    require("luv").fs_symlink(luajit, folder .. "/luajit")
    local result = command({ PATH = folder, XDG_CACHE_HOME = folder }, "--json")
    local rows = by_name(result)
    assert.equal(0, result.code)
    assert.same({ "missing", "apt-get install xz-utils" }, { rows.xz.status, rows.xz.hint })
    assert.same({ "missing", "umbra fetch debian-riscv64" }, { rows["debian-riscv64"].status, rows["debian-riscv64"].hint })
    assert.matches("\napt%-get install .*xz%-utils.* qemu%-system%-misc", command({ PATH = folder }).out)
    require("umbra.cache").remove(folder)
  end)

  it("refuses unknown words in one line", function()
    local result = command({}, "--jsn")
    assert.equal(126, result.code)
    assert.matches("^umbra: unknown option '%-%-jsn'[^\n]*\n$", result.err)
    assert.matches("^Usage: umbra doctor", command({}, "--help").out)
  end)
end)
