-- What the benchmarks rest on: their statistics, and kernels that compute on a guest what they compute on the host.
-- SPDX-License-Identifier: MIT
local build   = require "bench.build"
local machine = require "umbra.machine"
local stats   = require "umbra.bench.stats"

describe("bench statistics", function()
  it("takes the middle of what is there, whatever its order", function()
    assert.equal(3, stats.median { 5, 1, 3 })
    assert.equal(2.5, stats.median { 4, 1, 3, 2 })
    assert.error_matches(function() stats.median {} end, "^no values to take a median of$")
  end)

  it("leaves the values as they were given", function()
    local values = { 3, 1, 2 }
    stats.interval(values)
    assert.same({ 3, 1, 2 }, values)
  end)

  it("multiplies under a geometric mean", function()
    assert.near(4, stats.geometric_mean { 2, 8 }, 1e-12)
    assert.near(6, stats.geometric_mean { 4, 6, 9 }, 1e-12)
  end)

  it("gives the same interval for the same seed, around the median and within the values", function()
    local values = { 1.02, 0.97, 1.10, 0.99, 1.01, 1.05, 0.96, 1.00, 1.03 }
    local a, b = stats.interval(values), stats.interval(values)
    assert.same(a, b)
    assert.equal(1.01, a.median)
    assert.is_true(a.low <= a.median and a.median <= a.high)
    assert.is_true(a.low >= 0.96 and a.high <= 1.10)
    assert.is_true(a.low < a.high)
  end)

  it("has the interval that the binomial distribution says", function()
    -- The median of a resample of 9 is at most the k-th smallest with probability P(B(9, k/9) >= 5): 0.0014 for k = 1 and 0.030
    -- for k = 2, so the lowest 2.5 % end at the second; above it is symmetrical.
    local got = stats.interval({ 10, 20, 30, 40, 50, 60, 70, 80, 90 }, { resamples = 20000 })
    assert.same({ 20, 50, 80, 9 }, { got.low, got.median, got.high, got.n })
  end)

  it("compares pair by pair", function()
    local got = stats.paired({ 2, 20, 200 }, { 1, 10, 100 })
    assert.same({ 2, 2, 2, 3 }, { got.low, got.median, got.high, got.n })
    assert.error_matches(function() stats.paired({ 1, 2 }, { 1 }) end, "2 and 1")
  end)

  it("draws every number, about as often", function()
    local next_random, seen = stats.random(7), { 0, 0, 0, 0, 0 }
    for _ = 1, 50000 do
      local n = next_random(5)
      seen[n] = seen[n] + 1
    end
    for _, count in ipairs(seen) do assert.is_true(count > 9500 and count < 10500) end
    assert.error_matches(function() stats.random(0) end, "must not be 0")
  end)
end)

describe("bench kernels", function()
  local function outcome(path)
    local m = machine.load("bare", { kernel = path })
    local result = m:run { timeout = 120 }
    local privilege, walks = m.hart:privilege(), m.hart:counters().walks
    m:close()
    return { result.reason, result.code }, privilege, walks
  end

  for _, kernel in ipairs(build.kernels) do
    for _, mode in ipairs(build.modes) do
      it(("%s agrees with the host (%s)"):format(kernel.name, mode), function()
        local got, privilege, walks = outcome(build.program(kernel.name, mode, 1))
        assert.same({ "exit", 0 }, got)
        assert.equal(mode == "sv39" and "supervisor" or "machine", privilege)
        assert.equal(mode == "sv39", walks > 0)
      end)
    end
  end

  it("say so when they do not agree", function()
    for _, mode in ipairs(build.modes) do assert.same({ "exit", 1 }, (outcome(build.program("fib", mode, 1, { expected = "12345" })))) end
  end)
end)
