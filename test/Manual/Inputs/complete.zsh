# complete.zsh FOLDER LINE: types LINE and a tab in a zsh with the completions of
# FOLDER; prints the line as it then is.
zmodload zsh/zpty || exit 1
export TERM=dumb
zpty shell zsh -f -i
zpty -w shell "PS1= PROMPT_EOL_MARK= fpath=($1 \$fpath) && autoload -Uz compinit && compinit -u -d $PWD/dump"
# Ctrl-X p prints the line instead of running it.
zpty -w shell "show() { print -r -- \"<\$BUFFER>\"; }; zle -N show; bindkey '^Xp' show; print rea''dy"
while zpty -r shell line && [[ $line != ready* ]]; do :; done
zpty -n -w shell "$2"$'\t'$'\x18p'
while zpty -r shell line; do
  [[ $line == *'<'*'>'* ]] && break
done
print -r -- "${${line#*<}%>*}"
zpty -d shell
