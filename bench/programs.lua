-- programs: Linux programs for riscv64 as processes, beside qemu-riscv64 with the same files; kernels natively, too.
--
-- The command lines are in `sides` below; ratios are qemu / umbra of whole processes, their start included.
-- SPDX-License-Identifier: MIT
local bench, fetch = require "umbra.bench", require "umbra.fetch"
local build = bench.file "guest/build.lua"

local QUICK = 10                                  -- of how many turns a quick run does one
local PEER  = "qemu-riscv64"

local function umbra(words) return { bench.umbra, "exec", unpack(words) } end
local function qemu(words) return { PEER, unpack(words) } end

-- Sides that run what `words(p)` says.
local function sides(words)
  return {
    { "umbra", command = function(p) return umbra(words(p)) end },
    { "qemu", command = function(p) return qemu(words(p)) end },
  }
end

local group = { help = "Linux programs as processes, in umbra, qemu-riscv64 and natively" }

local function repeats(p)
  local all = build.kernel(p.kernel).repeats
  return tostring(p.quick and math.ceil(all / QUICK) or all)
end

for suite, quick in build.suites { integer = { "sieve", "qsort" }, mixed = "mix", float = "nbody" } do
  local both = sides(function(p) return { build.linux_program(p.kernel), repeats(p) } end)
  table.insert(both, { "native", command = function(p) return { build.native_program(p.kernel), repeats(p) } end })
  group[#group + 1] = bench.process {
    name = suite, samples = 9, params = { kernel = build.names(suite) }, quick = { kernel = quick },
    needs = { build.compiler_program, "gcc" }, sides = both,
  }
end

-- What starting a program takes; the bar: at most 8 ms more than natively, and less than under qemu-riscv64.
local hello = sides(function() return { build.linux_hello() } end)
table.insert(hello, { "native", command = function() return { build.native_hello() } end })
group[#group + 1] = bench.process { name = "hello", samples = 51, needs = { build.compiler_program, "gcc", PEER }, sides = hello }

-- MiB by size of a call: some 0.3 s under QEMU.
local COPIED = { [16] = 40, [64] = 160, [1024] = 1000, [65536] = 3000, [4194304] = 3000 }

group[#group + 1] = bench.process {
  name = "memcpy", samples = 9, params = { size = { 16, 64, 1024, 65536, 4194304 } }, quick = { size = { 16, 65536 } }, needs = { build.compiler_program },
  sides = sides(function(p) return { build.linux_copy(), tostring(p.size), tostring(p.quick and COPIED[p.size] / QUICK or COPIED[p.size]) } end),
}

-- Debian's programs, in Debian's user land on both sides.
local LUA = "local t, s = {}, 0 for i = 1, %d do t[i %% 97] = tostring(i) s = s + #t[i %% 97] * (i %% 3) end print(s)"
local PYTHON = "t, s = {}, 0\nfor i in range(%d):\n  t[i %% 97] = str(i)\n  s += len(t[i %% 97]) * (i %% 3)\nprint(s)"
local SQL = "create table t(a integer primary key, b text); " ..
  "with recursive n(i) as (select 1 union all select i + 1 from n where i < %d) insert into t select i, hex(i * 7919 %% 10007) from n; " ..
  "create index k on t(b); select count(*), max(b), sum(a) from t where b > '33';"

local function turns(p, all) return p.quick and all / QUICK or all end

-- Compresses an interpreter of 6 MB.
local function zstd(p, sysroot) return { "-q", "-c", p.quick and "-1" or "-5", sysroot .. "/usr/bin/python3.13" } end

local PROGRAMS = {
  lua     = function(p) return "/usr/bin/lua5.4", { "-e", LUA:format(turns(p, 1000000)) } end,
  python  = function(p) return "/usr/bin/python3", { "-S", "-c", PYTHON:format(turns(p, 600000)) } end,
  start   = function() return "/usr/bin/python3", { "-c", "pass" } end,
  sqlite  = function(p) return "/usr/bin/sqlite3", { ":memory:", SQL:format(turns(p, 100000)) } end,
  zstd    = function(p, sysroot) return "/usr/bin/zstd", zstd(p, sysroot) end,
}

-- The user land's folder, and below it the program, and its arguments.
local function debian(p)
  local sysroot = fetch.ensure("debian-riscv64-sysroot").sysroot
  return sysroot, PROGRAMS[p.program](p, sysroot)
end

group[#group + 1] = bench.process {
  name = "debian", samples = 9, params = { program = { "python", "start", "lua", "sqlite", "zstd" } }, quick = { program = { "start", "lua" } },
  needs = { PEER },
  sides = {
    { "umbra", command = function(p)
      local sysroot, program, words = debian(p)
      return umbra { "--sysroot", sysroot, program, unpack(words) }
    end },
    { "qemu", command = function(p)
      local sysroot, program, words = debian(p)
      return qemu { "-L", sysroot, sysroot .. program, unpack(words) }
    end },
  },
}
return bench(group)
