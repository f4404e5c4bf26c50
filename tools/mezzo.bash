# Completion for mezzo in bash: source this file, or install it as
# /usr/share/bash-completion/completions/mezzo.

# Leaves every line of $1 that begins with $2, followed by $3, in COMPREPLY. Names may hold any
# character: none is split or expanded.
_mezzo_offer() {
  local line
  while IFS= read -r line; do
    [[ $line == "$2"* ]] && COMPREPLY+=("$(printf '%q' "$line")$3")
  done <<<"$1"
}

# The names of the values of the first .onnx file on the command line. A word with a colon or an
# equals sign in it reaches us in pieces.
_mezzo_names() {
  local word model
  for word in "${COMP_WORDS[@]:2}"; do
    if [[ $word == *.onnx ]]; then
      model=${word/#\~/$HOME}
      "${COMP_WORDS[0]}" inspect --names "$model" 2>/dev/null
      return
    fi
  done
}

_mezzo() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
  local command=${COMP_WORDS[1]} words=
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W "run features inspect explain bench extract expose ops --help --version" -- "$current")
    return
  fi

  local pictures="--preset --resize --size --filter --crop --color --layout --scale --mean --std"
  case $previous in
    -t | --tap | --output)
      _mezzo_offer "$(_mezzo_names)" "$current"
      return
      ;;
    -i | --input)
      if [[ $command == extract ]]; then
        _mezzo_offer "$(_mezzo_names)" "$current"
        return
      fi
      _mezzo_offer "$(_mezzo_names)" "$current" "="
      mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$current")
      compopt -o nospace -o filenames
      return
      ;;
    --shape)
      _mezzo_offer "$(_mezzo_names)" "$current" "="
      compopt -o nospace
      return
      ;;
    --preset) words="imagenet plain" ;;
    --resize) words="short exact none" ;;
    --filter) words="pillow-bilinear pillow-bicubic opencv-linear" ;;
    --color) words="rgb bgr gray" ;;
    --layout) words="nchw nhwc" ;;
    --pool) words="flatten mean none" ;;
    --size | --crop | --scale | --mean | --std | --batch | --threads | --seconds | --steps) return ;;
  esac
  if [[ -z $words && $current == -* ]]; then
    case $command in
      run) words="--input --tap --out --random --shape --threads --help $pictures" ;;
      features) words="--tap --out --pool --batch --threads --help $pictures" ;;
      inspect) words="--tap --shape --json --names --weights --help" ;;
      explain) words="--tap --shape --threads --help" ;;
      bench) words="--tap --shape --threads --seconds --steps --trace --json --help" ;;
      extract) words="--input --output --out --external-data --help" ;;
      expose) words="--tap --out --external-data --help" ;;
      ops) words="--json --help" ;;
    esac
  fi
  if [[ -n $words ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  else
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
    compopt -o filenames
  fi
}

complete -F _mezzo mezzo
