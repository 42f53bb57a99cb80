-- doctor: the command that says what the host offers and what is missing.
-- SPDX-License-Identifier: MIT

local argparse = require "argparse"
local bit      = require "bit"
local ffi      = require "ffi"

local PROTOTYPES = [[
int um_doctor_memfd_create(const char *name, unsigned int flags) __asm__("memfd_create");
int um_doctor_ftruncate(int fd, int64_t length) __asm__("ftruncate");
void *um_doctor_mmap(void *addr, size_t length, int prot, int flags, int fd, int64_t offset) __asm__("mmap");
int um_doctor_munmap(void *addr, size_t length) __asm__("munmap");
int um_doctor_close(int fd) __asm__("close");
]]
local PROT_READ, PROT_WRITE, PROT_EXEC, MAP_SHARED, MAP_PRIVATE, MAP_ANONYMOUS = 1, 2, 4, 1, 2, 32
local PAGE = 4096

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read "*a"
  if file then file:close() end
  return text
end

-- The first line a program prints about itself, or nil when it is not there. `command` is a constant of this file.
local function first_line(command)
  local pipe = io.popen(command .. " 2>/dev/null </dev/null")
  local line = pipe:read "*l"
  pipe:close()
  return line
end

local function on_path(program)
  for dir in (os.getenv "PATH" or ""):gmatch "[^:]+" do
    local file = io.open(dir .. "/" .. program, "rb")
    if file then
      file:close()
      return dir .. "/" .. program
    end
  end
end

-- umbra.clib, or nil and why it is not there: the doctor speaks where libumbra.so is not built yet, too.
local clib, clib_missing

local function load_clib()
  local ok, module = pcall(require, "umbra.clib")
  if ok then
    clib = module
  else
    clib_missing = tostring(module):gsub("^[^%s:]+:%d+: ", ""):match "[^\n]*"
  end
end

-- The C library for a check that needs it, or nil.
local function host(row)
  if clib then return clib.host(PROTOTYPES) end
  row.value, row.unknown = "not known before libumbra is built", true
end

-- Checks: each gets `row` and sets `value` and, when what it looks for is not there, `missing`. ----------------------------

local checks = {}

function checks.cores(row)
  local ok, uv = pcall(require, "luv")
  local _, count = (read "/proc/cpuinfo" or ""):gsub("\nprocessor%s*:", "")
  local usable = ok and uv.available_parallelism and uv.available_parallelism() or count + 1
  local model = (read "/proc/cpuinfo" or ""):match "model name%s*:%s*([^\n]+)"
  row.value = ("%d, %s%s"):format(usable, jit.arch, model and " (" .. model .. ")" or "")
  row.number = usable
end

function checks.features(row)
  local flags, found = " " .. ((read "/proc/cpuinfo" or ""):match "\nflags%s*:%s*([^\n]*)" or "") .. " ", {}
  for _, name in ipairs { "bmi1", "bmi2", "lzcnt", "abm", "popcnt", "fma", "avx2", "avx512f", "constant_tsc", "nonstop_tsc" } do
    if flags:find(" " .. name .. " ", 1, true) then found[#found + 1] = name end
  end
  row.value = #found > 0 and table.concat(found, " ") or "none that matter"
end

function checks.memory(row)
  local text = read "/proc/meminfo" or ""
  local total, free = tonumber(text:match "MemTotal:%s*(%d+)" or 0), tonumber(text:match "MemAvailable:%s*(%d+)" or 0)
  row.value = ("%.1f GiB, %.1f GiB of it available"):format(total / 2^20, free / 2^20)
  row.number = total * 1024
end

function checks.kernel(row)
  row.value = jit.os .. " " .. (read "/proc/sys/kernel/osrelease" or "?"):gsub("%s+$", "")
  row.missing = jit.os ~= "Linux"
end

function checks.luajit(row)
  row.value = jit.version .. (ffi.abi "gc64" and ", gc64" or ", no gc64")
  row.missing = not ffi.abi "gc64"                        -- guest memory would not fit beside a 2 GiB heap
end

function checks.libumbra(row)
  row.missing = not clib
  row.value = clib and ("%s, %s"):format(ffi.string(clib.C.um_version()), clib.path) or clib_missing
end

function checks.lua_module(row)
  local ok, module = pcall(require, row.name)
  row.missing = not ok
  if not ok then return end
  local version = type(module) == "table" and (module._VERSION or module.version_string or module.version)
  if type(version) == "function" then version = version() end
  row.value = version and tostring(version):gsub("^" .. row.name .. "%s*", "") or "found"
end

function checks.library(row)
  if not host(row) then return end
  row.missing = not pcall(clib.host, row.declares, row.library)
  if not row.missing then row.value = row.library end
end

function checks.program(row)
  local path = on_path(row.program or row.name)
  row.missing, row.value = not path, path
end

function checks.file(row)
  local file = io.open(row.path, "rb")
  if file then file:close() end
  row.missing, row.value = not file, file and row.path
end

function checks.peer(row)
  row.missing = not on_path(row.name)
  if not row.missing then row.value = first_line(row.name .. " --version") or on_path(row.name) end
end

-- Code is written through one mapping of a file in memory and run through another; some hosts forbid the second.
function checks.executable_memfd(row)
  local C = host(row)
  if not C then return end
  local fd = C.um_doctor_memfd_create("umbra-doctor", 0)
  if fd < 0 or C.um_doctor_ftruncate(fd, PAGE) ~= 0 then
    row.value, row.missing = "no file in memory", true
    return
  end
  local failed = ffi.cast("void *", -1)
  local view = C.um_doctor_mmap(nil, PAGE, bit.bor(PROT_READ, PROT_EXEC), MAP_SHARED, fd, 0)
  row.missing = view == failed
  row.value = row.missing and "forbidden here: translated code will be flipped with mprotect" or "allowed"
  if view ~= failed then C.um_doctor_munmap(view, PAGE) end
  C.um_doctor_close(fd)
end

-- The address range that a user-mode guest's window of 2^38 bytes takes, without memory behind it.
function checks.reserve(row)
  local C = host(row)
  if not C then return end
  local size, failed = 2^38, ffi.cast("void *", -1)
  local NORESERVE = 0x4000
  local window = C.um_doctor_mmap(nil, size, PROT_READ + PROT_WRITE, MAP_PRIVATE + MAP_ANONYMOUS + NORESERVE, -1, 0)
  row.missing = window == failed
  row.value = row.missing and "refused (vm.overcommit_memory, or a limit on address space)" or "256 GiB"
  if window ~= failed then C.um_doctor_munmap(window, size) end
end

function checks.kvm(row)
  local file = io.open("/dev/kvm", "r+b")
  row.value = file and "usable (umbra does not need it)" or "not usable (umbra does not need it)"
  if file then file:close() end
end

function checks.steal(row)
  local fields = {}
  for number in ((read "/proc/stat" or ""):match "^cpu%s+([^\n]*)" or ""):gmatch "%d+" do fields[#fields + 1] = tonumber(number) end
  local sum = 0
  for i = 1, math.min(8, #fields) do sum = sum + fields[i] end
  row.number = sum > 0 and (fields[8] or 0) / sum * 100 or 0
  row.value = ("%.2f %% of the time since the host started%s"):format(row.number, row.number > 1 and "; measurements will be uneven" or "")
end

function checks.huge_pages(row)
  local mode = (read "/sys/kernel/mm/transparent_hugepage/enabled" or ""):match "%[(%w+)%]" or "absent"
  local reserved = (read "/proc/meminfo" or ""):match "HugePages_Total:%s*(%d+)" or "0"
  row.value = ("transparent: %s; reserved: %s"):format(mode, reserved)
end

function checks.guest(row)
  local ok, fetch = pcall(require, "umbra.fetch")
  local guest = ok and fetch.find(row.name)
  row.missing = not guest
  row.value = guest and ("%s in %s"):format(guest.version, guest.dir) or "not fetched"
end

-- What is asked, in the order shown. need = "required" decides the exit code; install = Debian package; else the `hint` is
-- what to do about it.
local ROWS = {
  { "host", "cores", "cores" },
  { "host", "cpu features", "features" },
  { "host", "memory", "memory" },
  { "host", "kernel", "kernel", need = "required", hint = "umbra runs on Linux" },
  { "host", "executable memfd", "executable_memfd" },
  { "host", "address space", "reserve" },
  { "host", "huge pages", "huge_pages" },
  { "host", "steal time", "steal" },
  { "host", "/dev/kvm", "kvm" },
  { "umbra", "luajit", "luajit", need = "required", hint = "use a LuaJIT built with gc64, as Debian's is" },
  { "umbra", "libumbra", "libumbra", need = "required", hint = "./configure.py && ninja" },
  { "lua", "luv", "lua_module", need = "required", install = "lua-luv" },
  { "lua", "cjson", "lua_module", need = "required", install = "lua-cjson" },
  { "lua", "argparse", "lua_module", need = "required", install = "lua-argparse" },
  { "lua", "lpeg", "lua_module", need = "required", install = "lua-lpeg" },
  { "library", "libfdt", "library", need = "required", library = "libfdt.so.1",
    declares = [[int um_doctor_fdt(const void *tree) __asm__("fdt_check_header");]], install = "libfdt1" },
  { "library", "libzstd", "library", need = "required", library = "libzstd.so.1",
    declares = [[unsigned int um_doctor_zstd(void) __asm__("ZSTD_versionNumber");]], install = "libzstd1" },
  { "library", "libxxhash", "library", need = "hash", library = "libxxhash.so.0",
    declares = [[unsigned int um_doctor_xxhash(void) __asm__("XXH_versionNumber");]], install = "libxxhash0" },
  { "fetch", "apt-get", "program", need = "fetch", install = "apt" },
  { "fetch", "dpkg-deb", "program", need = "fetch", install = "dpkg" },
  { "fetch", "tar", "program", need = "fetch", install = "tar" },
  { "fetch", "gzip", "program", need = "fetch", install = "gzip" },
  { "fetch", "xz", "program", need = "fetch", install = "xz-utils" },
  { "fetch", "sha256sum", "program", need = "fetch", install = "coreutils" },
  { "fetch", "keyring", "file", need = "fetch", path = "/usr/share/keyrings/debian-archive-keyring.gpg", install = "debian-archive-keyring" },
  { "guest", "debian-riscv64", "guest", need = "fetch", hint = "umbra fetch debian-riscv64" },
  { "peer", "qemu-system-riscv64", "peer", need = "specs", install = "qemu-system-misc" },
  { "peer", "qemu-riscv64", "peer", need = "specs", install = "qemu-user" },
  { "peer", "llvm-mc", "program", need = "specs", install = "llvm" },
  { "peer", "gdb-multiarch", "program", need = "specs", install = "gdb-multiarch" },
  { "peer", "riscv64-linux-gnu-gcc", "program", need = "kernels", install = "gcc-riscv64-linux-gnu" },
  { "peer", "busted", "program", need = "specs", install = "lua-busted" },
}

-- Rows as asked: { group, name, value, status, need, hint }; status is "ok", "info" or "missing".
local function examine()
  local report = {}
  for i, asked in ipairs(ROWS) do
    local row = { name = asked[2], library = asked.library, declares = asked.declares, path = asked.path, program = asked.program }
    checks[asked[3]](row)
    report[i] = {
      group = asked[1], name = row.name, value = row.value, number = row.number, need = asked.need,
      status = row.missing and "missing" or asked.need and not row.unknown and "ok" or "info",
      hint = row.missing and (asked.hint or asked.install and "apt-get install " .. asked.install) or nil,
      package = row.missing and asked.install or nil,
    }
  end
  return report
end

local KEYS = { "group", "name", "status", "need", "value", "number", "hint" }

local function json_text(value)
  if type(value) == "number" then return ("%.14g"):format(value) end
  return '"' .. value:gsub('[%c"\\]', function(c) return ("\\u%04x"):format(c:byte()) end) .. '"'
end

local function print_json(report, healthy)
  local rows = {}
  for i, row in ipairs(report) do
    local fields = {}
    for _, key in ipairs(KEYS) do
      if row[key] ~= nil then fields[#fields + 1] = ('"%s": %s'):format(key, json_text(row[key])) end
    end
    rows[i] = "    { " .. table.concat(fields, ", ") .. " }"
  end
  io.write(('{\n  "ok": %s,\n  "checks": [\n%s\n  ]\n}\n'):format(tostring(healthy), table.concat(rows, ",\n")))
end

local WITHOUT = { fetch = "to fetch guests", specs = "for the specs", hash = "for m:hash()", kernels = "for the specs, and to compile what bench runs" }

local function print_table(report, healthy)
  local packages, seen = {}, {}
  for _, row in ipairs(report) do
    local mark = row.status == "missing" and (row.need and "MISSING" or "no") or row.status == "ok" and "ok" or ""
    local text = row.value or ""
    if row.hint then
      text = text .. (text ~= "" and "; " or "") .. (WITHOUT[row.need] and WITHOUT[row.need] .. ": " or "") .. row.hint
    end
    io.write(("%-8s %-22s %-8s %s\n"):format(row.group, row.name, mark, text))
    if row.package and not seen[row.package] then
      seen[row.package] = true
      packages[#packages + 1] = row.package
    end
  end
  io.write(healthy and "\neverything umbra needs is here\n" or "\nsomething umbra needs is missing\n")
  if #packages > 0 then io.write("apt-get install ", table.concat(packages, " "), "\n") end
end

local function run(args)
  local p = argparse("umbra doctor", "Says what this host offers and what is missing.")
  p:add_help(false)
  p:flag("--json", "Print it as JSON.")
  p:flag("-h --help", "Show this help.")
  local ok, options = p:pparse(args)
  if not ok then
    io.stderr:write("umbra: ", (options:gsub("%s*\n%s*", "; ")), " (umbra doctor --help)\n")
    return 126
  end
  if options.help then
    io.write(p:get_help(), "\n")
    return 0
  end
  load_clib()
  local report, healthy = examine(), true
  for _, row in ipairs(report) do
    if row.need == "required" and row.status == "missing" then healthy = false end
  end
  if options.json then print_json(report, healthy) else print_table(report, healthy) end
  return healthy and 0 or 1
end

return { summary = "say what this host offers and what is missing", run = run }
