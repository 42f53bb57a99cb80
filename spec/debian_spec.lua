-- debian: unmodified Debian programs for riscv64 as processes; fetches them at the first run.
-- SPDX-License-Identifier: MIT
local fetch = require "umbra.fetch"
local tree  = require "spec.support.tree"
local umbra = require "spec.support.umbra"

local SOAK = os.getenv "UMBRA_SOAK" == "1"

local folder, sysroot

-- What PATH of ours names is no business of the user land's. Python keeps what it compiled, for the next one.
local function exec(words, options)
  options = options or {}
  options.seconds = options.seconds or 120
  local all = { "exec", "--sysroot", sysroot, "--env", "PATH=/usr/bin:/bin", "--env", "PYTHONPYCACHEPREFIX=" .. folder.path .. "/pyc",
                "--env", "PYTHONDONTWRITEBYTECODE=", umbra.without_preload() }
  for _, word in ipairs(words) do all[#all + 1] = word end
  return umbra.run(all, options)
end

-- The same under qemu-riscv64, errors among the output.
local function qemu(words, seconds)
  local quoted = {}
  for i, word in ipairs(words) do quoted[i] = umbra.quote(word) end
  quoted[1] = umbra.quote(sysroot .. "/usr/bin/" .. words[1])
  return tree.run(("LD_PRELOAD= PATH=/usr/bin:/bin timeout %d qemu-riscv64 -L %s -0 %s %s < /dev/null 2>&1"):format(seconds or 120, sysroot, words[1],
    table.concat(quoted, " ")))
end

local function as_under_qemu(words)
  local text, code = qemu(words)
  local result = exec(words, { after = "2>&1" })
  assert.equal(text, result.out)
  assert.equal(code, result.code)
  return text
end

setup(function()
  sysroot = fetch.ensure("debian-riscv64-sysroot").sysroot
  folder = umbra.folder()
  folder.write("words", ("pear\napple\nfig\nbanana\n"):rep(500))
  local bytes, seed = {}, 1
  for i = 1, 2 ^ 17 do
    seed = (seed * 48271) % 2147483647
    bytes[i] = ("%08x"):format(seed):rep(seed % 3 + 1)
  end
  folder.write("data", table.concat(bytes):rep(2):sub(1, 2000000))
  folder.write("more", table.concat(bytes):rep(4):sub(1, 5000000))
end)
teardown(function() folder.remove() end)

describe("coreutils", function()
  it("do what they do under qemu-riscv64", function()
    tree.run(("cd %s && mkdir -p tree/a/b && echo x > tree/a/file && ln -s a/file tree/link && chmod 640 tree/a/file"):format(folder.path))
    as_under_qemu { "ls", "-lR", folder.path .. "/tree" }
    as_under_qemu { "sort", folder.path .. "/words" }
    as_under_qemu { "sha256sum", folder.path .. "/data" }
    as_under_qemu { "wc", folder.path .. "/data", "/nonexistent" }
    as_under_qemu { "env", "-i", "X=1", "/usr/bin/printenv" }
    as_under_qemu { "stat", "-c", "%F %s %a %h %b", folder.path .. "/data", folder.path .. "/tree" }
    as_under_qemu { "dd", "if=" .. folder.path .. "/data", "of=/dev/null", "bs=1000", "status=none" }
    as_under_qemu { "realpath", "/etc/../usr/bin/env" }
    assert.matches("^Linux .* riscv64", exec({ "uname", "-a" }).out)
  end)
end)

describe("bash", function()
  it("runs pipes, jobs, here-documents and traps, and ends by a signal", function()
    local script = folder.path .. "/script.sh"
    folder.write("script.sh", tree.read "spec/guest/linux/script.sh")
    local text, code = qemu { "bash", script, folder.path }
    local result = exec({ "bash", script, folder.path }, { after = "2>&1; exit $?" })
    assert.equal(139, result.code)
    assert.equal(139, code)
    local function without_shell(output) return (output:gsub("[^\n]*Segmentation fault[^\n]*\n", "")) end      -- the one around us tells, too
    assert.equal(without_shell(text), without_shell(result.out))
    assert.matches("job 143\ntrapped\n", text)
  end)
end)

describe("interpreters", function()
  it("do what they do under qemu-riscv64", function()
    as_under_qemu { "lua5.4", "-e", "local t = {} for i = 1, 1000 do t[i] = math.sqrt(i) end "
      .. "print(#t, t[999], 7 // 2, 1 << 40, ('x'):rep(5), os.getenv 'HOME')" }
    as_under_qemu { "perl", "-e", 'my %h = map { $_ => $_ ** 2 } 1 .. 20; print join(",", map { "$_=$h{$_}" } sort { $a <=> $b } keys %h), "\n"; exit 3' }
    as_under_qemu { "python3", "-c", "import json, re, decimal, hashlib; print(json.dumps({'a': [1, 2.5, None]}), re.sub('a+', 'b', 'caat'), "
      .. "decimal.Decimal(1) / 7, hashlib.sha256(b'x').hexdigest()); raise SystemExit(5)" }
  end)

  it("have threads and children", function()
    local result = exec { "python3", "-c", [[
import subprocess, threading, queue, os, signal
q = queue.Queue()
threads = [threading.Thread(target=lambda i=i: q.put(i * i)) for i in range(20)]
[t.start() for t in threads]; [t.join() for t in threads]
print(sum(q.get() for _ in threads))
print(subprocess.run(["sh", "-c", "echo out; echo err >&2; exit 3"], capture_output=True))
p = subprocess.Popen(["sleep", "60"]); p.send_signal(signal.SIGTERM); print(p.wait())
r, w = os.pipe()
if os.fork() == 0: os.write(w, b"child"); os._exit(4)
print(os.read(r, 9), os.waitstatus_to_exitcode(os.wait()[1]))
]] }
    assert.equal("2470\nCompletedProcess(args=['sh', '-c', 'echo out; echo err >&2; exit 3'], returncode=3, stdout=b'out\\n', stderr=b'err\\n')\n"
      .. "-15\nb'child' 4\n", result.out)
    assert.equal("", result.err)
  end)

  -- { name = whether it passed } of what `python3 -m test -v` says: "ok" ends the line of the name, or of a text that follows it.
  local function passed(text)
    local tests, current = {}, nil
    for line in text:gmatch "[^\n]+" do
      local name = line:match "^test[%w_]+ %([%w_.]+%)"
      if name then current, tests[name] = name, false end
      if current and line:find "%f[%w]ok$" then tests[current], current = true, nil end
    end
    return tests
  end

  -- What passes under qemu-riscv64 passes here; and the whole ends well.
  local function passes_as_under_qemu(name)
    local result = exec({ "python3", "-m", "test", "-v", name }, { seconds = 1200, after = "2>&1" })
    local text = qemu({ "python3", "-m", "test", "-v", name }, 600)        -- it may hang in some
    local ours, count, failed = passed(result.out), 0, {}
    for test, ok in pairs(passed(text)) do
      count = count + (ok and 1 or 0)
      if ok and not ours[test] then failed[#failed + 1] = test end
    end
    table.sort(failed)
    assert.equal("", table.concat(failed, "\n"), result.out)
    assert.is_true(count > 20, text)
    assert.equal(0, result.code, result.out)
  end

  if SOAK then
    for _, name in ipairs { "test_json", "test_re", "test_decimal", "test_hashlib", "test_threading", "test_subprocess" } do
      it("pass Python's own " .. name .. " as under qemu-riscv64", function() passes_as_under_qemu(name) end)
    end
  end

  it("pass Python's own tests", function()
    local result = exec({ "python3", "-m", "unittest", "test.test_json.test_scanstring", "test.test_bisect", "test.test_re.ImplementationTest",
      "test.test_hashlib.HashLibTestCase.test_case_sha256_1", "test.test_decimal.CExplicitConstructionTest", "test.test_threading.LockTests",
      "test.test_subprocess.ProcessTestCase.test_communicate" }, { seconds = 120 })
    assert.equal(0, result.code, result.out .. result.err)
    assert.matches("\nRan %d+ tests", result.err)
  end)
end)

describe("sqlite3", function()
  it("keeps 100,000 rows in a file", function()
    local input = [[
create table t(id integer primary key, name text, v real);
begin;
with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000) insert into t select i, 'name' || i, i * 1.5 from n;
commit;
create index ti on t(name);
select count(*), sum(v), max(name) from t;
select * from t where name = 'name777';
pragma integrity_check;
]]
    local result = exec({ "sqlite3", folder.path .. "/db" }, { input = input })
    assert.equal("100000|7500075000.0|name99999\n777|name777|1165.5\nok\n", result.out)
    assert.equal("", result.err)
  end)
end)

describe("compression", function()
  it("gives back what it was given", function()
    local data = folder.path .. (SOAK and "/large" or "/data")
    if SOAK then tree.run(("for i in 1 2 3 4 5 6 7 8 9 10; do cat %s/more; done > %s"):format(folder.path, data)) end
    for _, words in ipairs { { "zstd", "-q", "-3" }, { "xz", "-0", "-T1" } } do
      local out = folder.path .. "/packed"
      local command = ("%s -c < %s > %s && %s -dc < %s | cmp - %s"):format(table.concat(words, " "), data, out, words[1], out, data)
      local result = exec({ "bash", "-c", command }, { seconds = 900 })
      assert.equal("", result.out .. result.err)
      assert.equal(0, result.code)
    end
  end)
end)

describe("openssl", function()
  it("hashes and encrypts", function()
    local data, out = folder.path .. "/more", folder.path .. "/more.enc"
    local expected = tree.run("sha256sum " .. data):match "^%x+"
    assert.matches(expected, exec({ "openssl", "dgst", "-sha256", data }).out)
    assert.equal(0, exec({ "openssl", "enc", "-aes-256-cbc", "-pbkdf2", "-pass", "pass:x", "-in", data, "-out", out }).code)
    local result = exec { "bash", "-c", ("openssl enc -d -aes-256-cbc -pbkdf2 -pass pass:x -in %s | sha256sum"):format(out) }
    assert.matches("^" .. expected, result.out)
  end)

  it("talks to itself over TLS", function()
    folder.write("tls.sh", [[
cd "$1"
printf '[req]\ndistinguished_name=d\n[d]\n' > config
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost -config config
openssl s_server -accept 127.0.0.1:0 -cert cert.pem -key key.pem -www > server.out 2>&1 &
until port=$(grep -o 'ACCEPT .*:[0-9]*' server.out | grep -o '[0-9]*$'); do sleep 0.1; done
printf 'GET / HTTP/1.0\r\n\r\n' | openssl s_client -connect 127.0.0.1:$port -CAfile cert.pem -quiet -verify_return_error 2> client.err | head -n 1
kill $!; wait $!; echo "server $?"
]])
    local result = exec { "bash", folder.path .. "/tls.sh", folder.path }
    assert.equal("HTTP/1.0 200 ok\r\nserver 143\n", result.out)
  end)
end)
