-- umbra: runs the umbra command as a process, and makes the files it is given.
-- SPDX-License-Identifier: MIT
local lfs  = require "lfs"
local tree = require "spec.support.tree"

local umbra = {}

local function quote(word) return "'" .. word:gsub("'", "'\\''") .. "'" end
umbra.quote = quote

-- Runs `build/umbra WORDS...` (an array) and returns { code =, out =, err = }. options: input = bytes for its standard input (none:
-- empty), seconds = limit (20; the exit code is then 137), env = text before the command, after = shell text behind it.
function umbra.run(words, options)
  options = options or {}
  local base = os.tmpname()
  local quoted = {}
  for i, word in ipairs(words) do quoted[i] = quote(word) end
  local input = "/dev/null"
  if options.input then
    input = base .. ".in"
    local file = assert(io.open(input, "wb"))
    file:write(options.input)
    file:close()
  end
  local _, code = tree.run(("( %s timeout -s KILL %d build/umbra %s < %s > %s.out 2> %s.err %s )"):format(
    options.env or "", options.seconds or 20, table.concat(quoted, " "), input, base, base, options.after or ""))
  local result = { code = code, out = tree.read(base .. ".out"), err = tree.read(base .. ".err") }
  for _, ending in ipairs { "", ".in", ".out", ".err" } do os.remove(base .. ending) end
  return result
end

-- Words for `umbra exec` that keep a sanitizer, which is preloaded into umbra, from its guest.
function umbra.without_preload()
  if os.getenv "LD_PRELOAD" then return "--env", "LD_PRELOAD=" end
end

-- Whether the host has a program.
function umbra.has(program)
  local _, code = tree.run("command -v " .. quote(program))
  return code == 0
end

-- A new folder with `files` ({ name = text }), removed with everything in it by folder:remove().
function umbra.folder(files)
  local path = os.tmpname()
  os.remove(path)
  assert(lfs.mkdir(path))
  local self = { path = path }
  function self.write(name, text)
    local file = assert(io.open(path .. "/" .. name, "wb"))
    file:write(text)
    file:close()
    return path .. "/" .. name
  end
  function self.remove() tree.run("rm -rf " .. quote(path)) end
  for name, text in pairs(files or {}) do self.write(name, text) end
  return self
end

-- Assembles guest code for rv64gc at 0x80000000 into `path`. Symbols of the text become the file's.
function umbra.assemble(text, path)
  local source = path .. ".s"
  local file = assert(io.open(source, "w"))
  file:write(text)
  file:close()
  local output, code = tree.run(("clang --target=riscv64-unknown-elf -march=rv64gc -mno-relax -nostdlib -fuse-ld=lld -Wl,-Ttext=0x80000000 -o %s %s")
    :format(quote(path), quote(source)))
  os.remove(source)
  assert(code == 0, output)
  return path
end

return umbra
