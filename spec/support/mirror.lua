-- mirror: a small Debian mirror on this machine, with all a guest is made of, for specs that fetch.
-- SPDX-License-Identifier: MIT
--
-- The server runs on luv's default loop, which process.run and fetch.try turn while they wait.
local cache   = require "umbra.cache"
local process = require "umbra.fetch.process"
local uv      = require "luv"

local mirror = {}

local SUITE = "debian/dists/trixie/"
local MODIFIED = "Sat, 01 Mar 2025 10:00:00 GMT"

mirror.VERSION = "9.9.9+test-riscv64"

local function must(argv, options)
  local result = assert(process.run(argv, options))
  assert(result.code == 0, table.concat(argv, " ") .. ": " .. result.err .. result.out)
  return result.out
end

local function put(path, data)
  assert(cache.make_dir(path:match "^(.*)/"))
  assert(cache.write(path, data))
end

-- Bytes that do not compress, the same every time.
local function noise(count)
  local words, state = {}, 12345
  for i = 1, count do
    state = state * 16807 % 2147483647
    words[i] = string.char(math.floor(state / 32768) % 256)
  end
  return table.concat(words)
end

-- A file that has the parts of a module which the toolkit reads.
local function module_file(dir, path, depends, aliases)
  local text = "\127ELF\0license=GPL\0depends=" .. depends .. "\0name=x\0"
  for _, alias in ipairs(aliases) do text = text .. "alias=" .. alias .. "\0" end
  local base = dir .. "/usr/lib/modules/" .. mirror.VERSION .. "/kernel/" .. path
  put(base, text)
  must { "xz", "-f", base }
end

local MODULES = {
  { "drivers/virtio/virtio_mmio.ko", "", { "of:N*T*Cvirtio,mmio" } },
  { "drivers/block/virtio_blk.ko", "", { "virtio:d00000002v*" } },
  { "drivers/net/virtio_net.ko", "net_failover", { "virtio:d00000001v*" } },
  { "drivers/net/net_failover.ko", "failover", {} },
  { "net/core/failover.ko", "", {} },
  { "drivers/char/hw_random/virtio-rng.ko", "", { "virtio:d00000004v*" } },
  { "fs/ext4/ext4.ko", "jbd2,mbcache", { "fs-ext4", "ext3" } },
  { "fs/jbd2/jbd2.ko", "", {} },
  { "fs/mbcache.ko", "", {} },
  { "crypto/crc32c_generic.ko", "", { "crypto-crc32c" } },
  { "lib/unused.ko", "", {} },
}

-- Builds one package from the tree `dir` into the pool; returns its paragraph for Packages.
local function package(root, dir, name, architecture, extra)
  local control = ("Package: %s\nVersion: 1.0\nArchitecture: %s\nMaintainer: nobody <nobody@example.org>\n%sDescription: for a spec\n"):format(
    name, architecture, extra or "")
  put(dir .. "/DEBIAN/control", control)
  local path = ("pool/%s_1.0_%s.deb"):format(name, architecture)
  assert(cache.make_dir(root .. "/debian/pool"))
  must { "dpkg-deb", "--root-owner-group", "-Zxz", "-z1", "-b", dir, root .. "/debian/" .. path }
  local hash = must({ "sha256sum", root .. "/debian/" .. path }):match "%x+"
  return control .. ("Filename: %s\nSize: %d\nSHA256: %s\n"):format(path, cache.size(root .. "/debian/" .. path), hash)
end

local function paragraphs(root)
  local kernel = root .. "/src/kernel"
  put(kernel .. "/boot/vmlinux-" .. mirror.VERSION, "MZ kernel" .. noise(3 * 2^20))
  put(kernel .. "/usr/lib/modules/" .. mirror.VERSION .. "/modules.builtin", "")
  for _, row in ipairs(MODULES) do module_file(kernel, row[1], row[2], row[3]) end
  local firmware = root .. "/src/opensbi/usr/lib/riscv64-linux-gnu/opensbi/generic/"
  put(firmware .. "fw_dynamic.bin", "dynamic firmware")
  put(firmware .. "fw_jump.bin", "jump firmware")
  put(root .. "/src/busybox/usr/bin/busybox", "\127ELF busybox")
  local name = "linux-image-" .. mirror.VERSION
  return {
    package(root, kernel, name, "riscv64"),
    package(root, root .. "/src/meta", "linux-image-riscv64", "riscv64", "Depends: linux-base, " .. name .. " (= 1.0)\n"),
    package(root, root .. "/src/opensbi", "opensbi", "all"),
    package(root, root .. "/src/busybox", "busybox-static", "riscv64"),
  }
end

local function gpg(home, ...)
  return must { "gpg", "--homedir", home, "--batch", "--quiet", "--no-tty", "--passphrase", "", ... }
end

-- A key pair; its public half is in the file returned.
local function new_key(root, name)
  local home = root .. "/" .. name
  assert(cache.make_dir(home))
  assert(uv.fs_chmod(home, 448))
  gpg(home, "--quick-generate-key", name .. "@example.org", "ed25519", "sign", "never")
  gpg(home, "--yes", "-o", home .. ".gpg", "--export")
  return home .. ".gpg", home
end

-- Signs the lists as they lie there now.
local function sign(self)
  local suite = self.root .. "/" .. SUITE
  local list = suite .. "main/binary-riscv64/Packages"
  local hash = must({ "sha256sum", list }):match "%x+"
  put(suite .. "Release", ("Origin: Debian\nSuite: stable\nCodename: trixie\nDate: %s\nArchitectures: riscv64\nComponents: main\n"
    .. "SHA256:\n %s %d main/binary-riscv64/Packages\n"):format(os.date("!%a, %d %b %Y %H:%M:%S UTC"), hash, cache.size(list)))
  gpg(self.home, "--yes", "-o", suite .. "InRelease", "--clearsign", suite .. "Release")
end

-- Serving ------------------------------------------------------------------------------------------------------------------

local function answer(self, client, request)
  local path = request:match "^GET (%S+)"
  local file = path and cache.size(self.root .. path:gsub("%%2b", "+")) and self.root .. path:gsub("%%2b", "+")
  self.log[#self.log + 1] = (path or "?"):match "[^/]*$" .. (request:match "\r\nRange: (%S+)" or "")
  if not file or self.broken[path:match "[^/]*$"] == "missing" then
    client:write "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    return
  end
  local data = cache.read(file)
  local total, from = #data, tonumber(request:match "\r\nRange: bytes=(%d+)%-")
  local head = "HTTP/1.1 200 OK\r\n"
  if from and from < total and request:find("\r\nIf-Range: " .. MODIFIED, 1, true) then
    head = ("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %d-%d/%d\r\n"):format(from, total - 1, total)
    data = data:sub(from + 1)
  end
  head = head .. ("Content-Length: %d\r\nLast-Modified: %s\r\n\r\n"):format(#data, MODIFIED)
  local trouble = self.broken[path:match "[^/]*$"]
  if trouble == "cut" then
    client:write(head .. data:sub(1, #data / 2), function() client:close() end)
  elseif trouble == "stall" then
    client:write(head .. data:sub(1, #data / 2), function()
      if self.on_stall then self.on_stall() end
    end)
  elseif trouble == "garbled" then
    client:write(head .. ("x"):rep(#data))
  else
    client:write(head .. data)
  end
end

local function serve(self)
  local server = uv.new_tcp()
  assert(server:bind("127.0.0.1", 0))
  server:listen(16, function()
    local client, rest = uv.new_tcp(), ""
    server:accept(client)
    self.clients[#self.clients + 1] = client
    client:read_start(function(_, data)
      if not data then
        if not client:is_closing() then client:close() end
        return
      end
      rest = (rest .. data):gsub("(.-\r\n)\r\n", function(request)
        answer(self, client, request)
        return ""
      end)
    end)
  end)
  self.server = server
  self.url = ("http://127.0.0.1:%d/debian"):format(server:getsockname().port)
end

-- A mirror in the new folder `root`: .url, .keyring (of its key), .stranger (a keyring without it), .log (names of the files
-- asked for, with the range if any), .broken (name of a file -> "missing", "cut", "stall" or "garbled"), :sign(), :close().
function mirror.new(root)
  local self = { root = root, log = {}, broken = {}, clients = {}, sign = sign }
  put(root .. "/" .. SUITE .. "main/binary-riscv64/Packages", table.concat(paragraphs(root), "\n"))
  self.keyring, self.home = new_key(root, "signer")
  self.stranger = new_key(root, "stranger")
  sign(self)
  serve(self)
  function self.close()
    for _, client in ipairs(self.clients) do
      if not client:is_closing() then client:close() end
    end
    self.server:close()
    uv.run "nowait"
    for _, name in ipairs { "signer", "stranger" } do process.run { "gpgconf", "--homedir", root .. "/" .. name, "--kill", "all" } end
  end
  return self
end

return mirror
