-- linux-user: a RISC-V Linux program as a process of this host.
--
-- Instead of harts, RAM and devices there is a program; its system calls are what a script looks at: docs/linux.md.
-- SPDX-License-Identifier: MIT
local machine = require "umbra.machine"
local param = machine.param

return machine {
  name = "linux-user",
  process = {
    elf     = param { "elf", type = "path", required = true, help = "the program, or a script that begins with #!" },
    args    = param { "args", type = "any", help = "its arguments: text that is split at blanks; from Lua also a list" },
    env     = param { "env", type = "table", help = "its environment as { NAME = value }, from Lua; ours when not given" },
    sysroot = param { "sysroot", type = "path", help = "folder in which absolute paths are tried first" },
    isa     = param { "isa", default = "rv64gc_zba_zbb_zbs" },
    strace  = param { "strace", type = "boolean", help = "print every system call to standard error" },
    input   = param { "input", type = "string", help = "bytes for its standard input" },
    capture = param { "capture", type = "boolean", help = "keep what it prints: result.out, result.err, m.console:text()" },
  },
}
