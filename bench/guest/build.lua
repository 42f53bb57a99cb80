-- build: makes the guest programs of the benchmarks: bench/guest/NAME.c as build/guest/NAME-REPEATS.bare and .sv39.
--
-- A kernel is compiled for the host first: what it computes there is what the guest program must find, or it exits with 1.
-- SPDX-License-Identifier: MIT
local uv    = require "luv"
local fault = require "umbra.fault"

local build = {}

local here = debug.getinfo(1, "S").source:match "^@(.*)build%.lua$"
local SOURCES = here

-- In a source tree below build/; an installation may not be written.
local function out_folder()
  if uv.fs_access(here .. "../../build", "W") then return here .. "../../build/guest/" end
  return (os.getenv "XDG_CACHE_HOME" or os.getenv "HOME" .. "/.cache") .. "/umbra/guest/"
end
local OUT = out_folder()

-- repeats: for 200 to 600 million guest instructions. suite: integer is what tier 0's bars are about.
build.kernels = {
  { name = "sieve",         suite = "integer", repeats = 24 },
  { name = "sha256",        suite = "integer", repeats = 60 },
  { name = "qsort",         suite = "integer", repeats = 48 },
  { name = "bytecode",      suite = "integer", repeats = 14 },
  { name = "matrix",        suite = "integer", repeats = 25 },
  { name = "fib",           suite = "integer", repeats = 60 },
  { name = "mix",           suite = "mixed",   repeats = 3500 },
  { name = "fannkuch",      suite = "mixed",   repeats = 5 },
  { name = "nbody",         suite = "float",   repeats = 350 },
  { name = "mandelbrot",    suite = "float",   repeats = 300 },
  { name = "matmul_double", suite = "float",   repeats = 55 },
  { name = "matmul_float",  suite = "float",   repeats = 55 },
}

build.modes = { "bare", "sv39" }

-- No contraction and no errno: both compilers must round alike and inline the square root.
local COMMON = "-std=gnu11 -O2 -Wall -Wextra -Werror -ffp-contract=off -fno-math-errno"
local HOST = "gcc " .. COMMON
local GUEST = "riscv64-linux-gnu-gcc " .. COMMON .. " -march=rv64gc -mabi=lp64d -mcmodel=medany -ffreestanding -nostdlib -static"
  .. " -fno-pie -no-pie -fno-tree-loop-distribute-patterns -Wl,--build-id=none"

local LINUX = "riscv64-linux-gnu-gcc " .. COMMON .. " -march=rv64gc -static"

build.compiler, build.compiler_program = GUEST, GUEST:match "%S+"

-- The row of a kernel; the names of those of a suite.
function build.kernel(name)
  for _, kernel in ipairs(build.kernels) do
    if kernel.name == name then return kernel end
  end
end

function build.names(suite)
  local names = {}
  for _, kernel in ipairs(build.kernels) do
    if kernel.suite == suite then names[#names + 1] = kernel.name end
  end
  return names
end

-- The suites in their order, each with what `of` says of it: for suite, value in build.suites { integer = 1 } do.
function build.suites(of)
  local order, i = { "integer", "mixed", "float" }, 0
  return function()
    i = i + 1
    return order[i], order[i] and of[order[i]]
  end
end

local function quote(word) return "'" .. word:gsub("'", "'\\''") .. "'" end

-- What a shell command prints; a refusal with its text when it fails.
local function sh(command)
  local pipe = assert(io.popen(command .. " 2>&1; printf '\n%d' $?"))
  local output, code = pipe:read("*a"):match "^(.*)\n(%d+)$"
  pipe:close()
  if code ~= "0" then fault.raise("%s: exit code %s: %s", command, code, output) end
  return output
end

local function time_of(path)
  local stat = uv.fs_stat(path)
  return stat and stat.mtime.sec + stat.mtime.nsec * 1e-9
end

-- Whether `path` is there and younger than every source and this file.
local function is_fresh(path)
  local made = time_of(path)
  if not made then return false end
  local newest = time_of(here .. "build.lua")
  local scan = uv.fs_scandir(SOURCES)
  for name in uv.fs_scandir_next, scan do newest = math.max(newest, time_of(SOURCES .. name)) end
  return newest < made
end

-- The program `name`.`ending` of `sources` made by `compiler`, unless it is there. Returns its path.
local function compile(compiler, name, ending, sources)
  local program = OUT .. name .. "." .. ending
  sh("mkdir -p " .. quote(OUT))
  if not is_fresh(program) then
    for i, source in ipairs(sources) do sources[i] = quote(SOURCES .. source) end
    sh(("%s -o %s %s"):format(compiler, quote(program), table.concat(sources, " ")))
  end
  return program
end

-- The kernel as a program for the host, and as a static one for riscv64 Linux. Both take the number of repeats and print the checksum
-- and the time. Return the path.
function build.native_program(name) return compile(HOST, name, "native", { "native.c", name .. ".c" }) end
function build.linux_program(name) return compile(LINUX, name, "linux", { "native.c", name .. ".c" }) end

-- copy.c and os.c for riscv64 Linux.
function build.linux_copy() return compile(LINUX, "copy", "linux", { "copy.c" }) end
function build.linux_os() return compile(LINUX, "os", "linux", { "os.c" }) end

-- hello.c, static: for riscv64 Linux and for the host.
function build.linux_hello() return compile(LINUX, "hello", "linux", { "hello.c" }) end
function build.native_hello() return compile(HOST .. " -static", "hello", "native", { "hello.c" }) end

-- What the host computes: its checksum as decimal text, and the seconds of CPU time it took.
function build.native(name, repeats)
  local sum, seconds = sh(quote(build.native_program(name)) .. " " .. repeats):match "^(%d+) ([%d.]+)"
  return sum, tonumber(seconds)
end

-- The guest program of kernel `name` for `mode` ("bare": machine mode without paging; "sv39": supervisor mode, pages of 4 KiB).
-- options: expected = another checksum than the host's (decimal text). Returns its path.
function build.program(name, mode, repeats, options)
  local expected = options and options.expected
  local path = ("%s%s-%d%s.%s"):format(OUT, name, repeats, expected and "-" .. expected or "", mode)
  if is_fresh(path) then return path end
  sh("mkdir -p " .. quote(OUT))
  local files = { "start.S", "main.c", name .. ".c" }
  if mode == "sv39" then table.insert(files, 2, "paging.c") end
  for i, file in ipairs(files) do files[i] = quote(SOURCES .. file) end
  local defines = ("-DREPEAT=%d -DEXPECTED=%sULL%s"):format(repeats, expected or (build.native(name, repeats)), mode == "sv39" and " -DPAGING" or "")
  sh(("%s %s -T %s -o %s %s"):format(GUEST, defines, quote(SOURCES .. "link.ld"), quote(path), table.concat(files, " ")))
  return path
end

return build
