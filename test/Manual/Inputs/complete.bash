# complete.bash COMPLETIONS WORD...: loads a completion and prints what bash would
# offer for the last word, sorted. Words are cut at '=' as bash cuts them; with
# JOINED=1 they are not, as in a bash whose COMP_WORDBREAKS lacks it.
source "$1" || exit 1
shift
tool=$1
COMP_WORDS=()
for word in "$@"; do
  if [[ $word == --*=* && -z $JOINED ]]; then
    COMP_WORDS+=("${word%%=*}" '=')
    [[ -n ${word#*=} ]] && COMP_WORDS+=("${word#*=}")
  else
    COMP_WORDS+=("$word")
  fi
done
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
spec=$(complete -p "$tool") || exit 1
[[ $spec == "complete -F _$tool $tool" ]] || { echo "found: $spec" >&2; exit 1; }
"_$tool" "$tool"
printf '%s\n' "${COMPREPLY[@]}" | LC_ALL=C sort
