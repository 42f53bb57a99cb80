-- linux_edges: what a process meets at its edges: closed streams, limits, overflowed stacks, threads that fault, children that count.
-- SPDX-License-Identifier: MIT
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
