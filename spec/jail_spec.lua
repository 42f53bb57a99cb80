-- jail: a process that finds one folder and no sockets: what tries to get out, with both walls and with the host's alone.
-- SPDX-License-Identifier: MIT
local lfs   = require "lfs"
local riscv = require "spec.support.riscv"
local tree  = require "spec.support.tree"
local umbra = require "spec.support.umbra"

local folder, jail, secret, escape

-- What lies outside, as text.
local function outside()
  return (tree.run(("cd %s/outside && stat -c '%%n %%a %%u %%s %%h %%y' . secret && ls -A && cat secret"):format(folder.path)))
end

setup(function()
  folder = umbra.folder()
  jail, secret, escape = folder.path .. "/jail", folder.path .. "/outside/secret", folder.path .. "/escape"
  assert(lfs.mkdir(jail) and lfs.mkdir(jail .. "/real") and lfs.mkdir(folder.path .. "/outside"))
  folder.write("outside/secret", "abc\n")
  folder.write("jail/real/secret", "abcd\n")
  folder.write("jail/f", "")
  tree.run("cp /bin/true " .. jail .. "/host")
  riscv.compile("spec/guest/linux/jail.c", escape)
end)
teardown(function() folder.remove() end)

describe("a program in a jail", function()
  it("does not get out by paths, links, descriptors, other calls or races", function()
    local before = outside()
    assert.matches("secret 644 ", before)
    local result = riscv.exec({ "--jail", jail, escape, secret, "../outside" }, { after = ("< %s/outside 5< %s/outside"):format(folder.path, folder.path) })
    assert.matches("^3%d%d attempts, 0 wrong\n$", result.out)
    assert.equal("", result.err)
    assert.equal(0, result.code)
    assert.equal(before, outside())
  end)

  it("begins in its folder, or stays below it", function()
    riscv.compile('#include <stdio.h>\n#include <unistd.h>\nint main(void) { char t[4096]; puts(getcwd(t, sizeof t)); return 0; }\n', folder.path .. "/pwd")
    assert.equal(jail .. "\n", riscv.exec({ "--jail", jail, folder.path .. "/pwd" }).out)
    local here = lfs.currentdir()
    local text = tree.run(("mkdir %s/here && cd %s/here && %s/build/umbra exec --jail .. %s/pwd"):format(jail, jail, here, folder.path))
    assert.equal(jail .. "/here\n", text)
  end)

  it("may read its sysroot, and write there if that is in the jail", function()
    local root, write = folder.path .. "/root", folder.path .. "/jail/sysroot/write"
    tree.run(("mkdir -p %s/sysroot && cp -r /usr/riscv64-linux-gnu/lib %s/sysroot/ && cp -r %s/sysroot %s"):format(jail, jail, jail, root))
    riscv.compile([[
      #include <fcntl.h>
      #include <stdio.h>
      #include <string.h>
      #include <errno.h>
      #include <sys/stat.h>
      int main(void)
      {
        puts(open("/lib/libc.so.6", O_RDONLY) < 0 ? strerror(errno) : "read");
        puts(open("/lib/libc.so.6", O_RDWR) < 0 ? strerror(errno) : "written");
        puts(chmod("/lib/libc.so.6", 0700) < 0 ? strerror(errno) : "changed");
        puts(mkdir("/lib/made", 0700) < 0 ? strerror(errno) : "made");
        puts(open("/lib/../../../../../../lib/libc.so.6", O_RDONLY) < 0 ? strerror(errno) : "read");
        return 0;
      }
    ]], write, "")
    local before = tree.run(("cd %s && find . | sort && stat -c %%a lib/libc.so.6"):format(root))
    local result = riscv.exec { "--sysroot", root, "--jail", jail, write }
    assert.equal("", result.err)
    assert.equal("read\nPermission denied\nPermission denied\nNo such file or directory\nread\n", result.out)
    assert.equal(before, (tree.run(("cd %s && find . | sort && stat -c %%a lib/libc.so.6"):format(root))))
    result = riscv.exec { "--sysroot", jail .. "/sysroot", "--jail", jail, write }
    assert.equal("read\nwritten\nchanged\nmade\nread\n", result.out)
    assert.equal("directory", lfs.attributes(jail .. "/sysroot/lib/made").mode)
  end)

  it("has a report of its fault, and dies by it", function()
    local null = riscv.compile("int main(void)\n{ *(volatile int *)0x10 = 1; return 0; }", folder.path .. "/null")
    local result = riscv.exec { "--jail", jail, "--stats", riscv.compile("spec/guest/linux/hello.c", folder.path .. "/counted") }
    assert.matches("\n  write +1\n", result.err)
    result = riscv.exec({ "--jail", jail, null }, { env = "exec 2> /dev/null;", after = "; exit $?" })
    assert.equal(139, result.code)
    assert.matches("SIGSEGV at pc 0x%x+, touching address 0x10\n=> %x+: ", result.err)
  end)
end)

-- Whoever got past the table of calls would be where Lua is after the program has run: behind what the host enforces.
local WALL = [[
local ffi, linux = require "ffi", require "umbra.linux"
ffi.cdef "int socket(int, int, int); int unshare(int); int chroot(const char *); long syscall(long, ...);"
local program, jail, secret = arg[1], arg[2], arg[3]
local function try(what, ok, why) print(what, ok and "done" or "refused", ok and "" or why) end
local function call(what, result) try(what, result >= 0, ffi.errno()) end
assert(io.open(secret)):close()
print(linux.run { elf = program, jail = jail }.code)
local function open(what, path, mode)
  local file, _, number = io.open(path, mode)
  try(what, file, number)
end
open("read inside", jail .. "/f")
open("write inside", jail .. "/f", "a")
open("null", "/dev/null", "w")
open("read outside", secret)
open("write outside", secret, "w")
open("make outside", secret .. "2", "w")
open("by /proc", "/proc/self/root" .. secret)
open("list /proc", "/proc/self/status")
call("rename out", ffi.C.syscall(316, -100LL, jail .. "/f", -100LL, secret .. "2", 0LL))
call("rename in", ffi.C.syscall(316, -100LL, secret, -100LL, jail .. "/g", 0LL))
call("socket", ffi.C.socket(2, 1, 0))
call("unix socket", ffi.C.socket(1, 1, 0))
call("unshare", ffi.C.unshare(0x10000000))
call("chroot", ffi.C.chroot(jail))
call("mount", ffi.C.syscall(165, "none", jail, "tmpfs", 0ULL, nil))
call("ptrace", ffi.C.syscall(101, 0LL))
call("execve", ffi.C.syscall(59, "/bin/true", nil, nil))
call("clone for a namespace", ffi.C.syscall(56, 0x10000011ULL, 0ULL))
call("clone3", ffi.C.syscall(435, nil, 88ULL))
call("a device", ffi.C.syscall(133, jail .. "/device", 0x61ffULL, 0x800ULL))
call("TIOCSTI", ffi.C.syscall(16, 0LL, 0x5412LL, "x"))
return 0
]]

describe("the host's walls", function()
  it("hold alone", function()
    local hello = folder.path .. "/hello"
    riscv.compile("spec/guest/linux/hello.c", hello)
    local before = outside()
    local result = umbra.run { "exec", folder.write("wall.lua", WALL), hello, jail, secret }
    assert.equal("", result.err)
    local EPERM, EACCES, ENOSYS = 1, 13, 38
    local expected = { { "read inside" }, { "write inside" }, { "null" }, { "read outside", EACCES }, { "write outside", EACCES }, { "make outside", EACCES },
      { "by /proc", EACCES }, { "list /proc", EACCES }, { "rename out", EACCES }, { "rename in", EACCES }, { "socket", EPERM }, { "unix socket", EPERM },
      { "unshare", EPERM }, { "chroot", EPERM }, { "mount", EPERM }, { "ptrace", EPERM }, { "execve", EPERM }, { "clone for a namespace", EPERM },
      { "clone3", ENOSYS }, { "a device", EPERM }, { "TIOCSTI", EPERM } }
    local lines = { "hello\n1\n" }
    for _, row in ipairs(expected) do lines[#lines + 1] = row[2] and ("%s\trefused\t%d\n"):format(row[1], row[2]) or row[1] .. "\tdone\t\n" end
    assert.equal(table.concat(lines), result.out)
    assert.equal(before, outside())
  end)

  it("are asked for before anything runs", function()
    local function refused(pattern, words, env)
      local result = riscv.exec(words, { env = env })
      assert.matches("^umbra: [^\n]*" .. pattern .. "[^\n]*\n$", result.err)
      assert.equal("", result.out)
      return result.code
    end
    assert.equal(127, refused("jail /nowhere: No such file or directory", { "--jail", "/nowhere", escape }))
    assert.equal(126, refused("jail [^\n]*/f: Not a directory", { "--jail", jail .. "/f", escape }))
    if os.getenv "LD_PRELOAD" then return end              -- a sanitizer goes first
    local source = folder.write("without.c", [[
      #define _GNU_SOURCE
      #include <dlfcn.h>
      #include <errno.h>
      long syscall(long n, long a, long b, long c, long d, long e, long f)
      {
        static long (*real)(long, ...);
        if (!real) real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
        if (n == 444) return errno = ENOSYS, -1;           // landlock_create_ruleset
        return real(n, a, b, c, d, e, f);
      }
    ]])
    local _, code = tree.run(("gcc -shared -fPIC -w %s -o %s/without.so -ldl"):format(source, folder.path))
    assert.equal(0, code)
    assert.equal(126, refused("this host's kernel has no landlock %(Linux 5.13", { "--jail", jail, escape }, "LD_PRELOAD=" .. folder.path .. "/without.so"))
  end)
end)
