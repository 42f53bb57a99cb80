-- fetch: guests into the cache, from a mirror on this machine that can fail in every way, and once from Debian.
-- SPDX-License-Identifier: MIT
local apt      = require "umbra.fetch.apt"
local cache    = require "umbra.cache"
local cjson    = require "cjson.safe"
local fetch    = require "umbra.fetch"
local mirror   = require "spec.support.mirror"
local process  = require "umbra.fetch.process"
local progress = require "umbra.fetch.progress"
local uv       = require "luv"

local NAME = "debian-riscv64"
local KERNEL = "linux-image-9.9.9%2btest-riscv64_1.0_riscv64.deb"

describe("a program of the host", function()
  it("is given its arguments as they are and tells how it ended", function()
    local result = process.run({ "sh", "-c", 'printf %s "$1"; echo "$WORD" >&2; exit 3', "sh", "a 'b' $(c)" }, { env = { WORD = "w" } })
    assert.same({ "a 'b' $(c)", "w\n", 3, 0 }, { result.out, result.err, result.code, result.signal })
  end)

  it("reads nothing from our standard input", function()
    assert.equal("", process.run({ "cat" }).out)
  end)

  it("reports lines of its own on descriptor 3", function()
    local lines = {}
    process.run({ "sh", "-c", "printf 'one\\ntwo\\nhalf' >&3" }, { on_status = function(line) lines[#lines + 1] = line end })
    assert.same({ "one", "two" }, lines)
  end)

  it("that is not there is one line", function()
    local result, why = process.run { "umbra-no-such-program" }
    assert.is_nil(result)
    assert.equal("cannot run umbra-no-such-program: no such program", why)
    result, why = process.pipe({ "echo" }, { "umbra-no-such-program" })
    assert.is_nil(result)
    assert.equal("cannot run umbra-no-such-program: no such program", why)
  end)

  it("feeds another one", function()
    local from, to = process.pipe({ "seq", "1", "20000" }, { "tail", "-n", "1" })
    assert.equal(0, from.code)
    assert.equal("20000\n", to.out)
  end)

  it("is ended by a signal that comes to us", function()
    local timer = uv.new_timer()
    timer:start(100, 0, function() uv.kill(uv.os_getpid(), "sigint") end)
    local begun = uv.hrtime()
    local ok, problem = process.guard(function() process.run { "sleep", "60" } end)
    timer:close()
    assert.is_false(ok)
    assert.same({ interrupted = 2 }, problem)
    assert.is_true(uv.hrtime() - begun < 10e9)
    assert.is_true((process.guard(function() process.run { "true" } end)))
  end)
end)

describe("apt's configuration", function()
  it("gives the first Debian mirror in it, whatever else it names", function()
    local targets = table.concat({
      "http://security.example.org/debian-security/ bookworm-security main",
      "https://vendor.example.org/node/ nodistro main",
      "http://cdn.example.org/debian/ bookworm contrib",
      "cdrom:[Debian]/ bookworm main",
      "http://one.example.org/debian/ bookworm-updates main",
      "http://two.example.org/debian/ bookworm main",
    }, "\n")
    assert.equal("http://one.example.org/debian", apt.choose_mirror(targets))
    assert.is_nil(apt.choose_mirror "http://archive.example.org/ubuntu/ noble main")
    assert.is_nil(apt.choose_mirror "")
  end)

  it("gives the message that matters", function()
    assert.equal("Failed to fetch http://x Could not connect",
      apt.reason "Reading...\nW: a warning\nE: Failed to fetch http://x  Could not connect\nE: Some index files failed\n")
    assert.equal("no space left on the disk", apt.reason "E: Write error - write (28: No space left on device)\nE: Failed to fetch x\n")
    assert.equal("no message", apt.reason "")
  end)
end)

describe("progress", function()
  local function told(terminal)
    local text = {}
    local report = progress.new(function(chunk) text[#text + 1] = chunk end, terminal)
    report:step "fetching x"
    report:percent(50)
    report:done "x is ready"
    return table.concat(text)
  end

  it("is one line that changes on a terminal", function()
    assert.equal("fetching x\r\27[Kfetching x [############............]  50 %\r\27[Kx is ready\n", told(true))
  end)

  it("is plain lines elsewhere", function()
    assert.equal("umbra: fetching x\numbra: x is ready\n", told(false))
  end)
end)

-- What a process that loads the library needs when that was built with a sanitizer.
local ours = { LD_PRELOAD = os.getenv "LD_PRELOAD" }

describe("a fetch", function()
  local source, base, before, apt_before
  local has_gpg = (process.run { "gpg", "--version" } or { code = 1 }).code == 0

  local function new_cache()
    base = uv.fs_mkdtemp "/tmp/umbra-spec-XXXXXX"
    uv.os_setenv("XDG_CACHE_HOME", base)
  end

  setup(function()
    before = os.getenv "XDG_CACHE_HOME"
    apt_before = os.getenv "APT_CONFIG"
    if not has_gpg then return end
    source = mirror.new(uv.fs_mkdtemp "/tmp/umbra-spec-XXXXXX")
    cache.write(source.root .. "/apt.conf", 'Acquire::Retries "0";\n')      -- a setting of the host, which is taken over
    uv.os_setenv("APT_CONFIG", source.root .. "/apt.conf")
  end)

  teardown(function()
    if before then uv.os_setenv("XDG_CACHE_HOME", before) else uv.os_unsetenv "XDG_CACHE_HOME" end
    if apt_before then uv.os_setenv("APT_CONFIG", apt_before) else uv.os_unsetenv "APT_CONFIG" end
    if source then
      source.close()
      cache.remove(source.root)
    end
  end)

  before_each(function()
    new_cache()
    if source then source.log, source.broken, source.on_stall = {}, {}, nil end
  end)

  after_each(function() cache.remove(base) end)

  local function check(name, body)
    it(name, function()
      if not has_gpg then return pending "needs gpg to sign a mirror" end
      body()
    end)
  end

  local function try(changes)
    local options = { mirror = source.url, keyring = source.keyring, progress = progress.silent() }
    for key, value in pairs(changes or {}) do options[key] = value end
    return fetch.try(NAME, options)
  end

  -- The command in a process of its own.
  local function command(...)
    local words = { ... }
    for i, word in ipairs(words) do words[i] = ("%q"):format(word) end
    local script = ([[package.path = "./lua/?.lua;" .. package.path
      os.exit(require("cmd.fetch").run { %s }, true)]]):format(table.concat(words, ", "))
    return assert(process.run({ "luajit", "-e", script }, { env = ours }))
  end

  local function source_options() return "--mirror", source.url, "--keyring", source.keyring end

  local function nothing_published()
    assert.is_nil(fetch.find(NAME))
    assert.is_nil(uv.fs_stat(cache.path(NAME)))
    assert.is_nil(uv.fs_stat(cache.path("." .. NAME .. ".work/new")))
    assert.is_nil(uv.fs_stat(cache.path("." .. NAME .. ".work/tree")))
  end

  local function refused(pattern, guest, problem)
    assert.is_nil(guest)
    assert.equal(fetch.FAILED, problem.code)
    assert.matches("^cannot fetch debian%-riscv64: ", problem.text)
    assert.matches(pattern, problem.text)
    assert.is_nil(problem.text:find "\n")
    nothing_published()
  end

  check("brings kernel, firmware and initramfs, and a manifest that is true", function()
    assert.is_nil(fetch.find(NAME))
    local guest = assert(try())
    assert.same(guest, fetch.find(NAME))
    assert.equal(mirror.VERSION, guest.version)
    assert.equal("MZ kernel", cache.read(guest.kernel):sub(1, 9))
    assert.equal("dynamic firmware", cache.read(guest.firmware))
    assert.equal("jump firmware", cache.read(guest.fw_jump))
    local manifest = cjson.decode(cache.read(guest.dir .. "/manifest.json"))
    assert.equal("trixie", manifest.suite)
    assert.same({ "linux-image-" .. mirror.VERSION, "opensbi", "busybox-static" },
      { manifest.packages[1].name, manifest.packages[2].name, manifest.packages[3].name })
    assert.equal("1.0", manifest.packages[1].version)
    for _, file in ipairs(manifest.files) do
      assert.equal(process.run({ "sha256sum", guest.dir .. "/" .. file.path }).out:match "%x+", file.sha256)
    end
    assert.same({ "." .. NAME .. ".lock", NAME }, cache.list(cache.root()))
  end)

  check("packs an initramfs with init, busybox, the modules and what they need", function()
    local guest = assert(try())
    local text = process.run({ "gzip", "-dc", guest.initrd }).out
    assert.equal(0, cache.size(guest.initrd) % 4)
    for _, piece in ipairs {
      "init\0", "bin/busybox\0", "dev/console\0", "BOOT-OK uptime=", "\127ELF busybox",
      "lib/modules/" .. mirror.VERSION .. "/kernel/net/core/failover.ko.xz\0",
      "\nkernel/drivers/net/virtio_net.ko.xz: kernel/drivers/net/net_failover.ko.xz kernel/net/core/failover.ko.xz\n",
      "\nkernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.xz kernel/fs/mbcache.ko.xz\n",
      "alias virtio:d00000002v* virtio_blk\n", "alias crypto-crc32c crc32c_generic\n", "alias virtio:d00000004v* virtio_rng\n",
    } do
      assert.is_truthy(text:find(piece, 1, true), piece)
    end
    assert.is_nil(text:find("unused", 1, true))
  end)

  check("does nothing the second time, at once", function()
    assert(try())
    source.log = {}
    local begun = uv.hrtime()
    assert(try())
    assert.is_true(uv.hrtime() - begun < 100e6)
    assert.same({}, source.log)
  end)

  check("is repeated when forced, and gives the same bytes", function()
    local guest = assert(try())
    local initrd, manifest = cache.read(guest.initrd), cache.read(guest.dir .. "/manifest.json")
    local open = io.open(guest.kernel, "rb")
    source.log = {}
    assert(try { force = true })
    assert.is_true(#source.log >= 4)
    assert.equal(initrd, cache.read(guest.initrd))
    assert.equal(manifest, cache.read(guest.dir .. "/manifest.json"))
    assert.equal("MZ kernel", open:read(9))
    open:close()
  end)

  check("is repeated when a file of it is gone or short", function()
    local guest = assert(try())
    assert.is_true(cache.write(guest.kernel, "MZ"))
    assert.is_nil(fetch.find(NAME))
    assert(try())
    assert.is_true(cache.size(guest.kernel) > 2^20)
    cache.remove(guest.fw_jump)
    assert.is_nil(fetch.find(NAME))
    assert(try())
    cache.write(guest.dir .. "/manifest.json", "{ broken")
    assert.is_nil(fetch.find(NAME))
    assert(try())
  end)

  check("builds an initramfs with another init again without the network", function()
    local guest = assert(try())
    local initrd = cache.read(guest.initrd)
    local manifest = cjson.decode(cache.read(guest.dir .. "/manifest.json"))
    local size = cache.size(guest.dir .. "/parts/init")
    cache.write(guest.dir .. "/parts/init", ("#"):rep(size))
    cache.write(guest.initrd, ("#"):rep(#initrd))
    source.log = {}
    assert(try())
    assert.same({}, source.log)
    assert.equal(initrd, cache.read(guest.initrd))
    assert.same(manifest, cjson.decode(cache.read(guest.dir .. "/manifest.json")))
    assert.is_true(fetch.verify(NAME))
    assert.same({ "." .. NAME .. ".lock", NAME }, cache.list(cache.root()))
  end)

  check("can be verified", function()
    local _, absent = fetch.verify(NAME)
    assert.equal("debian-riscv64 has not been fetched, or not in full", absent)
    local guest = assert(try())
    assert.is_true(fetch.verify(NAME))
    cache.write(guest.firmware, "dynamic firmwarf")
    local good, why = fetch.verify(NAME)
    assert.is_nil(good)
    assert.equal("debian-riscv64 is damaged: fw_dynamic.bin; fetch it again with --force", why)
    local result = command("--verify", NAME)
    assert.same({ fetch.FAILED, "umbra: " .. why .. "\n" }, { result.code, result.err })
  end)

  check("refuses a mirror that nobody serves", function()
    local free = uv.new_tcp()
    free:bind("127.0.0.1", 0)
    local port = free:getsockname().port
    free:close()
    refused("Could not connect", try { mirror = ("http://127.0.0.1:%d/debian"):format(port) })
  end)

  check("refuses a mirror without the release", function()
    refused("does not have a Release file", try { mirror = source.url .. "/nowhere" })
  end)

  check("refuses what is no URL, and a keyring that is not there", function()
    refused("`not a url` is not the URL of a mirror", try { mirror = "not a url" })
    refused("keyring /nowhere%.gpg not found", try { keyring = "/nowhere.gpg" })
  end)

  check("refuses a release signed by somebody else", function()
    refused("signed by a key that the keyring does not have", try { keyring = source.stranger })
  end)

  check("refuses lists that were changed after signing", function()
    local list = source.root .. "/debian/dists/trixie/main/binary-riscv64/Packages"
    local text = cache.read(list)
    cache.write(list, (text:gsub("Version: 1.0", "Version: 6.6")))
    local guest, problem = try()
    cache.write(list, text)
    refused("another hash", guest, problem)
  end)

  check("refuses a package that is not what the list says", function()
    source.broken[KERNEL] = "garbled"
    refused("another hash", try())
    source.broken = {}
    assert(try())
  end)

  check("refuses a package that is not there", function()
    source.broken["opensbi_1.0_all.deb"] = "missing"
    refused("404", try())
  end)

  check("continues a download that broke off", function()
    source.broken[KERNEL] = "cut"
    refused("Failed to fetch", try())
    local partial = cache.path("." .. NAME .. ".work/apt/partial/linux-image-" .. mirror.VERSION .. "_1.0_riscv64.deb")
    local had = cache.size(partial)
    assert.is_true(had > 2^20)
    source.broken, source.log = {}, {}
    assert(try())
    local resumed
    for _, name in ipairs(source.log) do
      if name:find(KERNEL, 1, true) then resumed = tonumber(name:match "bytes=(%d+)%-$") end
    end
    assert.equal(had, resumed)
    assert.is_true(fetch.verify(NAME))
  end)

  check("starts over when what came before does not fit", function()
    source.broken[KERNEL] = "cut"
    refused("Failed to fetch", try())
    local partial = cache.path("." .. NAME .. ".work/apt/partial/linux-image-" .. mirror.VERSION .. "_1.0_riscv64.deb")
    local stat = uv.fs_stat(partial)
    cache.write(partial, ("x"):rep(stat.size))
    uv.fs_utime(partial, stat.atime.sec, stat.mtime.sec)
    source.broken = {}
    assert(try())
    assert.is_true(fetch.verify(NAME))
  end)

  check("interrupted leaves nothing half done, and is continued", function()
    for _, row in ipairs { { "sigint", 130 }, { "sigterm", 143 } } do
      local signal, code = row[1], row[2]
      source.broken[KERNEL] = "stall"
      source.on_stall = function()
        local timer = uv.new_timer()
        timer:start(300, 0, function()
          timer:close()
          uv.kill(uv.os_getpid(), signal)
        end)
      end
      local guest, problem = try()
      assert.is_nil(guest)
      assert.same({ code = code, text = "fetch of debian-riscv64 interrupted; what came so far is kept" }, problem)
      nothing_published()
      source.broken, source.on_stall, source.log = {}, nil, {}
      assert(try())
      assert.matches("bytes=%d+%-", table.concat(source.log, " "))
      cache.remove(cache.root())
    end
  end)

  check("killed leaves no lock behind", function()
    source.broken[KERNEL] = "stall"
    local child
    source.on_stall = function() uv.kill(child, "sigkill") end
    local script = ('package.path = "./lua/?.lua;" .. package.path; io.stdout:write(1); require("umbra.fetch").try(%q, { mirror = %q, keyring = %q })')
      :format(NAME, source.url, source.keyring)
    local over
    local handle, pid = uv.spawn("luajit", { args = { "-e", script }, stdio = {} }, function() over = true end)
    child = pid
    while not over do uv.run "once" end
    handle:close()
    assert.is_nil(fetch.find(NAME))
    source.broken, source.on_stall = {}, nil
    assert(try())
  end)

  check("waits for another one of the same guest", function()
    local lock, told = cache.lock(NAME), {}
    local timer = uv.new_timer()
    timer:start(300, 0, function() lock:close() end)
    assert(try { progress = progress.new(function(text) told[#told + 1] = text end, false) })
    timer:close()
    assert.equal("umbra: waiting for another fetch of debian-riscv64\n", told[1])
  end)

  check("can be interrupted while it waits", function()
    local lock = cache.lock(NAME)
    local timer = uv.new_timer()
    timer:start(100, 0, function() uv.kill(uv.os_getpid(), "sigterm") end)
    local guest, problem = try()
    timer:close()
    lock:close()
    assert.is_nil(guest)
    assert.equal(143, problem.code)
  end)

  check("says so when the disk is full", function()
    local small = base .. "/small"
    cache.make_dir(small)
    -- Mounts are for root; who is not may be root of a namespace.
    local function may_mount(how)
      local probe = process.run { "unshare", how, "sh", "-c", "mount -t tmpfs -o size=1m none " .. small }
      return probe and probe.code == 0 and how
    end
    local how = may_mount "-m" or may_mount "-rm"
    if not how then return pending "needs the right to mount" end
    -- Too small for the announced size; then full while the kernel comes, and while it is unpacked.
    for _, case in ipairs {
      { "4m", 0, "needs 5 MB more and has" }, { "8m", 4.5e6, "cannot fetch linux%-image" }, { "8m", 1.5e6, "cannot unpack linux%-image" },
    } do
      local script = ([[package.path = "./lua/?.lua;" .. package.path
        local cache = require "umbra.cache"
        if %d > 0 then
          cache.free_bytes = function() return 1e9 end
          assert(cache.make_dir(cache.root()) and cache.write(cache.path "filler", ("x"):rep(%d)))
        end
        os.exit(require("cmd.fetch").run { "--mirror", %q, "--keyring", %q, %q }, true)]]):format(
          case[2], case[2], source.url, source.keyring, NAME)
      local left = {}
      local result = process.run({ "unshare", how, "sh", "-c",
        'mount -t tmpfs -o size=$3 none "$1" && luajit -e "$2"; code=$?; ls -A "$1/umbra" "$1/umbra/.debian-riscv64.work" >&3; exit $code',
        "sh", small, script, case[1] },
        { env = { XDG_CACHE_HOME = small, LD_PRELOAD = ours.LD_PRELOAD }, on_status = function(name) left[name] = true end })
      assert.equal(fetch.FAILED, result.code)
      assert.matches("\numbra: cannot fetch debian%-riscv64: [^\n]*no space left on the disk[^\n]*\n$", result.err)
      assert.matches(case[3], result.err)
      assert.is_nil(result.err:find "traceback")
      assert.is_true(left["apt"])
      assert.same({}, { left[NAME], left["new"], left["tree"] })
    end
  end)

  check("refuses a cache that cannot be", function()
    cache.write(base .. "/file", "")
    uv.os_setenv("XDG_CACHE_HOME", base .. "/file")
    refused("it exists already and is not a folder", try())
    uv.os_setenv("XDG_CACHE_HOME", base .. '/a"b')
    refused("has a quote in its name", try())
    uv.os_setenv("XDG_CACHE_HOME", base .. "/with a space")
    assert(try())
  end)

  check("is a command", function()
    local result = command(NAME, source_options())
    assert.equal(0, result.code)
    assert.equal(("%s %s %s\n"):format(NAME, mirror.VERSION, cache.path(NAME)), result.out)
    assert.matches("^umbra: .*\numbra: debian%-riscv64 is ready: Linux 9", result.err)
    result = command(NAME)
    assert.same({ 0, "" }, { result.code, result.err })
    result = command "--json"
    assert.equal(mirror.VERSION, cjson.decode(result.out)[1].version)
    assert.equal(0, result.code)
  end)

  it("is listed before it is made", function()
    local result = command()
    assert.equal(0, result.code)
    assert.matches("^debian%-riscv64 .*not fetched yet\n$", result.out)
    assert.is_false(cjson.decode(command("--json").out)[1].fetched)
    assert.matches("^Usage: umbra fetch ", command("--help").out)
  end)

  it("refuses unknown words in one line", function()
    local rows = {
      { { "debian-riscv46" }, "umbra: no guest `debian%-riscv46`, did you mean `debian%-riscv64`%?\n" },
      { { "--frce", NAME }, "umbra: unknown option '%-%-frce'[^\n]*\n" },
      { { NAME, "more" }, "umbra: too many arguments[^\n]*\n" },
      { { "--force" }, "umbra: fetch: which guest%?[^\n]*\n" },
    }
    for _, row in ipairs(rows) do
      local result = command(unpack(row[1]))
      assert.equal(fetch.MISUSED, result.code)
      assert.matches("^" .. row[2] .. "$", result.err)
    end
    local ok, text = pcall(function() fetch.ensure(NAME, { miror = "x" }) end)
    assert.is_false(ok)
    assert.matches("fetch_spec%.lua:%d+: unknown key `fetch%.miror`, did you mean `mirror`%?", text)
    ok, text = pcall(function() fetch.ensure "debian" end)
    assert.is_false(ok)
    assert.matches("fetch_spec%.lua:%d+: no guest `debian`", text)
  end)
end)

describe("the guest from Debian", function()
  local guest

  setup(function() guest = fetch.ensure(NAME, { progress = progress.silent() }) end)

  -- What a boot under QEMU prints.
  local function boot(append, ...)
    local result = process.run { "timeout", "120", "qemu-system-riscv64", "-M", "virt", "-m", "512M", "-nographic", "-bios", guest.firmware,
      "-kernel", guest.kernel, "-initrd", guest.initrd, "-append", "console=ttyS0 " .. append, ... }
    assert.equal(0, result.code)
    return result.out
  end

  it("is whole", function()
    assert.is_true(fetch.verify(NAME))
    assert.equal("MZ", cache.read(guest.kernel):sub(1, 2))
    assert.equal("RSC\5", cache.read(guest.kernel):sub(0x39, 0x3c))
  end)

  it("boots and switches itself off", function()
    assert.matches("BOOT%-OK uptime=%d+%.%d+\r?\n", boot "mode=off")
  end)

  it("runs a job from a second archive that finds a disk on virtio-mmio", function()
    local folder = uv.fs_mkdtemp "/tmp/umbra-spec-XXXXXX"
    local job = "#!/bin/sh\nhead -c 11 /dev/vda; echo\nls /lib/modules/*/kernel/fs\nexit 5\n"
    cache.write(folder .. "/disk.img", "hello, disk" .. ("\0"):rep(2^20 - 11))
    cache.write(folder .. "/initrd", cache.read(guest.initrd) .. require("umbra.cpio").archive {
      { path = "bench/probe", type = "file", mode = 493, data = job } })
    local saved = guest
    guest = setmetatable({ initrd = folder .. "/initrd" }, { __index = saved })
    local text = boot("quiet mode=run job=probe", "-drive", "file=" .. folder .. "/disk.img,format=raw,if=none,id=d",
      "-device", "virtio-blk-device,drive=d")
    guest = saved
    cache.remove(folder)
    assert.matches("BOOT%-OK uptime=[%d.]+\r?\nhello, disk\r?\next4", text)
    assert.matches("JOB%-DONE rc=5", text)
  end)
end)
