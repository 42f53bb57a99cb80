# What a shell does: pipes, jobs that stop and go on, here-documents, traps, substitutions, descriptors, signals.
set -m
cd "$1" || exit 1
for i in {1..5}; do printf '%d\n' $((i * i)); done | sort -rn | tr '\n' ' '; echo
cat <<END | while read -r a b; do echo "[$a|$b]"; done
one two
three four five
END
lines=$(printf 'a\nb\nc\n' | grep -c .); echo "lines $lines"
sleep 0.5 & kill -STOP %1; sleep 0.2; jobs -s | tr -s ' '; bg %1; fg %1; echo "fg $?"
sleep 60 | sleep 60 & kill -TERM -- -$!; wait $!; echo "group $?"; jobs > /dev/null
sleep 5 & jobs -r | sed 's/ *sleep.*//'; kill %1; wait %1; echo "job $?"
trap 'echo trapped' USR1; kill -USR1 $$
(exit 7); echo "subshell $?"
f() { local v=$1; [ "$v" -gt 0 ] && f $((v - 1)) || echo bottom; }; f 20
diff <(printf 'a\nb\n') <(printf 'a\nc\n'); echo "diff $?"
exec 3> made; echo to three >&3; exec 3>&-; cat made; rm made
printf '%s\n' "${BASH_VERSINFO[0]}" "${lines/3/three}"
dd if=/dev/zero bs=1000 count=3 2>/dev/null | sha256sum
env -i A=1 env
cat /nonexistent; echo "cat $?"
mkfifo pipe; echo through > pipe & read -r text < pipe; echo "$text"; rm pipe
timeout 0.2 sleep 5; echo "timeout $?"
ulimit -n 64; ulimit -n
sleep 0.2 & wait -n; echo "waited $?"
kill -SEGV $BASHPID
