# Pipes, subshells, here-documents, substitutions.
set -u
echo one two three | tr ' ' '\n' | sort -r | paste -sd,
(cd / && pwd; exit 3); echo "subshell $?"
cat <<TEXT
here $((6 * 7)) $(echo nested $(echo deep))
TEXT
cat <<-'RAW'
	raw $HOME
	RAW
cat <<<"a string"
false | true; echo "status ${PIPESTATUS[*]}"
set -o pipefail; false | true; echo "pipefail $?"
seq 1 100000 | head -n 3
yes | head -c 100000 | wc -c
diff <(printf 'a\nb\n') <(printf 'a\nc\n'); echo "diff $?"
echo written > >(cat); wait
exec 7<>file; echo hello >&7; exec 7>&-; cat file
coproc UPPER { while read -r line; do echo "${line^^}"; done; }
echo quiet >&"${UPPER[1]}"; read -r loud <&"${UPPER[0]}"; echo "$loud"
x=$(seq 1 20000 | md5sum); echo "$x"
{ echo out; echo err >&2; } 2>&1 | sort
(echo through a pipe > /dev/stdout) | cat; cat /dev/stdin <<< again
