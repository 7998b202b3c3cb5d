#compdef beatctl
# Completion of beatctl in zsh: eval "$(beatctl completion zsh)" after compinit
_beatctl() {
    local -a answer found
    local line
    answer=("${(@f)$(_BEATCTL_COMPLETE=zsh "${words[1]}" "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    for line in "${(@)answer[2,-1]}"; do
        found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    done
    (( $#found )) && _describe -V beatctl found
    case ${answer[1]} in
        files) _files ;;
        dirs) _files -/ ;;
    esac
}
if [[ $funcstack[1] == _beatctl ]]; then _beatctl "$@"; else compdef _beatctl beatctl; fi
