-- linux_edges: what a process meets at its edges: closed streams, limits, overflowed stacks, threads that fault, children that count.
-- SPDX-License-Identifier: MIT
local linux = require "umbra.linux"
local riscv = require "spec.support.riscv"
local tree  = require "spec.support.tree"
local umbra = require "spec.support.umbra"

local folder
setup(function() folder = umbra.folder() end)
teardown(function() folder.remove() end)

-- Shells tell of signals.
local function exec_quietly(words) return riscv.exec(words, { env = "exec 2> /dev/null;", after = "; exit $?" }) end

describe("a program without some standard descriptors", function()
  it("finds what a native one does", function()
    if os.getenv "LD_PRELOAD" then return pending "a preloaded sanitizer opens descriptors of its own" end
    local guest = riscv.compile("spec/guest/linux/streams.c", folder.path .. "/streams")
    local native = riscv.native("spec/guest/linux/streams.c", folder.path .. "/streams-native")
    for _, how in ipairs { ">&-", "<&-", "2>&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-", "> /dev/full", "< /dev/null > /dev/null" } do
      local function run(command)
        local found = folder.path .. "/found"
        local text, code = tree.run(("exec 2> /dev/null; LD_PRELOAD= %s %s < /dev/null %s; echo $?"):format(command, found, how))
        assert.equal(0, code)
        return text .. tree.read(found)
      end
      assert.equal(run(native), run("build/umbra exec " .. guest), how)
    end
  end)
end)

describe("limits", function()
  it("of a program hold for what it maps", function()
    local source, expected = "spec/guest/linux/limits.c", "address space 0 1 1 1\nraised 0 1 1\ndata 0 1 1\n"
    local result = riscv.exec { riscv.compile(source, folder.path .. "/limits") }
    assert.equal(expected, result.out)
    assert.equal(0, result.code)
    assert.equal(expected, (tree.run("LD_PRELOAD= " .. riscv.native(source, folder.path .. "/limits-native"))))
  end)

  it("of ours that leave no room are told in one line", function()
    if os.getenv "LD_PRELOAD" then return pending "a sanitizer needs the room first" end
    local text, code = tree.run "ulimit -v 1000000; build/umbra exec build/umbra 2>&1; build/umbra exec /bin/true 2>&1"
    assert.equal(126, code)
    assert.matches("^umbra: cannot reserve 256 GiB [^\n]*ulimit %-v[^\n]*\numbra: cannot reserve [^\n]*\n$", text)
  end)
end)

describe("the report of a fault", function()
  it("is there for every thread, with that thread's registers", function()
    local path = riscv.compile([[
      #include <pthread.h>
      static void *fault(void *at)
      {
        register long a5 __asm__("a5") = (long)at;
        __asm__ volatile("li s3, 0x1234\n sb zero, 0(%0)" : : "r"(a5) : "s3", "memory");
        return at;
      }
      int main(void)
      {
        pthread_t thread;
        pthread_create(&thread, 0, fault, (void *)0x18);
        pthread_join(thread, 0);
        return 0;
      }
    ]], folder.path .. "/thread")
    local result = exec_quietly { path }
    assert.equal(139, result.code)
    assert.matches("^umbra: .-/thread: SIGSEGV at pc 0x%x+ <fault%+0x%x+>, touching address 0x18\n=> %x+: sb zero, 0%(a5%)\n", result.err)
    assert.matches(" a5   0000000000000018%s", result.err)
    assert.matches(" s3   0000000000001234%s", result.err)
  end)

  it("says of a stack that it overflowed", function()
    local deep = "int f(int n) { volatile char a[4096]; a[n & 4095] = n; return f(n + 1) + a[0]; }\nint main(void) { return f(0); }\n"
    local result = exec_quietly { riscv.compile(deep, folder.path .. "/deep") }
    assert.equal(139, result.code)
    assert.matches("<f%+0x%x+>, touching address 0x3f%x+\n   that is just below its stack, which has overflowed\n=> ", result.err)
  end)
end)

describe("system calls", function()
  it("answer as the host's kernel does: files, events, processes, every operation of futexes", function()
    local source = "spec/guest/linux/calls.c"
    local guest, native = riscv.compile(source, folder.path .. "/calls"), riscv.native(source, folder.path .. "/calls-native")
    local expected, code = tree.run(("mkdir %s/1 %s/2 && LD_PRELOAD= %s %s/1"):format(folder.path, folder.path, native, folder.path))
    assert.equal(0, code)
    local result = riscv.exec { guest, folder.path .. "/2" }
    assert.equal(expected, result.out)
    assert.matches("FUTEX_LOCK_PI, 0, NULL, NULL, 0%) = 0 \nalarmed 1\n", expected)
    assert.equal(0, result.code)
  end)

  it("tell of the processors what the ISA string says", function()
    local guest = riscv.compile([[
      #define _GNU_SOURCE
      #include <sched.h>
      #include <stdint.h>
      #include <stdio.h>
      #include <sys/syscall.h>
      #include <unistd.h>
      typedef struct { int64_t key; uint64_t value; } Pair;
      static long probe(Pair *pairs, long count, long bytes, void *set, long flags) { return syscall(258, pairs, count, bytes, set, flags); }
      int main(void)
      {
        Pair pairs[] = { { 3 }, { 4 }, { 5 }, { 6 }, { 7 }, { 9 }, { 99 }, { -5 } }, base = { 3, 1 }, zba = { 4, 1 << 3 }, unknown = { 99 };
        cpu_set_t none, one;
        printf("%ld", probe(pairs, 8, 0, 0, 0));
        for (int i = 0; i < 8; i++) printf(" %ld:%lx", (long)pairs[i].key, (long)pairs[i].value);
        CPU_ZERO(&none);
        CPU_ZERO(&one);
        CPU_SET(sched_getcpu(), &one);
        printf("\n%ld", probe(&base, 1, sizeof none, &none, 1)), printf(" %d", CPU_COUNT(&none) > 0);
        printf(" %ld", probe(&zba, 1, sizeof one, &one, 1)), printf(" %d", CPU_COUNT(&one));
        printf(" %ld", probe(&unknown, 1, sizeof none, &none, 1)), printf(" %d %ld", CPU_COUNT(&none), (long)unknown.key);
        printf(" %ld %ld\n", probe(&base, 1, 0, 0, 1), probe(&base, 1, 0, 0, 2));
        return 0;
      }
    ]], folder.path .. "/probe")
    local function said(isa) return riscv.exec({ "--cpu", isa, guest }).out end
    local tail = " 7:3fffffffff 9:3 -1:0 -1:0\n0 1 0 %d 0 0 -1 -1 -1\n"
    assert.equal("0 3:1 4:3 5:3 6:0" .. tail:format(0), said "rv64gc")
    assert.equal("0 3:1 4:3b 5:3 6:0" .. tail:format(1), said "rv64gc_zba_zbb_zbs")
    assert.equal("0 3:1 4:10008000000cb 5:3 6:40" .. tail:format(1), said "rv64gc_zba_zbc_zicboz_zicond_zawrs")
  end)
end)

describe("a signal that looks like a fault", function()
  it("may come by a descriptor of the process, and not by one of a pipe", function()
    local path = riscv.compile([[
      #define _GNU_SOURCE
      #include <errno.h>
      #include <fcntl.h>
      #include <signal.h>
      #include <stdio.h>
      #include <string.h>
      #include <sys/syscall.h>
      #include <unistd.h>
      static void handler(int signal, siginfo_t *info, void *context) { dprintf(1, "%d %d\n", signal, info->si_code); }
      int main(void)
      {
        struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
        siginfo_t info;
        int self = syscall(SYS_pidfd_open, getpid(), 0), pipes[2];
        memset(&info, 0, sizeof info);
        info.si_signo = SIGSEGV;
        info.si_code = 1;
        sigaction(SIGSEGV, &action, 0);
        sigaction(SIGIO, &action, 0);
        dprintf(1, "%ld\n", syscall(SYS_pidfd_send_signal, self, SIGSEGV, &info, 0));
        pipe(pipes);
        fcntl(pipes[0], F_SETOWN, getpid());
        fcntl(pipes[0], F_SETFL, O_ASYNC);
        dprintf(1, "%d %d\n", fcntl(pipes[0], F_SETSIG, SIGSEGV), errno == EINVAL);
        dprintf(1, "%d\n", fcntl(pipes[0], F_SETSIG, SIGIO));
        write(pipes[1], "x", 1);
        return 0;
      }
    ]], folder.path .. "/forged")
    local result = riscv.exec { path }
    assert.equal("11 1\n0\n-1 1\n0\n29 1\n", result.out)
    assert.equal("", result.err)
    assert.equal(0, result.code)
  end)
end)

describe("a hook in a child of vfork", function()
  it("writes what the parent sees", function()
    local path = riscv.compile([[
      #include <stdio.h>
      #include <sys/wait.h>
      #include <unistd.h>
      int main(void)
      {
        char path[20] = "/nowhere/at/all";
        if (vfork() == 0) {
          execl(path, path, (char *)0);
          _exit(3);
        }
        int status;
        wait(&status);
        printf("%s %d\n", path, WEXITSTATUS(status));
        return 0;
      }
    ]], folder.path .. "/hooked")
    local p = linux.new { elf = path, capture = true }
    p:on("execve", function(call)
      if not call.returned then p:write(call[1], "/elsewhere") end
    end)
    local result = p:run()
    p:close()
    assert.equal("/elsewheret/all 3\n", result.out)
  end)
end)

describe("--stats", function()
  it("adds up what the children did", function()
    local path = riscv.compile([[
      #include <sys/wait.h>
      #include <unistd.h>
      static void spin(long n) { while (n--) __asm__ volatile(""); }
      int main(void)
      {
        for (int i = 0; i < 3; i++) {
          if (fork() == 0) {
            if (fork() == 0) spin(1000000), getppid(), _exit(0);
            wait(0);
            _exit(getppid() == 0);
          }
          wait(0);
        }
        return 0;
      }
    ]], folder.path .. "/family")
    local result = riscv.exec { "--stats", path }
    assert.equal(0, result.code)
    local children, instructions, calls = result.err:match "\nchildren +(%d+) ended, instructions (%d+), system calls (%d+)\n"
    assert.equal("6", children)
    assert.is_true(tonumber(instructions) >= 6000000 and tonumber(instructions) < 6100000, instructions)
    assert.is_true(tonumber(calls) >= 15 and tonumber(calls) < 60, calls)
    assert.matches("\n  getppid +0, of children 6\n", result.err)
    assert.matches("\nthreads +1, forks 3,", result.err)
  end)
end)
