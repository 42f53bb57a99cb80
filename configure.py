#!/usr/bin/env python3
# configure: finds what umbra is built with and writes build.ninja from build.ninja.in.
# A fresh Debian 12 needs git and python3 for this script and nothing else: --install-deps installs the rest.
# SPDX-License-Identifier: MIT
import argparse
import ctypes
import glob
import os
import shlex
import shutil
import subprocess
import sys

# What must be there, how to see that it is, and the Debian package that brings it. "build" rows are needed to build at all;
# for the others the text says what is missing without them.
NEEDS = [
    ("cmd gcc", "gcc", "build"),
    ("file /usr/include/stdio.h", "libc6-dev", "build"),
    ("cmd ninja", "ninja-build", "build"),
    ("cmd pkg-config", "pkg-config", "build"),
    ("cmd luajit", "luajit", "build"),
    ("pkg luajit", "libluajit-5.1-dev", "build"),
    ("lua lpeg", "lua-lpeg", "build"),
    ("file /usr/include/libfdt.h", "libfdt-dev", "the device tree of a machine"),
    ("file /usr/include/zstd.h", "libzstd-dev", "compressed kernels and images"),
    ("so libxxhash.so.0", "libxxhash0", "the hash of a machine"),
    ("lua luv", "lua-luv", "the umbra command"),
    ("so libedit.so.2", "libedit2", "editing lines in umbra repl"),
    ("lua cjson", "lua-cjson", "the umbra command"),
    ("lua argparse", "lua-argparse", "the umbra command"),
    ("file /usr/lib/riscv64-linux-gnu/opensbi/generic/fw_jump.bin", "opensbi", "boot"),
    ("file /usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.elf", "opensbi", "boot"),
    ("file /usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring", "umbra fetch"),
    ("cmd xz", "xz-utils", "umbra fetch"),
    ("cmd gpg", "gpg", "the specs of umbra fetch"),
    ("cmd gpg-agent", "gpg-agent", "the specs of umbra fetch"),
    ("cmd busted", "lua-busted", "check"),
    ("cmd luacheck", "lua-check", "lint"),
    ("cmd clang", "clang", "lint, fuzz and the guest programs of the specs"),
    ("cmd clang-tidy", "clang-tidy", "half of lint"),
    ("libfuzzer", "libclang-rt-dev", "fuzz"),
    ("cmd ld.lld", "lld", "the guest programs of the specs"),
    ("cmd llvm-mc", "llvm", "the encoding specs"),
    ("cmd objdump", "binutils", "the encoding specs"),
    ("ctags", "universal-ctags", "the house spec"),
    ("cmd qemu-riscv64", "qemu-user", "the differential specs"),
    ("cmd qemu-system-riscv64", "qemu-system-misc", "the differential specs"),
    ("cmd riscv64-linux-gnu-gcc", "gcc-riscv64-linux-gnu", "the differential specs"),
    ("file /usr/riscv64-linux-gnu/include/stdio.h", "libc6-dev-riscv64-cross", "the differential specs"),
    ("cmd riscv64-unknown-elf-objdump", "binutils-riscv64-unknown-elf", "the disassembler specs"),
    ("cmd gdb-multiarch", "gdb-multiarch", "the gdb specs"),
    ("cmd dtc", "device-tree-compiler", "the device tree specs"),
]

# A generator of guest code, what it reads besides lua/tools and itself, and what it writes into build/gen.
GENERATORS = [
    ("lua/tools/gen_riscv.lua", ["lua/isa/riscv", "lua/umbra/isa"],
     ["riscv_ops.h", "riscv_handlers.h", "riscv_decode.c", "riscv_lift.h"]),
]

# A folder of its own keeps the objects of each way of building beside the others.
OUT = {"release": "build", "debug": "build/debug", "asan": "build/asan", "fuzz": "build/fuzz"}


def output(*command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def is_there(probe):
    kind, _, name = probe.partition(" ")
    if kind == "cmd":
        return shutil.which(name) is not None
    if kind == "file":
        return os.path.exists(name)
    if kind == "pkg":
        return output("pkg-config", "--exists", name) is not None
    if kind == "lua":
        return output("luajit", "-e", 'require "%s"' % name) is not None
    if kind == "so":
        try:
            return ctypes.CDLL(name) is not None
        except OSError:
            return False
    if kind == "ctags":                             # the other ctags has no "end" field
        return "Universal" in (output("ctags", "--version") or "")
    return bool(glob.glob(os.path.join(output("clang", "-print-resource-dir") or "none", "lib/linux/libclang_rt.fuzzer-*.a")))


def probe_all():
    return [need for need in NEEDS if not is_there(need[0])]


def names(missing):
    return " ".join(dict.fromkeys(package for _, package, _ in missing))


def install(missing):
    line = "apt-get install -y --no-install-recommends " + names(missing)
    print("missing: " + names(missing), flush=True)
    rights = []
    if os.geteuid() != 0:
        rights = ["sudo"] if sys.stdin.isatty() else ["sudo", "-n"]
        if not shutil.which("sudo") or subprocess.run(rights + ["true"], stderr=subprocess.DEVNULL).returncode != 0:
            sys.exit("configure: no rights to install what is missing; as root: apt-get update && " + line)
    quiet = rights + ["env", "DEBIAN_FRONTEND=noninteractive"]
    # One source of several that cannot be reached makes the update fail; whether it was needed shows in the installation.
    subprocess.run(quiet + ["apt-get", "update", "-q"], stdin=subprocess.DEVNULL)
    if subprocess.run(quiet + line.split() + ["-q"], stdin=subprocess.DEVNULL).returncode != 0:
        sys.exit("configure: failed: " + line)


class Ninja:
    """Collects build edges as text."""

    def __init__(self):
        self.lines = []

    def edge(self, outs, rule, ins=(), needs=(), order=(), **variables):
        line = "build %s: %s %s" % (" ".join(outs), rule, " ".join(ins))
        if needs:
            line += " | " + " ".join(needs)
        if order:
            line += " || " + " ".join(order)
        self.lines.append(line.rstrip())
        self.lines += ["  %s = %s" % pair for pair in variables.items()]


def find(*patterns):
    return sorted(path for pattern in patterns for path in glob.glob(pattern))


def sources():
    return [path for path in find("csrc/*/*.c", "csrc/*/*/*.c") if not path.startswith("csrc/fuzz/")]


def generate(ninja):
    """Edges for what is generated; returns the generated C files and headers."""
    headers = find("csrc/*/*_ffi.h", "csrc/*/*/*_ffi.h")
    ninja.edge(["build/gen/umbra_ffi.h"], "ffi", ["csrc/LAYERS"] + headers, ["lua/tools/gen_ffi.lua"])
    ninja.edge(["build/gen/umbra.map"], "map", ["build/gen/umbra_ffi.h"], ["lua/tools/gen_map.lua"])
    made = []
    for generator, folders, outs in GENERATORS:
        if not os.path.exists(generator):
            continue
        inputs = find("lua/tools/*.lua", *[folder + "/*.lua" for folder in folders])
        inputs += find(*[folder + ".lua" for folder in folders])
        outs = ["build/gen/" + name for name in outs]
        ninja.edge(outs, "isa", [], inputs, generator=generator, outdir="build/gen")
        made += outs
    return made


def library(ninja, way, cc, made):
    """Edges for one way of building: objects, then libumbra.so. Returns the objects."""
    out, objects = OUT[way], []
    for path in sources() + [path for path in made if path.endswith(".c")]:
        name = path[:-2].replace("build/gen/", "gen/")
        objects.append("%s/obj/%s.o" % (out, name))
        ninja.edge(objects[-1:], "cc", [path], order=[h for h in made if h.endswith(".h")], flags="$flags_" + way, cc=cc)
    if way != "fuzz":
        ninja.edge([out + "/libumbra.so"], "so", objects, ["build/gen/umbra.map"], flags="$flags_" + way, cc=cc)
    return objects


def fuzzers(ninja, made):
    objects, mains, runs = library(ninja, "fuzz", "$clang", made), [], []
    for path in find("csrc/fuzz/*.c"):
        name = os.path.basename(path)[:-2]
        ninja.edge(["build/fuzz/obj/main/%s.o" % name], "cc", [path], order=made, flags="$flags_fuzz", cc="$clang")
        mains.append("build/fuzz/" + name)
        ninja.edge(mains[-1:], "fuzzer", ["build/fuzz/obj/main/%s.o" % name] + objects)
        runs.append("fuzz-" + name)
        ninja.edge(runs[-1:], "fuzz_run", mains[-1:], corpus="build/fuzz/corpus/" + name)
    ninja.edge(["fuzz"], "phony", mains)
    ninja.edge(["fuzz-runs"], "phony", runs)


def lint(ninja, made):
    stamps, tidied = ["build/lint/lua.stamp"], shutil.which("clang-tidy")
    for path in sources() + find("csrc/fuzz/*.c", "csrc/launcher.c") + [path for path in made if path.endswith(".c")]:
        by_hand = tidied and path not in made
        tidy = "clang-tidy --quiet %s -- $common $luajit_cflags 2>/dev/null" % path if by_hand else "true"
        stamps.append("build/lint/%s.stamp" % path)
        ninja.edge(stamps[-1:], "lint_c", [path], [".clang-tidy"], made, tidy=tidy)
    lua = find("[!b]*/*.lua", "bench/*.lua", "bench/*/*.lua", "lua/*/*.lua", "lua/*/*/*.lua", "spec/*/*.lua")
    ninja.edge(stamps[:1], "lint_lua", lua, [".luacheckrc"])
    ninja.edge(["lint"], "phony", stamps)


def edges(options):
    ninja = Ninja()
    made = generate(ninja)
    for way in dict.fromkeys([options.mode, "asan"]):
        library(ninja, way, "$cc", made)
    # The launcher is the same in every mode: a sanitized library is preloaded into it as into a stock luajit.
    ninja.edge(["build/umbra"], "launcher", ["csrc/launcher.c"], flags="$flags_release")
    ninja.edge(["all"], "phony", ["build/umbra", OUT[options.mode] + "/libumbra.so", "build/gen/umbra_ffi.h"])
    fuzzers(ninja, made)
    lint(ninja, made)

    # New and removed files show in the time stamp of their folder.
    folders = find("csrc/*/", "csrc/*/*/", "lua/*/", "lua/*/*/", "spec/*/", "machines/", "bench/", "bench/*/", "examples/")
    folders = [".", "csrc", "lua", "spec"] + [path.rstrip("/") for path in folders]
    ninja.edge(["build.ninja"], "configure", [], ["configure.py", "build.ninja.in"] + folders)
    return ninja.lines


def settings(options):
    cc = options.cc
    asan = output(cc, "-print-file-name=" + ("libclang_rt.asan-x86_64.so" if "clang" in cc else "libasan.so"))
    mode = {"release": "", "debug": "UMBRA_LIB=$$PWD/build/debug/libumbra.so", "asan": "$asan_env"}
    values = {
        "cc": cc,
        "luajit": shutil.which("luajit"),
        "luacheck": shutil.which("luacheck") or "luacheck",
        "busted": shutil.which("busted") or "busted",
        "werror": "-Werror" if os.environ.get("CI") == "true" else "",
        "luajit_cflags": output("pkg-config", "--cflags", "luajit"),
        "luajit_libs": output("pkg-config", "--libs", "luajit"),
        "so": OUT[options.mode] + "/libumbra.so",
        "asan_env": "LD_PRELOAD=%s ASAN_OPTIONS=detect_leaks=0 UMBRA_LIB=$$PWD/build/asan/libumbra.so" % asan,
        "mode_env": mode[options.mode],
        "configure_args": shlex.join(["--mode=" + options.mode, "--cc=" + cc]),
    }
    return ["%s = %s" % pair for pair in values.items()]


def main():
    parser = argparse.ArgumentParser(description="Finds what umbra is built with and writes build.ninja.")
    parser.add_argument("--install-deps", action="store_true", help="install the Debian packages that are missing (apt-get)")
    parser.add_argument("--mode", choices=["release", "debug", "asan"], default="release", help="default: %(default)s")
    parser.add_argument("--cc", default="gcc", help="C compiler, gcc or clang; default: %(default)s")
    options = parser.parse_args()
    os.chdir(os.path.dirname(os.path.abspath(__file__)))

    missing = probe_all()
    if missing and options.install_deps:
        install(missing)
        missing = probe_all()
    if any(use == "build" for _, _, use in missing):
        sys.exit("configure: missing: %s; run ./configure.py --install-deps" % names(missing))
    if not shutil.which(options.cc):
        sys.exit("configure: --cc=%s: no such compiler" % options.cc)
    for _, package, use in missing:
        print("configure: without %s: no %s" % (package, use))

    blocks = {"@settings@": settings(options), "@edges@": edges(options)}
    with open("build.ninja.in") as template:
        lines = [line for row in template.read().split("\n") for line in blocks.get(row, [row])]
    try:
        os.makedirs("build", exist_ok=True)
        with open("build.ninja", "w") as result:
            result.write("# Written by configure.py from build.ninja.in.\n" + "\n".join(lines))
    except OSError as why:
        sys.exit("configure: cannot write %s: %s" % (why.filename, why.strerror))
    print("configure: %s build with %s; next: ninja" % (options.mode, options.cc))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
