-- fetch: brings guests that others built, by apt, into the cache.
-- SPDX-License-Identifier: MIT
--
-- A guest is a folder of the cache: what a machine boots, and manifest.json, which names the versions and the hash of every file.
-- It appears whole or not at all. What an interrupted or failed fetch got so far stays beside it, hidden, for the next one.

local cjson    = require "cjson.safe"
local uv       = require "luv"
local apt      = require "umbra.fetch.apt"
local cache    = require "umbra.cache"
local cpio     = require "umbra.cpio"
local fault    = require "umbra.fault"
local modules  = require "umbra.fetch.modules"
local process  = require "umbra.fetch.process"
local progress = require "umbra.fetch.progress"
local schema   = require "umbra.schema"

local fetch = {}

local here = debug.getinfo(1, "S").source:match "^@(.*)umbra/fetch%.lua$"    -- .../lua/

local FORMAT = 1                                        -- of manifest.json and of the folder it describes
local RECIPE = 1                                        -- of build_initramfs: counts its changes, so that old ones are built again
local WAIT_MS = 100                                     -- between two looks at another's lock
local EXECUTABLE = 493                                  -- 0755
local ALIGN = 4                                         -- bytes, of an archive in an initramfs

-- Exit codes of the command for what fetch.try returns (docs/fetch.md).
fetch.FAILED, fetch.MISUSED = 127, 126

-- The guests, by name. `meta` depends on the package with the kernel, whose name changes with every version.
local GUESTS = {
  ["debian-riscv64"] = {
    summary = "Debian 13's Linux for riscv64, OpenSBI, and a small user land in an initramfs",
    suite = "trixie", architecture = "riscv64",
    meta = "linux-image-riscv64", kernel = "^linux%-image%-%d",
    packages = { "opensbi", "busybox-static" },
    firmware = "usr/lib/riscv64-linux-gnu/opensbi/generic/",
    busybox = "usr/bin/busybox",
    -- Drivers of the machines' devices, the file system of their disks and the checksum that it asks the kernel for by name.
    modules = { "virtio_mmio", "virtio_blk", "virtio_net", "virtio-rng", "ext4", "crc32c_generic" },
    -- Where those and what they need lie in the package.
    folders = { "drivers/virtio", "drivers/block", "drivers/char/hw_random", "drivers/net/virtio_net*", "drivers/net/net_failover*",
                "net/core", "fs/ext4", "fs/jbd2", "fs/mbcache*", "lib", "crypto" },
  },
  -- A user land whose programs run as processes (umbra exec --sysroot).
  ["debian-riscv64-sysroot"] = {
    summary = "Debian 13's programs and libraries for riscv64, to run with umbra exec",
    suite = "trixie", architecture = "riscv64",
    sysroot = { "libc6", "base-files", "coreutils", "bash", "dash", "grep", "sed", "findutils", "diffutils", "gzip", "python3", "python3-minimal",
                "libpython3.13-testsuite", "lua5.4", "sqlite3", "zstd", "xz-utils", "openssl", "perl-base" },
  },
}
local NAMES = { "debian-riscv64", "debian-riscv64-sysroot" }

local OPTIONS = {
  { "mirror",   type = "string",  help = "URL of a Debian mirror; the one apt is set up with when not given" },
  { "keyring",  type = "path",    default = "/usr/share/keyrings/debian-archive-keyring.gpg", help = "keys that may sign it" },
  { "force",    type = "boolean", default = false, help = "fetch again what is there already" },
  { "progress", type = "any",     help = "a reporter of umbra.fetch.progress; standard error when not given" },
}

-- The names of all guests, in the order to show them.
function fetch.names()
  local names = {}
  for i, name in ipairs(NAMES) do names[i] = name end
  return names
end

function fetch.summary(name) return GUESTS[name].summary end

local function refuse(text, ...) error { refusal = text:format(...) } end

local function need(value, why)
  if not value then error { refusal = why } end
  return value
end

local function json(text) return (cjson.encode(text):gsub("\\/", "/")) end

-- The manifest of a folder whose files are all there in full length, or nil.
local function load_manifest(dir)
  local text = cache.read(dir .. "/manifest.json")
  local manifest = text and cjson.decode(text)
  if type(manifest) ~= "table" or manifest.format ~= FORMAT or type(manifest.files) ~= "table" then return nil end
  for _, file in ipairs(manifest.files) do
    if type(file) ~= "table" or cache.size(dir .. "/" .. tostring(file.path)) ~= file.size then return nil end
  end
  return manifest
end

local function describe(name, dir, manifest)
  if GUESTS[name].sysroot then return { name = name, dir = dir, version = manifest.kernel, sysroot = dir .. "/root" } end
  return {
    name = name, dir = dir, version = manifest.kernel,
    kernel = dir .. "/Image", initrd = dir .. "/initramfs.cpio.gz",
    firmware = dir .. "/fw_dynamic.bin", fw_jump = dir .. "/fw_jump.bin",
  }
end

-- A guest that was fetched: { name, dir, version, kernel, initrd, firmware, fw_jump }, the last four paths of files, or for a user
-- land { name, dir, version, sysroot }; or nil.
function fetch.find(name)
  if not GUESTS[name] then return nil end
  local dir = cache.path(name)
  local manifest = load_manifest(dir)
  return manifest and describe(name, dir, manifest)
end

-- Whether the files of a fetched guest still have the hashes they came with: true, or nil and one line of text.
function fetch.verify(name)
  local guest = fetch.find(name)
  if not guest then return nil, name .. " has not been fetched, or not in full" end
  local argv = { "sha256sum", "--" }
  local manifest = load_manifest(guest.dir)
  for _, file in ipairs(manifest.files) do argv[#argv + 1] = guest.dir .. "/" .. file.path end
  local result, why = process.run(argv)
  if not result then return nil, why end
  local at, damaged = 0, {}
  for hash in result.out:gmatch "[^\n]+" do
    at = at + 1
    local file = manifest.files[at]
    if not file or hash:match "^\\?(%x+)" ~= file.sha256 then damaged[#damaged + 1] = file and file.path or "?" end
  end
  if result.code ~= 0 or at ~= #manifest.files then return nil, "cannot read " .. name .. ": " .. apt.reason(result.err) end
  if #damaged > 0 then return nil, ("%s is damaged: %s; fetch it again with --force"):format(name, table.concat(damaged, ", ")) end
  return true
end

-- Building ---------------------------------------------------------------------------------------------------------------

local function read_init(name)
  return need(cache.read(here .. "guests/" .. name .. "/init"))
end

-- Writes initramfs.cpio.gz into `dir` from what lies in dir/parts. `version` is the kernel's.
local function build_initramfs(name, dir, version)
  local parts, base = dir .. "/parts/", "lib/modules/" .. version .. "/"
  local entries = {
    -- The kernel opens this one for init before anything is mounted.
    { path = "dev/console", type = "char", major = 5, minor = 1 },
    { path = "proc", type = "dir" }, { path = "sys", type = "dir" }, { path = "root", type = "dir", mode = 448 },
    { path = "bench", type = "dir" }, { path = "tmp", type = "dir" },
    { path = "bin/busybox", type = "file", mode = EXECUTABLE, data = need(cache.read(parts .. "busybox")) },
    { path = "bin/sh", type = "link", target = "busybox" },
    { path = "sbin/modprobe", type = "link", target = "../bin/busybox" },
    { path = "init", type = "file", mode = EXECUTABLE, data = need(cache.read(parts .. "init")) },
    -- What a mount without a type tries; asking for it makes the kernel load the module.
    { path = "etc/filesystems", type = "file", data = "ext4\n" },
  }
  local closure = modules.closure(parts .. "modules", GUESTS[name].modules)
  for _, module in ipairs(closure) do
    entries[#entries + 1] = { path = base .. module.path, type = "file", data = need(cache.read(parts .. "modules/" .. module.path)) }
  end
  local dep, alias = modules.index(closure)
  entries[#entries + 1] = { path = base .. "modules.dep", type = "file", data = dep }
  entries[#entries + 1] = { path = base .. "modules.alias", type = "file", data = alias }
  need(cache.write(dir .. "/initramfs.cpio", cpio.archive(entries)))
  apt.must("cannot compress the initramfs", { "gzip", "-9", "-n", "-f", dir .. "/initramfs.cpio" })
  -- The kernel wants a further archive behind this one to begin at a multiple of four.
  local packed = need(cache.read(dir .. "/initramfs.cpio.gz"))
  need(cache.write(dir .. "/initramfs.cpio.gz", packed .. ("\0"):rep(-#packed % ALIGN)))
end

-- Files below `dir`, relative and sorted. What a symbolic link names is found in its own place.
local function files_of(dir, prefix, found)
  for _, name in ipairs(cache.list(dir)) do
    local kind = (uv.fs_lstat(dir .. "/" .. name) or {}).type
    if kind == "file" then
      found[#found + 1] = prefix .. name
    elseif kind == "directory" then
      files_of(dir .. "/" .. name, prefix .. name .. "/", found)
    end
  end
  return found
end

-- Writes manifest.json. The order of keys is fixed, so that equal guests have equal manifests.
local function write_manifest(name, dir, kernel, packages)
  local argv, rows, listed = { "sha256sum", "--" }, {}, {}
  local paths = files_of(dir, "", {})
  for i, path in ipairs(paths) do
    need(cache.sync(dir .. "/" .. path))
    argv[i + 2] = path
  end
  local sums = apt.must("cannot hash the files", argv, { cwd = dir })
  for hash in sums:gmatch "(%x+)[^\n]*\n" do
    local path = paths[#rows + 1]
    rows[#rows + 1] = ('    { "path": %s, "size": %d, "sha256": "%s" }'):format(json(path), cache.size(dir .. "/" .. path), hash)
  end
  for i, package in ipairs(packages) do
    listed[i] = ('    { "name": %s, "version": %s }'):format(json(package.name), json(package.version))
  end
  need(cache.write(dir .. "/manifest.json", ([[{
  "format": %d,
  "recipe": %d,
  "name": "%s",
  "suite": "%s",
  "kernel": %s,
  "packages": [
%s
  ],
  "files": [
%s
  ]
}
]]):format(FORMAT, RECIPE, name, GUESTS[name].suite, json(kernel), table.concat(listed, ",\n"), table.concat(rows, ",\n"))))
end

-- The folder in which the next version of a guest is put together, empty.
local function new_stage(work)
  local stage = work .. "/new"
  need(cache.remove(stage))
  need(cache.make_dir(stage .. "/parts"))
  return stage
end

local function move(from, to)
  local ok, why = uv.fs_rename(from, to)
  if not ok then refuse("cannot move %s: %s", from, why) end
end

-- The one name in `dir` that matches; refuses when there is none.
local function only(dir, pattern, what)
  for _, name in ipairs(cache.list(dir)) do
    if name:find(pattern) then return name end
  end
  refuse("the kernel package has no %s", what)
end

-- Puts kernel, modules, firmware and busybox into `stage` from the packages `debs`; returns the kernel's version.
local function unpack(guest, root, work, stage, debs)
  local tree = work .. "/tree"
  need(cache.remove(tree))
  need(cache.make_dir(tree))
  local patterns = { "./boot/vmlinu*" }
  for _, folder in ipairs(guest.folders) do patterns[#patterns + 1] = "*/lib/modules/*/kernel/" .. folder:gsub("([^*])$", "%1/*") end
  root:unpack(debs.kernel, patterns, tree)
  root:unpack(debs["opensbi"], { "./" .. guest.firmware .. "fw_*.bin" }, tree)
  root:unpack(debs["busybox-static"], { "./" .. guest.busybox }, tree)
  local image = only(tree .. "/boot", "^vmlinu[xz]%-", "boot/vmlinux")
  local base = tree .. "/usr/lib/modules"
  if #cache.list(base) == 0 then base = tree .. "/lib/modules" end
  local version = only(base, "^%d", "modules")
  move(tree .. "/boot/" .. image, stage .. "/Image")
  for _, file in ipairs { "fw_dynamic.bin", "fw_jump.bin" } do move(tree .. "/" .. guest.firmware .. file, stage .. "/" .. file) end
  move(tree .. "/" .. guest.busybox, stage .. "/parts/busybox")
  for _, module in ipairs(modules.closure(base .. "/" .. version, guest.modules)) do
    local path = stage .. "/parts/modules/" .. module.path
    need(cache.make_dir(path:match "^(.*)/"))
    move(base .. "/" .. version .. "/" .. module.path, path)
  end
  need(cache.remove(tree))
  return version
end

-- Refuses when the disk cannot take what is still to come and what is unpacked from it, about half as much again.
local function check_room(root, work, places)
  local wanted = 0
  for _, place in ipairs(places) do
    wanted = wanted + place.size * 1.5
    if cache.size(root.dir .. "/debs/" .. place.file) then wanted = wanted - place.size end
    wanted = wanted - (cache.size(root.dir .. "/partial/" .. place.file) or 0)
  end
  local free = cache.free_bytes(work)
  if free and free < wanted then
    refuse("no space left on the disk: %s needs %.0f MB more and has %.0f MB", work:match "^(.*)/[^/]*$", wanted / 1e6, free / 1e6)
  end
end

-- The real package behind the meta package, from its Depends field.
local function kernel_package(guest, meta)
  for name in (meta.depends or ""):gmatch "[%w.+-]+" do
    if name:find(guest.kernel) then return name end
  end
  refuse("%s depends on no kernel package", guest.meta)
end

-- A private apt root with the lists of the guest's suite.
local function open_apt(guest, work, options, report)
  report:step "asking apt for its mirror and settings"
  local mirror = options.mirror or apt.host_mirror()
  local root = apt.root(work .. "/apt", {
    mirror = mirror, keyring = options.keyring, suite = guest.suite, architecture = guest.architecture })
  report:step(("fetching the package lists of %s"):format(guest.suite))
  root:update(function(percent) report:percent(percent) end)
  return root
end

local function fetch_packages(guest, work, options, report)
  local root = open_apt(guest, work, options, report)
  local kernel = kernel_package(guest, root:show({ guest.meta })[1])
  local names = { kernel }
  for _, name in ipairs(guest.packages) do names[#names + 1] = name end
  local shown, places = root:show(names), root:locate(names)
  check_room(root, work, places)
  local debs, packages = {}, {}
  for i, name in ipairs(names) do
    local place = places[i]
    report:step(("fetching %s %s (%.1f MB)"):format(name, shown[i].version, place.size / 1e6))
    debs[name == kernel and "kernel" or name] = root:download(place, function(percent) report:percent(percent) end)
    packages[i] = { name = name, version = shown[i].version }
  end
  return root, debs, packages
end

-- A user land: the packages and what they depend on, unpacked beside one another. Nothing is configured, as that takes running them.
local function make_sysroot(name, work, options, report)
  local guest = GUESTS[name]
  local root = open_apt(guest, work, options, report)
  local places = root:locate(root:closure(guest.sysroot))
  check_room(root, work, places)
  local stage = new_stage(work)
  local tree = stage .. "/root"
  need(cache.make_dir(tree .. "/usr"))
  -- Debian's merged /usr, whichever package comes first.
  for _, folder in ipairs { "bin", "lib", "sbin" } do
    need(cache.make_dir(tree .. "/usr/" .. folder))
    need(uv.fs_symlink("usr/" .. folder, tree .. "/" .. folder))
  end
  for i, place in ipairs(places) do
    report:step(("fetching %d of %d: %s %s (%.1f MB)"):format(i, #places, place.name, place.version, place.size / 1e6))
    root:unpack(root:download(place, function(percent) report:percent(percent) end), { "./*" }, tree)
  end
  report:step "hashing the files"
  need(cache.remove(stage .. "/parts"))
  write_manifest(name, stage, "Debian " .. guest.suite, places)
  process.checkpoint()
  need(cache.publish(name, stage))
  need(cache.remove(work))
end

-- Fetches everything anew and publishes it.
local function make(name, work, options, report)
  local guest = GUESTS[name]
  if guest.sysroot then return make_sysroot(name, work, options, report) end
  local root, debs, packages = fetch_packages(guest, work, options, report)
  report:step "unpacking the kernel"
  local stage = new_stage(work)
  local version = unpack(guest, root, work, stage, debs)
  report:step "building the initramfs"
  need(cache.write(stage .. "/parts/init", read_init(name), EXECUTABLE))
  build_initramfs(name, stage, version)
  write_manifest(name, stage, version, packages)
  process.checkpoint()
  need(cache.publish(name, stage))
  need(cache.remove(work))
end

-- Builds the initramfs of a fetched guest again because this umbra builds it differently; nothing is fetched.
local function refresh(name, work, report)
  local dir = cache.path(name)
  local manifest = load_manifest(dir)
  report:step "building the initramfs"
  local stage = new_stage(work)
  for _, file in ipairs(manifest.files) do
    if file.path ~= "initramfs.cpio.gz" and file.path ~= "parts/init" then
      need(cache.make_dir((stage .. "/" .. file.path):match "^(.*)/"))
      local ok, why = uv.fs_link(dir .. "/" .. file.path, stage .. "/" .. file.path)
      if not ok then refuse("cannot link %s: %s", file.path, why) end
    end
  end
  need(cache.write(stage .. "/parts/init", read_init(name), EXECUTABLE))
  build_initramfs(name, stage, manifest.kernel)
  write_manifest(name, stage, manifest.kernel, manifest.packages)
  process.checkpoint()
  need(cache.publish(name, stage))
  uv.fs_rmdir(work)                                     -- stays when it holds downloads of an interrupted --force
end

-- Whether nothing is to be done: the guest is there and its initramfs is the one this umbra would build.
local function is_current(name)
  local dir = cache.path(name)
  local manifest = load_manifest(dir)
  return manifest and manifest.recipe == RECIPE and (GUESTS[name].sysroot or cache.read(dir .. "/parts/init") == read_init(name))
end

-- Whether what was fetched is enough to build the initramfs from.
local function has_parts(name)
  if GUESTS[name].sysroot then return false end
  local dir = cache.path(name) .. "/parts"
  return fetch.find(name) and cache.size(dir .. "/busybox") and (pcall(modules.closure, dir .. "/modules", GUESTS[name].modules))
end

local function take_lock(name, report)
  local told
  while true do
    local lock = cache.lock(name)
    if lock == nil then need(cache.lock(name)) end
    if lock then return lock end
    if not told then report:step(("waiting for another fetch of %s"):format(name)) end
    told = true
    process.sleep(WAIT_MS)
  end
end

local function run(name, options, report)
  if not options.force and is_current(name) then return end
  local lock = take_lock(name, report)
  local work = cache.path("." .. name .. ".work")
  local ok, problem = pcall(function()
    if not options.force and is_current(name) then return end       -- made by another meanwhile
    need(cache.make_dir(work))
    if not options.force and has_parts(name) then refresh(name, work, report) else make(name, work, options, report) end
    report:done(("%s is ready: %s in %s"):format(name, (GUESTS[name].sysroot and "" or "Linux ") .. fetch.find(name).version, cache.path(name)))
  end)
  if not ok then
    -- Downloads stay for the next time; what was being put together from them does not.
    cache.remove(work .. "/new")
    cache.remove(work .. "/tree")
  end
  lock.close()
  if not ok then error(problem, 0) end
end

-- Makes sure that a guest is there: returns what fetch.find does, or nil and { text = one line, code = exit code }.
-- Options: mirror, keyring, force, progress. Does nothing when it is there already, unless forced. Must not be called from
-- inside a luv callback; SIGINT, SIGTERM and SIGHUP end it cleanly meanwhile.
function fetch.try(name, options)
  options = schema.check(options, OPTIONS, "fetch")
  if not GUESTS[name] then
    return nil, { text = ("no guest `%s`%s"):format(tostring(name), schema.suggest(tostring(name), NAMES)), code = fetch.MISUSED }
  end
  local report = options.progress or progress.stderr()
  local ok, problem = process.guard(function() run(name, options, report) end)
  if ok then return fetch.find(name) end
  report:clear()
  if type(problem) ~= "table" then error(problem, 0) end
  if problem.interrupted then
    return nil, { text = ("fetch of %s interrupted; what came so far is kept"):format(name), code = 128 + problem.interrupted }
  end
  return nil, { text = ("cannot fetch %s: %s"):format(name, problem.refusal), code = fetch.FAILED }
end

-- The same, but a failure is raised at the user's line.
function fetch.ensure(name, options)
  local guest, problem = fetch.try(name, options)
  if not guest then fault.raise("%s", problem.text) end
  return guest
end

return fetch
