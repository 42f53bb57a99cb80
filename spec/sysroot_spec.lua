-- sysroot: what paths mean to a program that has a sysroot.
-- SPDX-License-Identifier: MIT
local riscv = require "spec.support.riscv"
local tree  = require "spec.support.tree"
local umbra = require "spec.support.umbra"

describe("a program with a sysroot", function()
  it("finds links, .., folders, scripts and itself as if that were the root", function()
    local folder = umbra.folder()
    local root = folder.path .. "/root"
    local text, code = tree.run(("cd %s && mkdir -p root/bin root/etc root/usr/share && echo in the sysroot > root/usr/share/text && echo outside > text && "
      .. "ln -s /usr/share/text root/etc/absolute && ln -s /usr/share root/etc/folder && ln -s /bin/sysroot root/bin/interpreter && ln -s root link && "
      .. "echo '#!/bin/interpreter one' > root/bin/script && chmod 755 root/bin/script"):format(folder.path))
    assert.equal(0, code, text)
    riscv.compile("spec/guest/linux/sysroot.c", root .. "/bin/sysroot")
    -- By a link: what the kernel tells of descriptors has the folder's real path.
    local result = riscv.exec { "--sysroot", folder.path .. "/link", "/bin/sysroot", folder.path .. "/text" }
    folder.remove()
    assert.equal("", result.err)
    assert.equal([[
absolute in the sysroot, in the sysroot
beyond the root in the sysroot
below a descriptor in the sysroot, in the sysroot
a link's text /usr/share/text, /usr/share/text
chdir 0 /etc
relative in the sysroot, in the sysroot, in the sysroot
stat 0 1 1
up 0 /, in the sysroot
realpath /usr/share/text
through a link 0 /usr/share
new 0 0 0 0 0
renamed 0 0
/proc/self/exe /bin/sysroot, /bin/sysroot
/proc/self/cwd /usr/share
/proc/self/fd /usr/share/text
/proc/self/maps /bin/sysroot
of the host outside
called with by /bin/sysroot
/bin/interpreter one /bin/script with by /bin/sysroot
/bin/interpreter one ./script with by /bin/sysroot
/bin/interpreter one /dev/fd/100/script with by /bin/sysroot
/bin/interpreter one /dev/fd/101 with by /bin/sysroot
called with by /bin/sysroot
nothing: No such file or directory
]], result.out)
    assert.equal(0, result.code)
  end)
end)
